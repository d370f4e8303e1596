"""Which words a program stores and which of them share a format, decided before any code.

A format class is a set of words that are added to each other without alignment, or that are the
same word in both passes or in several copies: they have one width and one exponent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echoloom.ir.arithmetic import Rounding
from echoloom.ir.formats import Q
from echoloom.ir.functions import FUNCTIONS
from echoloom.ir.ops import Op, Table
from echoloom.ir.passes.calibrate import Ranges
from echoloom.ir.passes.format_classes import Formats
from echoloom.ir.passes.resolution import with_floors
from echoloom.ir.program import Body, Instr, Program, uses
from echoloom.ir.reversible import paths
from echoloom.ir.sections import STEPS, Section

Floats = NDArray[np.float64]
PRODUCTS = (Op.MUL, Op.MATVEC, Op.TMATVEC)
SMALL = 2.0**-8  # of another state's range: too little to share a format with it
# Bits that exponents of one vector spread over when it is to be trained.
TRAINED_SPREAD = 4
# Integer bits, sign included, of what the host writes: 1/T's mantissa below 2, an error below 1,
# a gain between 1/4 and 2**GAIN_LIMIT, which has to be exact.
RUNTIME_INTEGER = {"inverse_length": 2, "error": 2, "gain": 16}


@dataclass(frozen=True)
class Widths:
    """Word lengths of the target and spare range in bits.

    `margin` is head-room above the calibrated range, `weight_margin` above the coefficients'
    present size, for parameters that are going to be trained; `segment_bits` the most that a table
    takes.
    """

    word: int = 28
    narrow: int = 18
    accumulator: int = 54
    margin: int = 2
    weight_margin: int = 0
    segment_bits: int = 11
    rounding: Rounding = Rounding.HALF_EVEN


def coefficient_format(values: Floats, width: int, per_element: bool, margin: int = 0) -> Q:
    """The finest format that holds every value 2**margin times as large.

    Exponents of a vector spread at most 31 bits; at most TRAINED_SPREAD where there is a margin,
    because what is small moves by many times its size when it is trained.
    """
    limit = (1 << (width - 1)) - 1
    spread = TRAINED_SPREAD if margin else 31

    def frac(largest: float) -> int:
        bits = min(width - 1 - (math.floor(math.log2(largest)) + 1) - margin, 60)
        return bits if round(largest * 2.0**bits) <= limit else bits - 1

    sizes = [float(abs(v)) for v in values.reshape(-1)]
    # Zero fits any format; it takes the coarsest exponent that the others need.
    lowest = min([frac(s) for s in sizes if s > 0.0] or [width - 1])
    if not per_element:
        return Q(width, lowest)
    return Q(width, tuple(min(frac(s), lowest + spread) if s > 0.0 else lowest for s in sizes))


class FormatPlan:
    """Which words exist and which share a format; fixed before any code is emitted."""

    def __init__(
        self,
        program: Program,
        coefficients: Mapping[str, Floats],
        ranges: Ranges,
        widths: Widths,
    ):
        self.program, self.coefficients = program, coefficients
        self.ranges, self.widths, self.formats = ranges, widths, Formats()
        self.changed = False
        self.counts = {body.section: uses(body) for body in program.bodies}
        self.definitions = {
            body.section: {i.name: i for i in body.instrs} for body in program.bodies
        }
        self.bases: dict[tuple[Section, str], tuple[str, str]] = {}
        self.states = {d.name for d in program.states}
        self.fixed = {d.name for d in program.coefficients if d.fixed}
        self.starts: dict[str, list[str]] = {}  # states by the constant that they start from
        for state in program.states:
            largest = ranges.states.get(state.name, 0.0)
            self._add(state.name, largest, state.coordinate is not None)
        for body in program.bodies:
            self._plan_body(body)
        self._share_between_passes()
        self._share_starts()
        self.retraced = _retraced(program)

    def _share_between_passes(self) -> None:
        # The echo retraces the forward pass only if it recomputes every word in the same format.
        forward = self.definitions.get(Section.FORWARD_STEP, {})
        for name in self.definitions.get(Section.ECHO_STEP, {}):
            if name in forward:
                key = self.key(Section.FORWARD_STEP, name)
                self.formats.unite(key, self.key(Section.ECHO_STEP, name))
        for section in STEPS:
            first: dict[object, str] = {}
            for name, instr in self.definitions.get(section, {}).items():
                alike = first.setdefault(instr.kin, name)
                self.formats.unite(self.key(section, alike), self.key(section, name))
        for declaration in self.program.body(Section.FORWARD_STEP).frame:
            key = self.key(Section.FORWARD_STEP, declaration.name)
            self.formats.unite(key, self.key(Section.ECHO_STEP, declaration.name))

    def _share_starts(self) -> None:
        """States that start from one constant share its format, but for those that move so much
        less than the others that they would lose their bits to them."""
        for constant, states in self.starts.items():
            most = max(self.formats.of(state).range for state in states)
            for state in states:
                if not 0.0 < self.formats.of(state).range < most * SMALL:
                    self.formats.unite(state, constant)

    def key(self, section: Section, name: str) -> str:
        if name in self.states or name in self.coefficients:
            return name
        return f"{section.value}:{name}"

    def _add(self, key: str, largest: float, state: bool = False) -> None:
        self.formats.add(key, largest, self.widths.word, self.widths.margin, state)

    def is_increment(self, body: Body, name: str) -> bool:
        """A product (perhaps scaled) that is added without being stored.

        It is used once, or it is elementwise and every use adds it to something: multiplying
        again costs less than a drain. The two passes decide alike: what the echo has to store for
        its three copies, the forward pass rounds in the same way.
        """
        bodies = [body]
        if body.section in STEPS:
            others = (self.program.body(s) for s in STEPS if s is not body.section)
            bodies += [b for b in others if name in self.definitions.get(b.section, {})]
        return all(self._may_be_increment(b, name) for b in bodies)

    def _may_be_increment(self, body: Body, name: str) -> bool:
        definition = self.definitions[body.section].get(name)
        if definition is None:
            return False
        users = [i for i in body.instrs if name in i.args]
        if self.counts[body.section].get(name, 0) != 1:
            added = all(i.op in (Op.ADD, Op.SUB) and i.args[1] == name for i in users)
            if not added or len(users) != self.counts[body.section][name]:
                return False
            if definition.op not in (Op.SCALE, Op.MUL):
                return False
        if definition.op is Op.SCALE:
            return self.is_increment(body, definition.args[0])
        return definition.op in PRODUCTS

    def deciding(self, section: Section, instr: Instr) -> tuple[Section, tuple[str, ...]]:
        """The section and the operands by which a product is formed: the forward pass's, where the
        echo has to take the same increment back."""
        if instr.name in self.retraced:
            section = Section.FORWARD_STEP
            instr = self.definitions[section][instr.name]
        return section, instr.args

    def only_accumulated(self, body: Body, name: str) -> bool:
        count = sum(value == name for _, value in body.accumulates)
        return count == self.counts[body.section].get(name, 0)

    def _plan_body(self, body: Body) -> None:
        section = body.section
        for declaration in body.frame:
            if declaration.name not in RUNTIME_INTEGER:
                largest = self.ranges.inputs.get(declaration.name, 1.0)
                self._add(self.key(section, declaration.name), largest)
        planned = with_floors(body, self._measured(body), self.coefficients, self.ranges.channels)
        for instr in body.instrs:
            largest = planned[instr.name]
            key = self.key(section, instr.name)
            bound = FUNCTIONS[instr.attr.function].bound if isinstance(instr.attr, Table) else None
            if bound is None:
                self._add(key, largest)
            else:
                self.formats.add(key, bound, self.widths.word, 0)
                self.formats.of(key).factor |= self._is_factor(body, instr.name)
            if instr.op in (Op.ADD, Op.SUB):
                self._plan_sum(body, instr, key)
        for state, value in body.updates:
            definition = self.definitions[section].get(value)
            if definition is not None and definition.op is Op.CONSTANT:
                self.starts.setdefault(self.key(section, value), []).append(state)
            elif value not in self.states:
                self.formats.unite(state, self.key(section, value))
            else:
                self.formats.unite(state, value)

    def _measured(self, body: Body) -> dict[str, float]:
        """Largest magnitude seen of everything in a body, states and inputs included."""
        seen = {name: largest for (s, name), largest in self.ranges.values.items()
                if s is body.section}  # fmt: skip
        return {**self.ranges.states, **self.ranges.inputs, **seen}

    def _is_factor(self, body: Body, name: str) -> bool:
        """Whether a word is multiplied by another that is known at run time only, and not just to
        be added up, as a velocity is for its step's gradient."""
        products = [
            i
            for i in body.instrs
            if i.op in (Op.MUL, Op.OUTER)
            and name in i.args
            and not (i.op is Op.MUL and self.only_accumulated(body, i.name))
        ]
        return any(not any(a in self.coefficients for a in i.args) for i in products)

    def _plan_sum(self, body: Body, instr: Instr, key: str) -> None:
        a, b = instr.args
        if self.is_increment(body, b):
            base, increment = a, b
        elif instr.op is Op.ADD and self.is_increment(body, a):
            base, increment = b, a
        else:
            for name in instr.args:
                if name in self.coefficients:
                    margin = self.coefficient_margin(name, self.widths.margin)
                    largest = float(np.max(np.abs(self.coefficients[name])))
                    self.formats.add(name, largest, self.widths.word, margin)
                    self.formats.unite(key, name)
            return
        self.bases[body.section, instr.name] = (base, increment)
        base_key = self.key(body.section, base)
        if base in self.coefficients:
            largest = float(np.max(np.abs(self.coefficients[base])))
            group = self.formats.of(key)
            margin = self.coefficient_margin(base, group.margin)
            self.formats.add(base_key, largest, group.width, margin)
        definition = self.definitions[body.section].get(base)
        if definition is None or definition.op is not Op.SCALE:
            self.formats.unite(base_key, key)

    def coefficient_margin(self, name: str, least: int = 0) -> int:
        """Spare bits of a coefficient; a number that the program is made with never changes."""
        return least if name in self.fixed else max(least, self.widths.weight_margin)

    def cap(self, key: str, frac: int) -> None:
        group = self.formats.of(key)
        if group.frac > frac:
            group.cap = frac
            self.changed = True


def _retraced(program: Program) -> frozenset[str]:
    """Values of the forward pass that the increments of its states are made of."""
    body = program.body(Section.FORWARD_STEP)
    definitions = {i.name: i for i in body.instrs}
    found: set[str] = set()
    waiting = [name for path in paths(body).values() for name in path.increments]
    while waiting:
        name = waiting.pop()
        if name in definitions and name not in found:
            found.add(name)
            waiting += definitions[name].args
    return frozenset(found)


def runtime_format(name: str, widths: Widths) -> Q:
    return Q(widths.narrow, max(2, widths.narrow - RUNTIME_INTEGER[name]))
