"""Integer programs under NumPy: what every other level has to equal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import add, sub

import numpy as np
from numpy.typing import NDArray

from echoloom.ir.arithmetic import Overflow, narrow, piecewise_linear, round_shift
from echoloom.ir.flags import Flag
from echoloom.ir.interpret import COMMON_RULES, Machine, Observer, Rule, Value
from echoloom.ir.ops import Constant, DynamicShift, Op, Requant, Scale, Table
from echoloom.ir.program import Instr, Program
from echoloom.ir.staged import StagedMachine
from echoloom.ir.tables import TableContents, table_key

Words = NDArray[np.int64]


class NumpyMachine(Machine):
    """A Machine on int64 words; `flags` holds Flag bits, one word per sequence of the batch."""

    def __init__(
        self,
        program: Program,
        coefficients: Mapping[str, Words],
        tables: Mapping[str, TableContents],
        observer: Observer | None = None,
    ):
        super().__init__(
            program, NUMPY_RULES, dict(coefficients), observer=observer, add=_accumulate
        )
        self.tables = tables
        self.flags = np.zeros((), np.int64)

    def raise_flag(self, flag: Flag, where: NDArray[np.bool_]) -> None:
        hit = where.any(-1) if where.ndim else where
        if hit.any():
            self.flags = self.flags | np.where(hit, np.int64(flag), np.int64(0))


class StagedNumpyMachine(NumpyMachine, StagedMachine):
    """The same integers, a chunk of steps at a time."""

    def raise_flag(self, flag: Flag, where: NDArray[np.bool_]) -> None:
        steps = tuple(range(where.ndim - 1 - np.ndim(self.flags)))
        super().raise_flag(flag, np.asarray(where.any(steps)))

    def add_outer(self, name: str, left: Words, right: Words) -> None:
        """Step by step, because an accumulator may overflow at any of them."""
        for k in range(len(left)):
            self.sum_up(name, left[k][..., :, None] * right[k][..., None, :])


def _accumulate(m: Machine, name: str, old: Words, new: Words) -> Words:
    assert isinstance(m, NumpyMachine)
    width = next(a.type.q.width for a in m.program.accumulators if a.name == name)
    total = old + new
    limit = np.int64(1) << (width - 1)
    out = (total >= limit) | (total < -limit)
    if out.any():
        m.raise_flag(Flag.ACCUMULATOR, out.reshape(*np.shape(m.flags), -1))
        total = ((total + limit) & (2 * limit - 1)) - limit
    return total


def _aligned(combine: Callable[[Value, Value], Value]) -> Rule:
    """Of two operands, brought to the result's exponent."""

    def rule(m: Machine, i: Instr, args: list[Value]) -> Value:
        frac = i.type.q.scalar_frac
        a, b = (m.type(name).q.scalar_frac for name in i.args)
        return combine(args[0] << (frac - a), args[1] << (frac - b))

    return rule


def _constant(m: Machine, i: Instr, args: list[Value]) -> Value:
    assert isinstance(i.attr, Constant)
    return np.full(i.type.shape or (1,), round(i.attr.value * 2.0**i.type.q.scalar_frac), np.int64)


def _scale(m: Machine, i: Instr, args: list[Value]) -> Value:
    assert isinstance(i.attr, Scale)
    return args[0] if i.attr.factor > 0 else -args[0]


def _table(m: Machine, i: Instr, args: list[Value]) -> Value:
    assert isinstance(i.attr, Table) and isinstance(m, NumpyMachine)
    t = m.tables[table_key(i, m.type(i.args[0]).q)]
    words, out = piecewise_linear(
        args[0], t.base, t.slope, segment_bits=t.segment_bits, fraction_bits=t.fraction_bits,
        slope_shift=t.slope_shift, word=i.type.q.width,
    )  # fmt: skip
    m.raise_flag(Flag.SATURATED, out)
    return words


def _requant(m: Machine, i: Instr, args: list[Value]) -> Value:
    assert isinstance(i.attr, Requant) and isinstance(m, NumpyMachine)
    target, source = i.type.q, m.type(i.args[0]).q
    shift = np.asarray(source.frac) - target.scalar_frac
    if i.attr.register is not DynamicShift.NONE:
        shift = shift + m.shifts[i.attr.register]
    words, out = narrow(round_shift(args[0], shift, i.attr.rounding), target.width, i.attr.overflow)
    flag = Flag.STATE if i.attr.overflow is Overflow.WRAP else Flag.SATURATED
    m.raise_flag(flag, out)
    return words


NUMPY_RULES: Mapping[Op, Rule] = {
    **COMMON_RULES,
    Op.CONSTANT: _constant,
    Op.ADD: _aligned(add),
    Op.SUB: _aligned(sub),
    Op.SCALE: _scale,
    Op.TABLE: _table,
    Op.REQUANT: _requant,
}
