"""Real programs to integer programs: a format for every word, every loss of bits written down.

Products stay exact until they are stored. A stored word is the REQUANT of an exact value; a sum of
a stored word and a product rounds the product first and adds after, which is what makes a
leapfrog increment odd in p and the step reversible. Words that are added to each other this way
share one format (a class of `formats_plan`); states of one block share it over copies and passes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from echoloom.ir.arithmetic import Overflow
from echoloom.ir.formats import Q, Type
from echoloom.ir.functions import FUNCTIONS
from echoloom.ir.intervals import EVERYTHING, intervals
from echoloom.ir.ops import Constant, Op, Scale, Shift, Table
from echoloom.ir.passes.calibrate import Ranges
from echoloom.ir.passes.channels import Channels, channel_formats
from echoloom.ir.passes.cutting import Cutter
from echoloom.ir.passes.formats_plan import (
    PRODUCTS,
    RUNTIME_INTEGER,
    FormatPlan,
    Widths,
    coefficient_format,
    runtime_format,
)
from echoloom.ir.passes.terms import lift, rounded, vanishes
from echoloom.ir.places import Label
from echoloom.ir.program import Accumulator, Body, Declaration, Instr, Program
from echoloom.ir.sections import Section
from echoloom.ir.tables import NoTable, excess_bits, range_bits, segment_bits

Floats = NDArray[np.float64]


NARROWED = "narrow"
UNUSED = 8  # upper bits of a word that may be idle when it is cut
Cuts = Mapping[tuple[Section, str], int]


def cuts(program: Program, widths: Widths) -> Cuts:
    """Which operand every product of an integer program has cut to the multiplier's narrow side."""
    return {
        (body.section, i.name): number
        for body in program.bodies
        for narrowed in [_narrowed_words(body, widths)]
        for i in body.instrs
        if i.op in (Op.MUL, Op.OUTER)
        for number, a in enumerate(i.args)
        if a in narrowed
    }


def _narrowed_words(body: Body, widths: Widths) -> set[str]:
    """The words that are cut copies of others; those that stand for a value of the real program
    have the full width."""
    return {i.name for i in body.instrs
            if i.op is Op.REQUANT and i.type.q.width == widths.narrow < widths.word}  # fmt: skip


def quantise(
    program: Program,
    coefficients: Mapping[str, Floats],
    ranges: Ranges,
    widths: Widths,
    earlier: Cuts | None = None,
) -> Program:
    """Choose all formats and make every rounding explicit.

    `earlier` are the `cuts` of a program that this one shall resemble: with them, calibrating again
    changes formats but no code.

    ValueError when the program needs something the fixed-point target cannot express.
    """
    plan = FormatPlan(program, coefficients, ranges, widths)
    channels = channel_formats(plan)
    earlier = {} if earlier is None else earlier
    # A word never has more fraction bits than the exact value it is cut from; each round of
    # emission reports such caps, and formats only ever get coarser, so this ends.
    for _ in range(200):
        result = _emit(plan, channels, earlier)
        if not plan.changed:
            return result
    raise ValueError("formats did not settle; this is a bug in quantise")


def _emit(plan: FormatPlan, channels: Channels, earlier: Cuts) -> Program:
    plan.changed = False
    program, widths = plan.program, plan.widths
    multiplied: set[str] = set()
    vectors: dict[str, bool] = {}
    for body in program.bodies:
        for instr in body.instrs:
            if instr.op in PRODUCTS:
                for a in instr.args:
                    if a in plan.coefficients:
                        multiplied.add(a)
                        vectors[a] = vectors.get(a, True) and instr.op is Op.MUL
    coefficients = []
    for declaration in program.coefficients:
        name, shape = declaration.name, declaration.type.shape
        if name in multiplied:
            if name in plan.formats.parent:
                raise ValueError(f"coefficient {name} is both multiplied and added; split it")
            per_element = vectors[name] and len(shape) == 1
            margin = plan.coefficient_margin(name)
            q = channels.matrices.get(name) or coefficient_format(
                plan.coefficients[name], widths.narrow, per_element, margin
            )
        elif name in plan.formats.parent:
            q = plan.formats.q(name)
        else:
            continue
        coefficients.append(replace(declaration, type=Type(shape, q)))
    runtime = tuple(
        Declaration(d.name, Type(d.type.shape, runtime_format(d.name, widths)))
        for d in program.runtime
    )
    states = tuple(
        replace(d, type=Type(d.type.shape, plan.formats.q(d.name))) for d in program.states
    )
    result = replace(
        program, coefficients=tuple(coefficients), runtime=runtime, states=states,
        accumulators=(), bodies=(),
    )  # fmt: skip
    for body in program.bodies:
        emitted = _BodyEmitter(plan, channels, result, body, earlier).emit()
        result = replace(
            result,
            bodies=(*result.bodies, emitted[0]),
            accumulators=(*result.accumulators, *emitted[1]),
        )
    return result


class _BodyEmitter(Cutter):
    def __init__(
        self, plan: FormatPlan, channels: Channels, program: Program, body: Body, earlier: Cuts
    ):
        self.plan, self.body, self.section = plan, body, body.section
        self.channels, self.earlier = channels, earlier
        self.frame = tuple(self._frame(d) for d in body.frame)
        self.types = {d.name: d.type for d in (*program.globals(), *self.frame)}
        self.labels = {name: Label(name) for name in self.types}
        self.labels |= {d.name: d.label for d in program.states}
        self.accumulator_types = {a.name: a.type for a in program.accumulators}
        self.instrs: list[Instr] = []
        self.names: dict[str, str] = {}
        self.intervals = intervals(body.instrs, plan.coefficients)

    def _frame(self, d: Declaration) -> Declaration:
        if d.name in RUNTIME_INTEGER:
            q = runtime_format(d.name, self.plan.widths)
        else:
            q = self.plan.formats.q(self.plan.key(self.section, d.name))
            q = self.channels.inputs.get(d.name, q)
        return Declaration(d.name, Type(d.type.shape, q))

    def emit(self) -> tuple[Body, tuple[Accumulator, ...]]:
        for instr in self.body.instrs:
            self._instr(instr)
        accumulates, accumulators = [], []
        declared = {a.name: a for a in self.plan.program.accumulators}
        for name, value in self.body.accumulates:
            word = self.names.get(value, value)
            type_ = self.types[word]
            wide = replace(type_.q, width=self.plan.widths.accumulator)
            accumulators.append(replace(declared[name], type=Type(type_.shape, wide)))
            accumulates.append((name, word))
        updates = tuple((s, self._update(s, v)) for s, v in self.body.updates)
        emits = tuple(self.names.get(v, v) for v in self.body.emits)
        body = replace(
            self.body, frame=self.frame, instrs=tuple(self.instrs), updates=updates,
            accumulates=tuple(accumulates), emits=emits,
        )  # fmt: skip
        return body, tuple(accumulators)

    def _update(self, state: str, value: str) -> str:
        word = self.names.get(value, value)
        constant = next((i for i in self.instrs if i.name == word and i.op is Op.CONSTANT), None)
        following, type_ = self.labels[state].part("next"), self.types[state]
        if constant is not None and constant.type != type_:
            return self._append(Instr.of(following, Op.CONSTANT, (), type_, constant.attr))
        # A negated word is not one yet: minus the most negative word does not fit.
        exact = any(i.name == word and i.op is Op.SCALE for i in self.instrs)
        if exact or self.types[word] != type_:
            return self._requant(following, word, type_.q, state)
        return word

    def _instr(self, instr: Instr) -> None:
        args = [self.names.get(a, a) for a in instr.args]
        name, op = instr.name, instr.op
        if op in PRODUCTS or op is Op.OUTER:
            self._product(instr, args)
        elif op in (Op.ADD, Op.SUB):
            self._sum(instr, args)
        elif op is Op.SCALE:
            self._scale(instr, args[0])
        elif op is Op.TABLE:
            self._table(instr, args[0])
        elif op is Op.CONSTANT:
            assert isinstance(instr.attr, Constant)
            q = self.plan.formats.q(self.plan.key(self.section, name))
            self.names[name] = self._append(replace(instr, type=Type(instr.type.shape, q)))
        elif op is Op.READ:
            accumulator = self.accumulator_types[instr.attr.accumulator]  # type: ignore[union-attr]
            self.names[name] = self._append(replace(instr, type=accumulator))
        elif op is Op.SHIFT:
            assert isinstance(instr.attr, Shift)
            self._store(instr, args[0], instr.attr.register)
        else:
            raise ValueError(f"{op.value} of {name} has no fixed-point form yet")

    def _product(self, instr: Instr, args: list[str]) -> None:
        if instr.op in (Op.MUL, Op.OUTER):
            args = self._with_a_narrow(instr, args)
        summed = (
            instr.op in (Op.MUL, Op.OUTER)
            and (instr.op is Op.OUTER or not any(self.types[a].q.per_element for a in args))
            and self.plan.only_accumulated(self.body, instr.name)
        )
        if summed or self._incremental(instr.name):
            self.names[instr.name] = self.put(instr.label, instr.op, *args)
        else:
            self._store(instr, self.put(instr.label.part("exact"), instr.op, *args))

    def _incremental(self, name: str) -> bool:
        """Whether `name` (through SCALE) is the increment of a sum with a base."""
        for (section, _), (_, increment) in self.plan.bases.items():
            while section is self.section and increment:
                if increment == name:
                    return True
                definition = self.plan.definitions[section].get(increment)
                increment = definition.args[0] if definition and definition.op is Op.SCALE else ""
        return False

    @property
    def narrow(self) -> int:
        return self.plan.widths.narrow

    def _with_a_narrow(self, instr: Instr, args: list[str]) -> list[str]:
        """Operands one of which fits the multiplier's narrow side.

        Of two wide words the one with the lower crest factor is cut: its bits are the better used,
        so it loses least.
        """
        if any(self.types[a].q.width <= self.narrow for a in args):
            return args
        section, names = self.plan.deciding(self.section, instr)
        crests = [self.plan.ranges.crest(section, a) for a in names]
        cut = self.earlier.get((section, instr.name), 0 if crests[0] < crests[1] else 1)
        if args[0] == args[1]:
            cut = 1
        if args[cut] in {d.name for d in self.frame}:
            cut = 1 - cut  # a streamed word is broadcast as it comes: the fabric cannot cut it
        args[cut] = self._narrowed(args[cut])
        return args

    def _narrowed(self, name: str) -> str:
        copy = self.labels[name].part(NARROWED)
        if copy.text not in self.types:
            self._requant(copy, name, Q(self.narrow, self._narrow_frac(name)), None)
        return copy.text

    def _narrow_frac(self, name: str) -> int:
        """Fraction bits of a word that is cut. The upper ones are kept, where they are in use: a
        word that is capped far below its own range would lose all that it holds."""
        q, key = self.types[name].q, self.plan.key(self.section, name)
        upper = q.scalar_frac - (q.width - self.narrow)
        if key not in self.plan.formats.parent:
            return upper
        finest = min(self.plan.formats.of(key).finest(self.narrow), q.scalar_frac)
        return finest if finest - upper > UNUSED else upper

    def _sum(self, instr: Instr, args: list[str]) -> None:
        found = self.plan.bases.get((self.section, instr.name))
        key = self.plan.key(self.section, instr.name)
        q = self.plan.formats.q(key)
        if found is None:
            self._words(instr, args)
            return
        base, increment = (self.names.get(v, v) for v in found)
        exact = self.types[increment].q
        state = self.plan.formats.of(key).state  # moves by an increment, be it nothing
        if vanishes(exact, q.scalar_frac) and not state:
            self._term(instr, 0, base)
        elif vanishes(self.types[base].q, q.scalar_frac):
            self._term(instr, 1, increment)
        else:
            self._incremented(instr, base, increment, key)

    def _incremented(self, instr: Instr, base: str, increment: str, key: str) -> None:
        """Round the increment, then add: all in one go of the drain."""
        q = self.plan.formats.q(key)
        if self.types[base].q.frac != q.frac:
            base = self._requant(instr.label.part("base"), base, q, key)
        exact = self.types[increment].q
        self.plan.cap(key, min(exact.fracs))
        r = self._cut(
            instr.label.part("rounded"), increment, rounded(exact, q.scalar_frac), Overflow.SATURATE
        )
        self._store(instr, self.put(instr.label.part("exact"), instr.op, base, r))

    def _words(self, instr: Instr, args: list[str]) -> None:
        """The sum of two stored words, the finer one rounded to what the other can be moved to."""
        finest = min(self.types[a].q.scalar_frac for a in args) + lift(self.narrow)
        words = list(args)
        for number, a in enumerate(args):
            q = self.types[a].q
            if vanishes(q, finest):
                self._term(instr, 1 - number, args[1 - number])
                return
            if q.scalar_frac > finest:
                words[number] = self._requant(instr.label.part("term"), a, rounded(q, finest), None)
        self._store(instr, self.put(instr.label.part("exact"), instr.op, *words))

    def _term(self, instr: Instr, number: int, value: str) -> None:
        """A sum of which only operand `number` is left."""
        if number == 1 and instr.op is Op.SUB:
            value = self.put(instr.label.part("exact"), Op.SCALE, value, attr=Scale(-1.0))
        self._store(instr, value)

    def _scale(self, instr: Instr, value: str) -> None:
        assert isinstance(instr.attr, Scale)
        mantissa, _ = math.frexp(abs(instr.attr.factor))
        if mantissa != 0.5:
            raise ValueError(
                f"the factor {instr.attr.factor} of {instr.name} is not a power of two; "
                "hold it as a coefficient of the unit instead"
            )
        self.names[instr.name] = self.put(instr.label, Op.SCALE, value, attr=instr.attr)

    def _table(self, instr: Instr, value: str) -> None:
        assert isinstance(instr.attr, Table)
        name, source = instr.attr.function, self.types[value].q
        bound, key = FUNCTIONS[name].bound, self.plan.key(self.section, instr.name)
        group = self.plan.formats.of(key)
        largest = group.range if bound is None else bound
        narrow = bound is not None and group.factor
        q = Q(self.narrow, self.narrow - 2) if narrow else self.plan.formats.q(key)
        reach = range_bits(name, source)
        if source.scalar_frac + reach < 0:
            raise NoTable(
                name,
                f"the argument of {name} reaches so far that its {source.width} bits cannot tell "
                "two segments of a table apart; scale it down",
                instr.name,
            )
        # A power of two, so that copies with slightly different ranges share one table.
        most = self.plan.widths.segment_bits
        smallest = self.intervals.get(instr.args[0], EVERYTHING)[0]
        whole = 2.0 ** math.ceil(math.log2(largest or 1.0))
        try:
            bits = segment_bits(name, source, whole, most, smallest)
        except NoTable as error:
            raise NoTable(name, error.problem, instr.name) from error
        attr = replace(instr.attr, segment_bits=bits, range_bits=reach)
        if not narrow:
            # A result that stays near zero on the samples asks for more bits than slopes have.
            self.plan.cap(key, q.scalar_frac - excess_bits(attr, source, q, self.narrow))
        type_ = Type(instr.type.shape, q)
        self.names[instr.name] = self._append(
            Instr.of(instr.label, Op.TABLE, (value,), type_, attr)
        )
