"""How large the words of integer code can get: its instructions as forms of affine arithmetic.

What is asked of every word is its bound; what the word holds after it was clamped or has wrapped,
and so what follows is made of, is always within its format.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from echoloom.ir.affine import Floats, Form, known, product, within
from echoloom.ir.arithmetic import Overflow, Rounding, piecewise_linear
from echoloom.ir.formats import Q, Type, largest
from echoloom.ir.ops import Constant, DynamicShift, Op, Read, Requant, Scale, Table
from echoloom.ir.program import Body, Instr
from echoloom.ir.tables import TableContents, table_key
from echoloom.ir.word import Word

LONG = 63  # bits of a result that is not clamped
HALVES = (Rounding.HALF_EVEN, Rounding.HALF_AWAY, Rounding.HALF_UP)
INVERSE = 1.0 + 2.0**-15  # of the rounding of the word that says 1 / T


@dataclass(frozen=True)
class Bound:
    """The largest magnitude that a word can be asked to hold, infinity where that is not known, and
    the largest that it holds."""

    reach: float
    limit: float

    @property
    def fits(self) -> bool:
        return self.reach <= self.limit


@dataclass
class Facts:
    """What is found out while a program is gone through, body by body.

    numbers: the coefficients that are known; steps: of the longest sequence. By name: words, the
    bounds found; sums and states, where they can be when a body begins."""

    numbers: Mapping[str, Floats]
    tables: Mapping[str, TableContents]
    steps: int
    words: dict[Word, Bound] = field(default_factory=dict)
    sums: dict[str, Form] = field(default_factory=dict)
    states: dict[str, Form] = field(default_factory=dict)


def limit_of(q: Q) -> float:
    """The largest magnitude of a word that is stored, which has one exponent."""
    return largest(q.width) * 2.0**-q.scalar_frac


def anything(name: str, q: Q, size: int) -> Form:
    """Whatever a vector's format holds."""
    limit = np.broadcast_to(largest(q.width) * np.exp2(-1.0 * q.grid), (size,))
    return within(name, -limit, limit)


class Code:
    """Straight-line code of a body. `forms` are its values so far."""

    def __init__(self, facts: Facts, body: Body, types: Mapping[str, Type]):
        self.facts, self.body, self.types = facts, body, types
        self.forms: dict[str, Form] = {}
        self.shares: dict[str, Form] = {}  # of what is shifted by LENGTH: the sum over T

    def follow(self, instrs: Iterable[Instr]) -> None:
        for instr in instrs:
            self.forms[instr.name] = self.result(instr)

    def form(self, name: str) -> Form:
        if name in self.forms:
            return self.forms[name]
        if name in self.facts.states:
            return self.facts.states[name]
        numbers = self.facts.numbers.get(name)
        if numbers is not None:
            return known(numbers)
        own = self.types[name]  # a runtime value, or a coefficient that learns
        return anything(name, own.q, own.size)

    def result(self, instr: Instr) -> Form:
        attr, name = instr.attr, instr.name
        if isinstance(attr, Constant):
            unit = 2.0**-instr.type.q.scalar_frac
            return known(np.full(instr.type.size, np.rint(attr.value / unit) * unit))
        if isinstance(attr, Read):
            return self.facts.sums[attr.accumulator]
        if isinstance(attr, Scale):
            return self.form(instr.args[0]).times(np.array([attr.factor]))
        if isinstance(attr, Table):
            return self.looked_up(instr, attr)
        if isinstance(attr, Requant):
            return self.rounded(instr, attr)
        if instr.op in (Op.ADD, Op.SUB):
            a, b = map(self.form, instr.args)
            return a.plus(b, 1.0 if instr.op is Op.ADD else -1.0)
        if instr.op in (Op.MATVEC, Op.TMATVEC):
            return self.matrix_product(instr)
        a, b = map(self.form, instr.args)
        if instr.op is Op.OUTER:
            ends = np.multiply.outer(a.reach, b.reach).reshape(-1)
            return Form(np.zeros_like(ends), ends)
        if instr.args[1] == "inverse_length" and instr.args[0] in self.shares:
            return self.shares[instr.args[0]]
        return product(name, a, b, instr.args[0] == instr.args[1])

    def matrix_product(self, instr: Instr) -> Form:
        name, x = instr.args[0], self.form(instr.args[1])
        numbers = self.facts.numbers.get(name)
        if numbers is None:
            own = self.types[name]
            limit = np.broadcast_to(largest(own.q.width) * 2.0**-own.q.grid, own.shape)
            limit = limit if instr.op is Op.MATVEC else limit.T
            return within(instr.name, -(limit @ x.reach), limit @ x.reach)
        return x.under(numbers if instr.op is Op.MATVEC else numbers.T)

    def looked_up(self, instr: Instr, attr: Table) -> Form:
        source, x = self.types[instr.args[0]].q, self.form(instr.args[0])
        contents = self.facts.tables[table_key(instr, source)]
        unit = 2.0**-source.scalar_frac
        ends = (np.floor(x.low / unit), np.ceil(x.high / unit))
        low, high = table_range(contents, *(_words(end, source.width) for end in ends))
        out = 2.0**-instr.type.q.scalar_frac
        return self.stored(instr, within(instr.name, low * out, high * out))

    def rounded(self, instr: Instr, attr: Requant) -> Form:
        source, unit = self.types[instr.args[0]].q, 2.0**-instr.type.q.scalar_frac
        x = self.form(instr.args[0])
        exact = max(source.fracs) <= instr.type.q.scalar_frac
        error = unit if attr.rounding not in HALVES else 0.5 * unit
        if attr.register is DynamicShift.LENGTH:
            # Of T steps' sum: shifted by more bits than T has, or as many.
            x = x.times(np.array([1.0 / self.facts.steps]))
            share = x.blurred(error).times(np.array([INVERSE]))
            self.shares[instr.name] = share.blurred(2.0 * error)
            exact = False
        elif attr.register is not DynamicShift.NONE:
            exact = False
        return self.stored(instr, x if exact else x.blurred(error))

    def stored(self, instr: Instr, x: Form) -> Form:
        """A word before it is brought into its format, and what it can be then."""
        q = instr.type.q
        limit = limit_of(q)
        self.facts.words[Word(self.body.section, instr.name)] = Bound(float(x.reach.max()), limit)
        if (x.reach <= limit).all():
            return x
        if isinstance(instr.attr, Requant) and instr.attr.overflow is Overflow.WRAP:
            return anything(instr.name, q, len(x.centre))
        return within(instr.name, np.clip(x.low, -limit, limit), np.clip(x.high, -limit, limit))


def _words(numbers: Floats, width: int) -> NDArray[np.int64]:
    end = float(1 << (width - 1))
    return np.clip(numbers, -end, end - 1.0).astype(np.int64)


def table_range(
    table: TableContents, low: NDArray[np.int64], high: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """The least and the largest result, before it is clamped, of arguments between two words."""
    half = 1 << (table.segment_bits - 1)
    left = np.arange(-half, half, dtype=np.int64) << table.fraction_bits
    ends = np.concatenate([left, left + (1 << table.fraction_bits) - 1])

    def value(z: NDArray[np.int64]) -> NDArray[np.int64]:
        return piecewise_linear(
            z, table.base, table.slope, segment_bits=table.segment_bits,
            fraction_bits=table.fraction_bits, slope_shift=table.slope_shift, word=LONG,
        )[0]  # fmt: skip

    at_ends, own = value(ends), np.stack([value(low), value(high)])
    met = (ends[None] >= low[:, None]) & (ends[None] <= high[:, None])
    least = np.where(met, at_ends, own.min(0)[:, None]).min(1)
    most = np.where(met, at_ends, own.max(0)[:, None]).max(1)
    return np.minimum(least, own.min(0)) * 1.0, np.maximum(most, own.max(0)) * 1.0
