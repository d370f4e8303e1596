"""The fixed-point program in int64 nodes: one rule per operation, word for word what
backends.run_numpy computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from echoloom.backends.onnx.bodies import COMMON_NODES, BodyScope, Rule, Watched
from echoloom.backends.onnx.functions import Namespace
from echoloom.backends.onnx.shifts import clamp, dynamic, fixed, floor_shift, round_shift, wrap
from echoloom.backends.onnx.writer import Value
from echoloom.ir.arithmetic import Overflow, Rounding
from echoloom.ir.flags import Flag
from echoloom.ir.formats import Q, largest
from echoloom.ir.ops import Constant, DynamicShift, Op, Requant, Scale
from echoloom.ir.program import Accumulator, Instr
from echoloom.ir.tables import TableContents, table_key


@dataclass(frozen=True, eq=False)
class IntegerArithmetic:
    """Words are int64; `tables` are initializers, (base, slope) by key."""

    tables: Mapping[str, TableContents]
    lines: Mapping[str, tuple[str, str]]
    dtype: type = np.int64

    @property
    def rules(self) -> Mapping[Op, Rule]:
        return INT64_NODES

    def accumulate(self, s: BodyScope, a: Accumulator, old: Value, new: Value) -> Value:
        name, width = f"sum/{a.name}", a.type.q.width
        total = s.node("Add", old.name, new.name, name=f"{name}.exact")
        words, lifted, kept = wrap(s, total, width, name)
        lost = Value(s.node("Sub", lifted, kept, name=f"{name}.lost"), True)
        s.watched.append(Watched(Flag.ACCUMULATOR, lost, a.type.size, len(a.type.shape), 0))
        return Value(words, True)

    def flags(self, s: BodyScope) -> str | None:
        """One comparison for each flag: all that could raise it, end to end."""
        raised: str | None = None
        for flag in Flag:
            watched = [w for w in s.watched if w.flag == flag]
            if not watched:
                continue
            rows = [self._row(s, w) for w in watched]
            limits = np.concatenate([np.full(w.size, w.limit, np.int64) for w in watched])
            limit = limits[0] if len(set(limits.tolist())) == 1 else limits
            f = Namespace(s, f"flag/{flag.name}".lower(), np.int64)
            every = f.op("Concat", *rows, axis=1)
            out = f.op("Or", every > limit, every < -limit).astype(np.int64)
            word = f.where(f.op("ReduceSum", out, s.integers(1), keepdims=0) > 0, int(flag), 0)
            raised = (word if raised is None else f.op("BitwiseOr", raised, word)).name
        return raised

    def _row(self, s: BodyScope, w: Watched) -> str:
        """[batch, size] of a watched value."""
        value = s.full(w.value, (w.size,), f"{w.value.name}.row").name
        if w.rank < 2:
            return value
        return s.node("Reshape", value, s.integers(0, w.size), name=f"{w.value.name}.row")


def _q(s: BodyScope, name: str) -> Q:
    return s.types[name].q


def _aligned(s: BodyScope, i: Instr, args: list[Value]) -> list[Value]:
    frac = i.type.q.scalar_frac
    aligned = []
    for index, (name, value) in enumerate(zip(i.args, args, strict=True)):
        by = frac - _q(s, name).scalar_frac
        if by:
            power = Value(s.integer(1 << by), False)
            value = s.put("Mul", i, value, power, tag=f".aligned{index}")
        aligned.append(value)
    return aligned


def _sum(kind: str) -> Rule:
    return lambda s, i, args: s.put(kind, i, *_aligned(s, i, args))


def _scale(s: BodyScope, i: Instr, args: list[Value]) -> Value:
    """The same words with another exponent: only the sign is work."""
    assert isinstance(i.attr, Scale)
    return args[0] if i.attr.factor > 0 else s.put("Neg", i, args[0])


def _constant(s: BodyScope, i: Instr, args: list[Value]) -> Value:
    assert isinstance(i.attr, Constant)
    word = round(i.attr.value * 2.0**i.type.q.scalar_frac)
    return Value(s.constant(np.full(i.type.shape or (1,), word, np.int64)), False)


def _table(s: BodyScope, i: Instr, args: list[Value]) -> Value:
    """ir.arithmetic.piecewise_linear: the segment's line, at the distance from its left end."""
    arithmetic = s.context.arithmetic
    assert isinstance(arithmetic, IntegerArithmetic)
    key = table_key(i, _q(s, i.args[0]))
    contents, (base, slope) = arithmetic.tables[key], arithmetic.lines[key]
    half, z, name = 1 << (contents.segment_bits - 1), args[0].name, i.name
    by, f = fixed(s, contents.fraction_bits), Namespace(s, name, np.int64)
    whole = floor_shift(s, z, by, f"{name}.any_segment")
    segment = f.node(clamp(s, whole, -half, half - 1, f"{name}.segment"))
    index, distance = segment + half, f.node(z) - segment * by.power
    rise = (f.op("Gather", slope, index, axis=0) * distance).name
    near = round_shift(s, rise, fixed(s, contents.slope_shift), Rounding.HALF_EVEN, f"{name}.rise")
    line = (f.op("Gather", base, index, axis=0) + near).name
    return _saturated(s, i, line, args[0].batched)


def _requant(s: BodyScope, i: Instr, args: list[Value]) -> Value:
    assert isinstance(i.attr, Requant)
    target, source = i.type.q, _q(s, i.args[0])
    shift = np.asarray(source.frac, np.int64) - target.scalar_frac
    x, name = args[0].name, i.name
    if i.attr.register is not DynamicShift.NONE:
        register = s.context.registers[i.attr.register]
        amount = s.node("Add", register, s.constant(shift), name=f"{name}.shift")
        x = round_shift(s, x, dynamic(s, amount, name), i.attr.rounding, name)
    elif np.any(shift):
        x = round_shift(s, x, fixed(s, shift), i.attr.rounding, name)
    if i.attr.overflow is Overflow.SATURATE:
        return _saturated(s, i, x, args[0].batched)
    _watch(s, i, Value(x, args[0].batched), Flag.STATE)
    return Value(wrap(s, x, target.width, name)[0], args[0].batched)


def _saturated(s: BodyScope, i: Instr, x: str, batched: bool) -> Value:
    _watch(s, i, Value(x, batched), Flag.SATURATED)
    limit = largest(i.type.q.width)
    return Value(clamp(s, x, -limit, limit, i.name), batched)


def _watch(s: BodyScope, i: Instr, x: Value, flag: Flag) -> None:
    limit = largest(i.type.q.width)
    s.watched.append(Watched(flag, x, i.type.size, len(i.type.shape), limit))


INT64_NODES: Mapping[Op, Rule] = {
    **COMMON_NODES,
    Op.CONSTANT: _constant,
    Op.ADD: _sum("Add"),
    Op.SUB: _sum("Sub"),
    Op.SCALE: _scale,
    Op.TABLE: _table,
    Op.REQUANT: _requant,
}
