"""The real program in float nodes: one rule per operation, as ir.real computes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from echoloom.backends.onnx.bodies import COMMON_NODES, BodyScope, Rule, plain
from echoloom.backends.onnx.functions import spelled
from echoloom.backends.onnx.writer import Value
from echoloom.ir.objective import LONGEST
from echoloom.ir.ops import Constant, DynamicShift, Op, Requant, Scale, Shift, Table
from echoloom.ir.program import Accumulator, Instr


@dataclass(frozen=True, eq=False)
class RealArithmetic:
    """Values are float32 or float64; nothing overflows."""

    dtype: type = np.float64

    @property
    def rules(self) -> Mapping[Op, Rule]:
        return REAL_NODES

    def accumulate(self, s: BodyScope, a: Accumulator, old: Value, new: Value) -> Value:
        return Value(s.node("Add", old.name, new.name, name=f"sum/{a.name}.total"), True)

    def flags(self, s: BodyScope) -> str | None:
        return None


def _number(s: BodyScope, value: float) -> Value:
    return Value(s.constant(value, s.context.arithmetic.dtype), False)


def _constant(s: BodyScope, i: Instr, args: list[Value]) -> Value:
    assert isinstance(i.attr, Constant)
    value = np.full(i.type.shape or (1,), i.attr.value)
    return Value(s.constant(value, s.context.arithmetic.dtype), False)


def _scale(s: BodyScope, i: Instr, args: list[Value]) -> Value:
    assert isinstance(i.attr, Scale)
    if i.attr.factor == -1.0:
        return s.put("Neg", i, args[0])
    return s.put("Mul", i, args[0], _number(s, i.attr.factor))


def _table(s: BodyScope, i: Instr, args: list[Value]) -> Value:
    assert isinstance(i.attr, Table)
    value = spelled(s, i.attr.function, args[0].name, i.name, s.context.arithmetic.dtype)
    return s.put("Identity", i, Value(value, args[0].batched))


def _shift(s: BodyScope, i: Instr, args: list[Value]) -> Value:
    assert isinstance(i.attr, Shift | Requant)
    if i.attr.register is DynamicShift.NONE:
        return args[0]
    powers = s.constant(2.0 ** -np.arange(LONGEST + 1.0), s.context.arithmetic.dtype)
    power = Value(powers, False), Value(s.context.registers[i.attr.register], False)
    factor = s.put("Gather", i, *power, tag=".factor", axis=0)
    return s.put("Mul", i, args[0], factor)


REAL_NODES: Mapping[Op, Rule] = {
    **COMMON_NODES,
    Op.CONSTANT: _constant,
    Op.ADD: plain("Add"),
    Op.SUB: plain("Sub"),
    Op.SCALE: _scale,
    Op.TABLE: _table,
    Op.SHIFT: _shift,
    Op.REQUANT: _shift,
}
