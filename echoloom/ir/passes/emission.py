"""One body of a real program written in integers, with the formats of its words given.

One drift, x <- q + h p / 2, becomes

    %hv = mul(h, p) : Q(46:38)                  18 and 28 bits: exact in 46
    %half = scale(%hv) {factor=0.5} : Q(46:39)  the same bits, the point moved
    %x.rounded = requant(%half) : Q(8,21)       the one rounding, to q's exponent
    %x.exact = add(q, %x.rounded) : Q(9,21)
    %x = requant(%x.exact) : Q(7,21)            back to q's format: wraps, rounds nothing
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from echoloom.ir.arithmetic import Overflow
from echoloom.ir.formats import Q, Type
from echoloom.ir.functions import FUNCTIONS
from echoloom.ir.ops import (
    PRODUCTS,
    SUMS,
    Constant,
    DynamicShift,
    Op,
    Read,
    Scale,
    Shift,
    Table,
)
from echoloom.ir.passes.coefficient_formats import RUNTIME_INTEGER, runtime_format
from echoloom.ir.passes.format_classes import Formats
from echoloom.ir.passes.formats_plan import FACTORS, FormatPlan
from echoloom.ir.passes.integer_code import IntegerCode
from echoloom.ir.places import Label
from echoloom.ir.program import Accumulator, Body, Declaration, Instr, Program
from echoloom.ir.tables import NoTable, excess_bits, range_bits, segment_bits
from echoloom.ir.target import longest_lift
from echoloom.ir.word import Word

Limits = tuple[tuple[Word, int], ...]
UNUSED = 8  # upper bits of a word that may be idle when it is cut


@dataclass(frozen=True)
class EmittedBody:
    """A body in integers, its accumulators, and the fraction bits that words can have at most."""

    body: Body
    accumulators: tuple[Accumulator, ...]
    limits: Limits


def emit_body(plan: FormatPlan, formats: Formats, program: Program, body: Body) -> EmittedBody:
    """`body` with these formats; `program` has the declarations, and the accumulators of the
    bodies before."""
    return _BodyEmitter(plan, formats, program, body).emit()


class _BodyEmitter:
    """Writes one body. `stored` says which value of the integer code stands for a real value."""

    def __init__(self, plan: FormatPlan, formats: Formats, program: Program, body: Body):
        self.plan, self.formats, self.body = plan, formats, body
        self.frame = tuple(self._frame(d) for d in body.frame)
        types = {d.name: d.type for d in (*program.globals(), *self.frame)}
        self.code = IntegerCode(types, plan.widths.word, plan.widths.rounding)
        self.accumulators = {a.name: a.type for a in program.accumulators}
        self.labels = {d.name: d.label for d in program.states}
        self.stored: dict[str, str] = {}
        self.copies: dict[str, str] = {}
        self.limits: list[tuple[Word, int]] = []

    def _frame(self, d: Declaration) -> Declaration:
        if d.name in RUNTIME_INTEGER:
            q = runtime_format(d.name, self.plan.widths.narrow)
        else:
            q = self.plan.inputs.get(d.name) or self.formats.q(self._word(d.name))
        return Declaration(d.name, Type(d.type.shape, q))

    def _word(self, name: str) -> Word:
        return self.plan.word(self.body.section, name)

    def emit(self) -> EmittedBody:
        for instr in self.body.instrs:
            args = [self.stored.get(a, a) for a in instr.args]
            self.stored[instr.name] = self._value(instr, args)
        declared = {a.name: a for a in self.plan.program.accumulators}
        accumulates, accumulators = [], []
        for name, value in self.body.accumulates:
            word = self.stored.get(value, value)
            type_ = self.code.types[word]
            wide = replace(type_.q, width=self.plan.widths.gradient_bits)
            accumulators.append(replace(declared[name], type=Type(type_.shape, wide)))
            accumulates.append((name, word))
        updates = tuple((s, self._update(s, self.stored.get(v, v))) for s, v in self.body.updates)
        emits = tuple(self.stored.get(v, v) for v in self.body.emits)
        body = replace(
            self.body, frame=self.frame, instrs=tuple(self.code.instrs.values()), updates=updates,
            accumulates=tuple(accumulates), emits=emits,
        )  # fmt: skip
        return EmittedBody(body, tuple(accumulators), tuple(self.limits))

    def _update(self, state: str, word: str) -> str:
        """A word of the state's format."""
        own, instr = self.code.types[state], self.code.instrs.get(word)
        following = self.labels[state].part("next")
        # A negated word is not one yet: minus the most negative word does not fit.
        exact = instr is not None and instr.op is Op.SCALE
        if self.code.types[word] == own and not exact:
            return word
        if instr is not None and instr.op is Op.CONSTANT:
            return self.code.append(Instr.of(following, Op.CONSTANT, (), own, instr.attr))
        return self._requant(following, word, own.q, self._word(state))

    def _value(self, instr: Instr, args: list[str]) -> str:
        op, attr = instr.op, instr.attr
        if op in PRODUCTS:
            return self._product(instr, args)
        if op in SUMS:
            return self._sum(instr, args)
        if isinstance(attr, Scale):
            return self._scale(instr, attr, args[0])
        if isinstance(attr, Table):
            return self._table(instr, attr, args[0])
        if isinstance(attr, Constant):
            q = self.formats.q(self._word(instr.name))
            return self.code.append(replace(instr, type=Type(instr.type.shape, q)))
        if isinstance(attr, Read):
            return self.code.append(replace(instr, type=self.accumulators[attr.accumulator]))
        if isinstance(attr, Shift):
            return self._store(instr, args[0], attr.register)
        raise ValueError(f"{op.value} of {instr.name} has no fixed-point form yet")

    # Exact values to words

    def _store(self, instr: Instr, value: str, register: DynamicShift = DynamicShift.NONE) -> str:
        """Store an exact value as the word of `instr`."""
        word = self._word(instr.name)
        return self._requant(instr.label, value, self.formats.q(word), word, register)

    def _requant(
        self,
        label: Label,
        value: str,
        q: Q,
        word: Word,
        register: DynamicShift = DynamicShift.NONE,
    ) -> str:
        """Cut `value` to the format of `word`, which may ask for more bits than there are."""
        self.limits.append((word, min(self.code.q(value).fracs)))
        overflow = Overflow.WRAP if self.formats.of(word).state else Overflow.SATURATE
        return self.code.cut(label, value, q, overflow, register)

    # Products

    def _product(self, instr: Instr, args: list[str]) -> str:
        word = self._word(instr.name)
        narrow = self.plan.widths.narrow
        if instr.op in FACTORS and all(self.code.q(a).width > narrow for a in args):
            cut = self.plan.cuts[word]
            args[cut] = self._narrowed(args[cut])
        # An accumulator adds up products with one exponent, or with those of an outer one's sides.
        elementwise = instr.op is Op.MUL and not any(self.code.q(a).per_element for a in args)
        summed = word in self.plan.accumulated and (elementwise or instr.op is Op.OUTER)
        if summed or word in self.plan.unstored:
            return self.code.exact(instr.label, instr.op, *args)
        return self._store(instr, self.code.exact(instr.label.part("exact"), instr.op, *args))

    def _narrowed(self, name: str) -> str:
        """The copy of a word that is cut to the narrow side; one for all its products."""
        if name not in self.copies:
            made = self.code.instrs.get(name)
            label = self.labels.get(name, Label(name)) if made is None else made.label
            q = Q(self.plan.widths.narrow, self._narrow_frac(name))
            self.copies[name] = self.code.cut(label.part("narrow"), name, q)
        return self.copies[name]

    def _narrow_frac(self, name: str) -> int:
        """Fraction bits of a word that is cut. The upper ones are kept, where they are in use: a
        word that is capped far below its own range would lose all that it holds."""
        q, narrow = self.code.q(name), self.plan.widths.narrow
        upper = q.scalar_frac - (q.width - narrow)
        if self._word(name) not in self.formats:
            return upper
        finest = min(self.formats.of(self._word(name)).finest(narrow), q.scalar_frac)
        return finest if finest - upper > UNUSED else upper

    # Sums: terms may be of very different size. One is moved to its sum's grid by a weight that is
    # a power of two; a finer one is rounded to that grid first, and one that is below half a unit
    # at its largest contributes nothing, whatever its words, and is left out.

    def _sum(self, instr: Instr, args: list[str]) -> str:
        word = self._word(instr.name)
        fused = self.plan.fused.get(word)
        if fused is None:
            return self._words(instr, args)
        base, increment = (self.stored.get(v, v) for v in (fused.base, fused.increment))
        frac = self.formats.q(word).scalar_frac
        # A state moves by an increment, be it nothing.
        if self.code.q(increment).vanishes(frac) and not self.formats.of(word).state:
            return self._term(instr, 0, base)
        if self.code.q(base).vanishes(frac):
            return self._term(instr, 1, increment)
        return self._fused(instr, base, increment, word)

    def _fused(self, instr: Instr, base: str, increment: str, word: Word) -> str:
        """Round the increment, then add: all in one go of the drain."""
        q, exact = self.formats.q(word), self.code.q(increment)
        if self.code.q(base).frac != q.frac:
            base = self._requant(instr.label.part("base"), base, q, word)
        self.limits.append((word, min(exact.fracs)))
        rounded = exact.rounded(q.scalar_frac)
        increment = self.code.cut(instr.label.part("rounded"), increment, rounded)
        total = self.code.exact(instr.label.part("exact"), instr.op, base, increment)
        return self._store(instr, total)

    def _words(self, instr: Instr, args: list[str]) -> str:
        """The sum of two stored words, the finer one rounded to what the other can be moved to."""
        formats = [self.code.q(a) for a in args]
        finest = min(q.scalar_frac for q in formats) + longest_lift(self.plan.widths.narrow)
        for number, q in enumerate(formats):
            if q.vanishes(finest):
                return self._term(instr, 1 - number, args[1 - number])
            if q.scalar_frac > finest:
                args[number] = self.code.cut(
                    instr.label.part("term"), args[number], q.rounded(finest)
                )
        return self._store(instr, self.code.exact(instr.label.part("exact"), instr.op, *args))

    def _term(self, instr: Instr, number: int, value: str) -> str:
        """A sum of which only operand `number` is left."""
        if number == 1 and instr.op is Op.SUB:
            value = self.code.exact(instr.label.part("exact"), Op.SCALE, value, attr=Scale(-1.0))
        return self._store(instr, value)

    # Functions of one value

    def _scale(self, instr: Instr, attr: Scale, value: str) -> str:
        if math.frexp(abs(attr.factor))[0] != 0.5:
            raise ValueError(
                f"the factor {attr.factor} of {instr.name} is not a power of two; "
                "hold it as a coefficient of the unit instead"
            )
        return self.code.exact(instr.label, Op.SCALE, value, attr=attr)

    def _table(self, instr: Instr, attr: Table, value: str) -> str:
        name, source, word = attr.function, self.code.q(value), self._word(instr.name)
        bound, own, narrow = FUNCTIONS[name].bound, self.formats.of(word), self.plan.widths.narrow
        cut = bound is not None and own.factor
        q = Q(narrow, narrow - 2) if cut else self.formats.q(word)
        reach = range_bits(name, source)
        if source.scalar_frac + reach < 0:
            raise NoTable(
                name,
                f"the argument of {name} reaches so far that its {source.width} bits cannot tell "
                "two segments of a table apart; scale it down",
                instr.place,
            )
        # A power of two, so that copies with slightly different ranges share one table.
        whole = 2.0 ** math.ceil(math.log2(bound or own.range or 1.0))
        try:
            bits = segment_bits(
                name, source, whole, self.plan.widths.segment_bits, self.plan.smallest[word]
            )
        except NoTable as error:
            raise NoTable(name, error.problem, instr.place) from error
        table = replace(attr, segment_bits=bits, range_bits=reach)
        if not cut:
            # A result that stays near zero on the samples asks for more bits than slopes have.
            excess = excess_bits(table, source, q, narrow)
            self.limits.append((word, q.scalar_frac - excess))
        type_ = Type(instr.type.shape, q)
        return self.code.append(Instr.of(instr.label, Op.TABLE, (value,), type_, table))
