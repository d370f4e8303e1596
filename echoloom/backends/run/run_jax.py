"""Integer programs under JAX: the same integers, jitted, one scan per step section."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from echoloom.ir.arithmetic import Overflow, Rounding
from echoloom.ir.flags import Flag
from echoloom.ir.formats import Q, largest
from echoloom.ir.ops import Constant, DynamicShift, Op, Read, Requant, Scale
from echoloom.ir.program import Body, Instr, Program
from echoloom.ir.sections import STEPS, Section
from echoloom.ir.tables import TableContents, table_key

Words = NDArray[np.int64]


@dataclass
class _Step:
    """What a rule may look at besides its operands; `flags` collects what overflowed."""

    tables: Mapping[str, TableContents]
    types: Mapping[str, Q]
    shifts: Mapping[str, jax.Array]
    flags: jax.Array

    def flag(self, flag: Flag, where: jax.Array) -> None:
        self.flags = self.flags | jnp.where(jnp.any(where), int(flag), 0)


Rule = Callable[[_Step, Instr, list[jax.Array]], jax.Array]


def _round_shift(x: jax.Array, shift: Any, rounding: Rounding) -> jax.Array:
    shift = jnp.asarray(shift, jnp.int64)
    floor = x >> shift
    rest = x - (floor << shift)
    half = (jnp.int64(1) << shift) >> 1
    up = {
        Rounding.FLOOR: jnp.zeros_like(rest, bool),
        Rounding.HALF_UP: rest >= half,
        Rounding.HALF_EVEN: (rest > half) | ((rest == half) & (floor & 1 == 1)),
        Rounding.HALF_AWAY: (rest > half) | ((rest == half) & (x >= 0)),
        Rounding.TO_ZERO: (rest > 0) & (x < 0),
    }[rounding]
    return jnp.where(shift > 0, floor + up, floor)


def _aligned(s: _Step, i: Instr, args: list[jax.Array]) -> list[jax.Array]:
    frac = i.type.q.scalar_frac
    return [
        value << (frac - s.types[name].scalar_frac)
        for name, value in zip(i.args, args, strict=True)
    ]


def _sum(sign: int) -> Rule:
    def rule(s: _Step, i: Instr, args: list[jax.Array]) -> jax.Array:
        a, b = _aligned(s, i, args)
        return a + sign * b

    return rule


def _constant(s: _Step, i: Instr, args: list[jax.Array]) -> jax.Array:
    assert isinstance(i.attr, Constant)
    word = round(i.attr.value * 2.0**i.type.q.scalar_frac)
    return jnp.full(i.type.shape or (1,), word, jnp.int64)


def _scale(s: _Step, i: Instr, args: list[jax.Array]) -> jax.Array:
    assert isinstance(i.attr, Scale)
    return args[0] if i.attr.factor > 0 else -args[0]


def _table(s: _Step, i: Instr, args: list[jax.Array]) -> jax.Array:
    t = s.tables[table_key(i, s.types[i.args[0]])]
    half = 1 << (t.segment_bits - 1)
    segment = jnp.clip(args[0] >> t.fraction_bits, -half, half - 1)
    rest = args[0] - (segment << t.fraction_bits)
    base, slope = jnp.asarray(t.base, jnp.int64), jnp.asarray(t.slope, jnp.int64)
    rise = _round_shift(slope[segment + half] * rest, t.slope_shift, Rounding.HALF_EVEN)
    line = base[segment + half] + rise
    limit = largest(i.type.q.width)
    s.flag(Flag.SATURATED, jnp.abs(line) > limit)
    return jnp.clip(line, -limit, limit)


def _requant(s: _Step, i: Instr, args: list[jax.Array]) -> jax.Array:
    assert isinstance(i.attr, Requant)
    target = i.type.q
    shift = jnp.asarray(s.types[i.args[0]].frac, jnp.int64) - target.scalar_frac
    if i.attr.register is not DynamicShift.NONE:
        shift = shift + s.shifts[i.attr.register.name]
    rounded = _round_shift(args[0], shift, i.attr.rounding)
    limit = largest(target.width)
    outside = jnp.abs(rounded) > limit
    if i.attr.overflow is Overflow.SATURATE:
        s.flag(Flag.SATURATED, outside)
        return jnp.clip(rounded, -limit, limit)
    s.flag(Flag.STATE, outside)
    unused = 64 - target.width
    return (rounded << unused) >> unused


def _unreachable(s: _Step, i: Instr, args: list[jax.Array]) -> jax.Array:
    raise AssertionError(f"{i.op.value} is read from an accumulator, not computed")


RULES: Mapping[Op, Rule] = {
    Op.CONSTANT: _constant,
    Op.READ: _unreachable,
    Op.ADD: _sum(1),
    Op.SUB: _sum(-1),
    Op.MUL: lambda s, i, a: a[0] * a[1],
    Op.SCALE: _scale,
    Op.MATVEC: lambda s, i, a: a[0] @ a[1],
    Op.TMATVEC: lambda s, i, a: a[1] @ a[0],
    Op.OUTER: lambda s, i, a: a[0][:, None] * a[1][None, :],
    Op.TABLE: _table,
    Op.REQUANT: _requant,
}

Values = dict[str, jax.Array]


@dataclass(frozen=True)
class Memory:
    """What lives between sections: states and accumulators; a JAX pytree of words."""

    states: Values
    accumulators: Values


jax.tree_util.register_dataclass(Memory, ["states", "accumulators"], [])


def run_body(
    program: Program,
    body: Body,
    tables: Mapping[str, TableContents],
    fixed: Values,
    shifts: Mapping[str, jax.Array],
    memory: Memory,
    frame: Values,
    first: jax.Array,
    flags: jax.Array,
    record: Values | None = None,
) -> tuple[Memory, jax.Array, tuple[jax.Array, ...]]:
    """One iteration: (memory, flags, emitted). `fixed` holds coefficients and runtime words;
    `record` receives every value by name."""
    types = {name: t.q for name, t in program.types(body).items()}
    step = _Step(tables, types, shifts, flags)
    env: Values = {**fixed, **memory.states, **frame}
    for instr in body.instrs:
        if isinstance(instr.attr, Read):
            env[instr.name] = memory.accumulators[instr.attr.accumulator]
        else:
            env[instr.name] = RULES[instr.op](step, instr, [env[a] for a in instr.args])
    if record is not None:
        record.update({i.name: env[i.name] for i in body.instrs})
    accumulators = dict(memory.accumulators)
    widths = {a.name: a.type.q.width for a in program.accumulators}
    for name, value in body.accumulates:
        limit = jnp.int64(1) << (widths[name] - 1)
        total = jnp.where(first, 0, accumulators[name]) + env[value]
        step.flag(Flag.ACCUMULATOR, (total >= limit) | (total < -limit))
        unused = 64 - widths[name]
        accumulators[name] = (total << unused) >> unused
    states = {**memory.states, **{state: env[value] for state, value in body.updates}}
    emitted = tuple(env[value] for value in body.emits)
    return Memory(states, accumulators), step.flags, emitted


def compile_pass(
    program: Program, tables: Mapping[str, TableContents], sections: tuple[Section, ...]
) -> Callable[..., tuple[Memory, jax.Array, list[Any]]]:
    """A jitted (fixed, shifts, memory, frames) -> (memory, flags, emitted by section) function.

    `frames` maps frame inputs to words [T, size] in the order the pass consumes them.
    """

    def run(fixed: Values, shifts: Values, memory: Memory, frames: Values) -> Any:
        flags = jnp.zeros((), jnp.int64)
        emitted: list[Any] = []
        true = jnp.asarray(True)
        for section in sections:
            body = program.body(section)
            if section not in STEPS:
                memory, flags, out = run_body(
                    program, body, tables, fixed, shifts, memory, {}, true, flags
                )
                emitted.append(out)
                continue

            def step(carry: Any, at: Any, body: Body = body) -> Any:
                memory, flags, first = carry
                memory, flags, out = run_body(
                    program, body, tables, fixed, shifts, memory, at, first, flags
                )
                return (memory, flags, jnp.asarray(False)), out

            (memory, flags, _), out = jax.lax.scan(step, (memory, flags, true), frames)
            emitted.append(out)
        return memory, flags, emitted

    return jax.jit(run)


def empty_memory(program: Program) -> Memory:
    """States and accumulators of zeros; the passes overwrite them before they read them."""
    return Memory(
        {d.name: jnp.zeros(d.type.shape, jnp.int64) for d in program.states},
        {a.name: jnp.zeros(a.type.shape, jnp.int64) for a in program.accumulators},
    )
