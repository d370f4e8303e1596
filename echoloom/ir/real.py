"""Real programs under NumPy float64: for calibration and as the float level of comparisons."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from echoloom.ir.functions import FUNCTIONS
from echoloom.ir.interpret import COMMON_RULES, Machine, Rule, Value
from echoloom.ir.ops import Constant, DynamicShift, Op, Requant, Scale, Shift, Table
from echoloom.ir.program import Instr


def _constant(m: Machine, i: Instr, args: list[Value]) -> Value:
    assert isinstance(i.attr, Constant)
    return np.full(i.type.shape or (1,), i.attr.value)


def _scale(m: Machine, i: Instr, args: list[Value]) -> Value:
    assert isinstance(i.attr, Scale)
    return args[0] * i.attr.factor


def _table(m: Machine, i: Instr, args: list[Value]) -> Value:
    assert isinstance(i.attr, Table)
    return FUNCTIONS[i.attr.function].evaluate(args[0])


def _shift(m: Machine, i: Instr, args: list[Value]) -> Value:
    """Of a requant, which a quantised program has, without its rounding."""
    assert isinstance(i.attr, Shift | Requant)
    if i.attr.register is DynamicShift.NONE:
        return args[0]
    return args[0] * 2.0 ** -m.shifts[i.attr.register]


REAL_RULES: Mapping[Op, Rule] = {
    **COMMON_RULES,
    Op.CONSTANT: _constant,
    Op.ADD: lambda m, i, a: a[0] + a[1],
    Op.SUB: lambda m, i, a: a[0] - a[1],
    Op.SCALE: _scale,
    Op.TABLE: _table,
    Op.SHIFT: _shift,
    Op.REQUANT: _shift,
}
