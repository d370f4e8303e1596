"""What is decided before any integer code: which words share a format, how large they are, which
products are never stored and which operand is cut where two are wide.

A format class is a set of words that are added to each other without alignment, or that are the
same word in both sweeps or in several copies: they have one width and one exponent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from echoloom.ir.formats import Q
from echoloom.ir.functions import FUNCTIONS
from echoloom.ir.intervals import EVERYTHING, intervals
from echoloom.ir.ops import SUMS, Op, Table
from echoloom.ir.passes.calibrate import Ranges
from echoloom.ir.passes.channels import channel_formats
from echoloom.ir.passes.coefficient_formats import RUNTIME_INTEGER, factor_formats, spare_bits
from echoloom.ir.passes.explicit import chosen
from echoloom.ir.passes.format_classes import Basis, FormatClass, Formats, grouped
from echoloom.ir.passes.fused import FusedSum, fused_sums, only_accumulated, unstored
from echoloom.ir.passes.held import held_states
from echoloom.ir.passes.resolution import with_floors
from echoloom.ir.precision import Precision, Signals
from echoloom.ir.program import Body, Declaration, Instr, Program
from echoloom.ir.reversible import paths
from echoloom.ir.sections import FORWARD, STEPS, Section
from echoloom.ir.widths import Widths
from echoloom.ir.word import Word

Floats = NDArray[np.float64]
SMALL = 2.0**-8  # of another state's range: too little to share a format with it
FACTORS = (Op.MUL, Op.OUTER)  # products of which either operand may be the narrow one
Cuts = Mapping[Section, tuple[int | None, ...]]  # by product of FACTORS, in the code's order


@dataclass(frozen=True, eq=False)
class FormatPlan:
    """All that emission goes by; `cuts` is which operand of a product is cut where both are wide,
    `smallest` the least argument that a table can meet."""

    program: Program
    widths: Widths
    formats: Formats
    fused: Mapping[Word, FusedSum]
    unstored: frozenset[Word]
    accumulated: frozenset[Word]  # products that only accumulators read
    cuts: Mapping[Word, int]
    factors: Mapping[str, Q]  # formats of coefficients that are multiplied
    inputs: Mapping[str, Q]  # of inputs whose channels have exponents of their own
    smallest: Mapping[Word, float]

    def word(self, section: Section, name: str) -> Word:
        whole = Word(None, name)
        return whole if whole in self.formats else Word(section, name)


def plan_formats(
    program: Program,
    coefficients: Mapping[str, Floats],
    ranges: Ranges,
    precision: Precision,
    earlier: Cuts,
    learned: Mapping[str, Q] = MappingProxyType({}),
) -> FormatPlan:
    """The plan of a real program; products are cut as in `earlier`, where it has them. Coefficients
    that are going to learn have their formats (`learned`), and `ranges` says what they reach.

    ValueError for a coefficient that is both multiplied and added, WrongPrecision (a ValueError)
    for explicit formats of what the program has not.
    """
    widths = precision.widths
    ops = {Word(b.section, i.name): i.op for b in program.bodies for i in b.instrs}
    planner = _Planner(program, coefficients, ranges, precision, fused_sums(program), ops)
    formats = planner.formats()
    own = chosen(program, formats, precision)
    formats = formats.with_exponents(own.exponents)
    channels = channel_formats(
        program, coefficients, ranges.channels, formats, widths.narrow, widths.weight_margin,
        own.alone(program) | frozenset(learned),
    )  # fmt: skip
    factors = factor_formats(
        program, coefficients, widths.narrow, widths.weight_margin,
        {**channels.matrices, **learned, **own.coefficients},
    )  # fmt: skip
    for name in factors:
        if Word(None, name) in formats:
            raise ValueError(f"coefficient {name} is both multiplied and added; split it")
    return FormatPlan(
        program,
        widths,
        formats,
        planner.fused,
        unstored(program, planner.fused),
        frozenset(Word(b.section, n) for b in program.bodies for n in only_accumulated(b)),
        planner.cuts(earlier),
        factors,
        {**channels.inputs, **own.inputs},
        planner.smallest(),
    )


@dataclass(frozen=True, eq=False)
class _Planner:
    program: Program
    coefficients: Mapping[str, Floats]
    ranges: Ranges
    precision: Precision
    fused: Mapping[Word, FusedSum]
    ops: Mapping[Word, Op]

    @property
    def widths(self) -> Widths:
        return self.precision.widths

    @cached_property
    def held(self) -> frozenset[str]:
        return held_states(self.program)

    @cached_property
    def sizes(self) -> dict[str, Floats]:
        """The coefficients, those that learn as large as they get."""
        return {**self.coefficients, **self.ranges.learned}

    def word(self, section: Section, name: str) -> Word:
        whole = name in self.coefficients or any(d.name == name for d in self.program.states)
        return Word(None if whole else section, name)

    def formats(self) -> Formats:
        bodies = self.program.bodies
        needs = [*self.state_needs(), *(need for b in bodies for need in self.needs(b))]
        alike = [*(pair for b in bodies for pair in self.alike(b)), *self.alike_in_steps()]
        return grouped(needs, [*alike, *self.alike_starts(grouped(needs, alike))])

    # How large words are

    def need(self, largest: float, signals: Signals, state: bool = False) -> FormatClass:
        return FormatClass(largest, self.widths.word, self.precision.margin(signals), state)

    @cached_property
    def forward(self) -> frozenset[object]:
        """The words of the forward sweep, in both sweeps and in all copies."""
        bodies = [self.program.body(section) for section in FORWARD]
        named = {d.name for b in bodies for d in (*b.frame, *b.instrs)}
        return frozenset(named | {i.kin for b in bodies for i in b.instrs})

    def signals(self, word: Declaration | Instr) -> Signals:
        if word.name in self.moved:
            return Signals.STATE
        kin = word.kin if isinstance(word, Instr) else word.name
        own = not self.forward.isdisjoint((word.name, kin))
        return Signals.ACTIVATION if own else Signals.BACK

    @cached_property
    def moved(self) -> frozenset[str]:
        """What q and p become, on their way through a step and elsewhere."""
        own = frozenset(self.program.coordinates().values())
        found = [path for section in STEPS for path in paths(self.program.body(section)).values()]
        ends = {v for body in self.program.bodies for state, v in body.updates if state in own}
        return frozenset({name for path in found for name in path.values} | ends)

    @cached_property
    def forward_states(self) -> frozenset[str]:
        return frozenset(s for section in FORWARD for s, _ in self.program.body(section).updates)

    def state_needs(self) -> Iterator[tuple[Word, FormatClass]]:
        for d in self.program.states:
            largest = self.ranges.states.get(d.name, 0.0)
            state = d.coordinate is not None
            signals = Signals.ACTIVATION if d.name in self.forward_states else Signals.BACK
            signals = Signals.STATE if state else signals
            yield Word(None, d.name), self.need(largest, signals, state)

    def needs(self, body: Body) -> Iterator[tuple[Word, FormatClass]]:
        for d in body.frame:
            if d.name not in RUNTIME_INTEGER:
                largest = self.ranges.inputs.get(d.name, 1.0)
                yield Word(body.section, d.name), self.need(largest, self.signals(d))
        seen = {n: size for (s, n), size in self.ranges.values.items() if s is body.section}
        measured = {**self.ranges.states, **self.ranges.inputs, **seen}
        declared = {d.name: d for d in self.program.coefficients}
        planned = with_floors(body, measured, self.sizes, self.ranges.channels)
        for instr in body.instrs:
            bound = FUNCTIONS[instr.attr.function].bound if isinstance(instr.attr, Table) else None
            if bound is None:
                need = self.need(planned[instr.name], self.signals(instr))
            else:
                factor = self.is_factor(body, instr.name)
                need = FormatClass(
                    bound, self.widths.word, margin=0, factor=factor, basis=Basis.FUNCTION
                )
            yield Word(body.section, instr.name), need
            for name in self.joined(body, instr):
                if name in declared:
                    largest = float(np.max(np.abs(self.coefficients[name])))
                    spare = spare_bits(declared[name], self.widths.weight_margin)
                    spare = max(self.precision.margin(Signals.ACTIVATION), spare)
                    need = FormatClass(largest, self.widths.word, spare, basis=Basis.WEIGHTS)
                    yield Word(None, name), need

    def is_factor(self, body: Body, name: str) -> bool:
        """Whether a word is multiplied by another that is known at run time only, and not just to
        be added up, as a velocity is for its step's gradient."""
        summed = only_accumulated(body)
        return any(
            i.op in FACTORS
            and name in i.args
            and not (i.op is Op.MUL and i.name in summed)
            and not any(a in self.coefficients for a in i.args)
            for i in body.instrs
        )

    # Which share a format

    def joined(self, body: Body, instr: Instr) -> tuple[str, ...]:
        """The operands that share the format of a sum: a fused sum's base, unless it is no word
        but a scaled one; of others the coefficients, held or not, which are there for their sum
        alone."""
        if instr.op not in SUMS:
            return ()
        fused = self.fused.get(Word(body.section, instr.name))
        if fused is None:
            return tuple(a for a in instr.args if a in self.coefficients or a in self.held)
        return () if self.made_by(Op.SCALE, body, fused.base) else (fused.base,)

    def made_by(self, op: Op, body: Body, name: str) -> bool:
        return self.ops.get(Word(body.section, name)) is op

    def alike(self, body: Body) -> Iterator[tuple[Word, Word]]:
        for instr in body.instrs:
            for name in self.joined(body, instr):
                yield Word(body.section, instr.name), self.word(body.section, name)
        for state, value in body.updates:
            if not self.made_by(Op.CONSTANT, body, value):
                yield Word(None, state), self.word(body.section, value)

    def alike_in_steps(self) -> Iterator[tuple[Word, Word]]:
        """The echo retraces the forward sweep only if it recomputes every word in its format."""
        forward, echo = (self.program.body(section) for section in STEPS)
        for d in (*(i for i in forward.instrs if Word(echo.section, i.name) in self.ops),
                  *forward.frame):  # fmt: skip
            yield Word(forward.section, d.name), Word(echo.section, d.name)
        for body in (forward, echo):
            kin: dict[object, Word] = {}
            for instr in body.instrs:
                word = Word(body.section, instr.name)
                yield kin.setdefault(instr.kin, word), word

    def alike_starts(self, formats: Formats) -> Iterator[tuple[Word, Word]]:
        """States that start from one constant share its format, but for those that move so much
        less than the others that they would lose their bits to them."""
        starts: dict[Word, list[Word]] = {}
        for body in self.program.bodies:
            for state, value in body.updates:
                if self.made_by(Op.CONSTANT, body, value):
                    starts.setdefault(Word(body.section, value), []).append(Word(None, state))
        for constant, states in starts.items():
            most = max(formats.of(state).range for state in states)
            for state in states:
                if not 0.0 < formats.of(state).range < most * SMALL:
                    yield state, constant

    # What else emission asks for

    def cuts(self, earlier: Cuts) -> dict[Word, int]:
        """Of two wide words the one with the lower crest factor is cut: its bits are the better
        used, so it loses least. The forward sweep decides where the echo has to take the same
        increment back."""
        forward = {i.name: i for i in self.program.body(Section.FORWARD_STEP).instrs}
        retraced = _retraced(self.program, forward)
        found = {}
        for body in self.program.bodies:
            products = [i for i in body.instrs if i.op in FACTORS]
            before = earlier.get(body.section, ())
            kept = before if len(before) == len(products) else (None,) * len(products)
            streamed = {d.name for d in body.frame}
            for instr, cut in zip(products, kept, strict=True):
                section, deciding = body.section, instr
                if instr.name in retraced:
                    section, deciding = Section.FORWARD_STEP, forward[instr.name]
                left, right = (self.ranges.crest(section, a) for a in deciding.args)
                if cut is None:
                    cut = 0 if left < right else 1
                if instr.args[0] == instr.args[1]:
                    cut = 1
                if instr.args[cut] in streamed:
                    cut = 1 - cut  # it is broadcast as it comes: the fabric cannot cut it
                found[Word(body.section, instr.name)] = cut
        return found

    def smallest(self) -> dict[Word, float]:
        # What learns may have either sign.
        both = {n: np.concatenate([v, -v]) for n, v in self.ranges.learned.items()}
        held = {**self.coefficients, **both}
        return {
            Word(body.section, i.name): proven.get(i.args[0], EVERYTHING)[0]
            for body in self.program.bodies
            for proven in [intervals(body.instrs, held)]
            for i in body.instrs
            if i.op is Op.TABLE
        }


def _retraced(program: Program, definitions: Mapping[str, Instr]) -> frozenset[str]:
    """Values of the forward sweep that the increments of its states are made of."""
    found: set[str] = set()
    body = program.body(Section.FORWARD_STEP)
    waiting = [name for path in paths(body).values() for name in path.increments]
    while waiting:
        name = waiting.pop()
        if name in definitions and name not in found:
            found.add(name)
            waiting += definitions[name].args
    return frozenset(found)
