"""Integer programs under JAX: one rule per operation, on words held as float64 or as int64.

A processor multiplies matrices of floats many times faster than matrices of int64, and rounds half
to even in one instruction. Types say how large a value can get, so `kind_of` proves that nothing is
ever rounded that the program does not round; a program with wider values gets int64. The rules are
the same for both, but for a shift to the right: a product with a power of two, or a shift.

Formats are arguments here (`numbers`), not code: a program that was calibrated again has the same
code (`structure`), so what has been compiled for it once serves again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from echoloom.ir.arithmetic import Overflow, Rounding
from echoloom.ir.flags import Flag
from echoloom.ir.formats import Q, Type, largest
from echoloom.ir.ops import SUMS, Constant, DynamicShift, Op, Requant, Scale, Table
from echoloom.ir.program import Body, Instr, Program
from echoloom.ir.tables import TableContents, table_key

EXACT_BITS = 53  # of a magnitude: every whole number up to 2**53 is a float64
TABLE_LINES = 1 << 11  # tables are padded to as many, so that their number is no part of the code
# By section, by instruction, by what it is; and by accumulator under TOTALS.
Numbers = Mapping[str, Mapping[str, Mapping[str, Any]]]
TOTALS = "sums"
Kind = type[np.float64] | type[np.int64]  # of words


def kind_of(program: Program, tables: Mapping[str, TableContents]) -> Kind:
    """float64 where every value of every instruction is proven to be exact in it, else int64."""
    slopes = max((abs(s) for t in tables.values() for s in t.slope), default=0)
    for body in program.bodies:
        types = program.types(body)
        for instr in body.instrs:
            if instr.type.q.width - 1 > EXACT_BITS:
                return np.int64
            source = 1 << types[instr.args[0]].q.width if instr.args else 0
            if instr.op is Op.TABLE and slopes * source > 1 << EXACT_BITS:
                return np.int64
    return np.float64


def structure(program: Program) -> Program:
    """The program without its formats and other numbers: what code depends on.

    Widths stay where sums over time are made, because they decide how.
    """
    summed = {value for body in program.bodies for _, value in body.accumulates}
    summed |= {
        a
        for body in program.bodies
        for i in body.instrs
        if i.op is Op.OUTER and i.name in summed
        for a in i.args
    }

    def plain(type_: Type, name: str) -> Type:
        q = type_.q
        frac = (0,) * len(q.fracs) if q.per_element else 0
        return Type(type_.shape, Q(q.width if name in summed else 1, frac))

    def instruction(i: Instr) -> Instr:
        attr = i.attr
        if isinstance(attr, Constant):
            attr = Constant(0.0)
        elif isinstance(attr, Scale):
            attr = Scale(1.0 if attr.factor > 0 else -1.0)
        elif isinstance(attr, Table):
            attr = Table(attr.function)
        return replace(i, type=plain(i.type, i.name), attr=attr)

    def declared(declarations: Any) -> Any:
        return tuple(replace(d, type=plain(d.type, d.name)) for d in declarations)

    def streamed(declarations: Any) -> Any:
        # The host has dealt with exponents of channels: no instruction knows of them.
        return tuple(
            replace(d, type=Type(d.type.shape, Q(d.type.q.width if d.name in summed else 1, 0)))
            for d in declarations
        )

    bodies = tuple(
        replace(b, frame=streamed(b.frame), instrs=tuple(map(instruction, b.instrs)))
        for b in program.bodies
    )
    accumulators = tuple(
        replace(a, type=plain(a.type, a.name), scale=1.0, divisor="") for a in program.accumulators
    )
    return replace(
        program, coefficients=declared(program.coefficients), runtime=declared(program.runtime),
        states=declared(program.states), accumulators=accumulators, bodies=bodies,
    )  # fmt: skip


def numbers(program: Program, tables: Mapping[str, TableContents], kind: Kind) -> Numbers:
    """What `structure` leaves out: a pytree of arrays by section and instruction, words of `kind`.

    Accumulators are int64 in any case.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {
        body.section.name: {
            i.name: own for i in body.instrs if (own := _numbers(program, body, i, tables, kind))
        }
        for body in program.bodies
    }
    sums = {a.name: a.type.q.width for a in program.accumulators}
    return found | {
        TOTALS: {n: {"end": np.int64(1 << (w - 1)), "unused": np.int64(64 - w)}
               for n, w in sums.items()}
    }  # fmt: skip


def right(by: Any, kind: Kind) -> Any:
    """What `_shifted` takes to shift to the right by so many bits."""
    return np.asarray(by, np.int64) if kind is np.int64 else 2.0 ** -np.asarray(by, np.float64)


def _numbers(
    program: Program, body: Body, i: Instr, tables: Mapping[str, TableContents], kind: Kind
) -> dict[str, Any]:
    types, q = program.types(body), i.type.q
    limits = {"limit": kind(largest(q.width))}
    if isinstance(i.attr, Requant):
        own = {"by": right(np.asarray(types[i.args[0]].q.frac) - q.scalar_frac, kind), **limits}
        if i.attr.overflow is Overflow.SATURATE:
            return own
        if kind is np.int64:
            return {**own, "unused": np.int64(64 - q.width)}
        return {**own, "turn": np.float64(2.0**q.width), "per_turn": np.float64(2.0**-q.width)}
    if i.op in SUMS:
        finer = {k: q.scalar_frac - types[a].q.scalar_frac for k, a in zip("ab", i.args)}  # noqa: B905
        return {k: kind(1 << by) for k, by in finer.items() if by}
    if isinstance(i.attr, Constant):
        return {"word": kind(round(i.attr.value * 2.0**q.scalar_frac))}
    if isinstance(i.attr, Table):
        t = tables[table_key(i, types[i.args[0]].q)]
        unused = max(0, TABLE_LINES - len(t.base))
        return {
            "base": np.pad(np.asarray(t.base, kind), (0, unused)),
            "slope": np.pad(np.asarray(t.slope, kind), (0, unused)),
            "half": kind(1 << (t.segment_bits - 1)),
            "span": kind(1 << t.fraction_bits),
            "segment": right(t.fraction_bits, kind),
            "rise": right(t.slope_shift, kind),
            **limits,
        }
    return {}


@dataclass
class Step:
    """What a rule may look at besides its operands.

    `raised` collects where a flag was raised, by flag and length of the vector.
    """

    numbers: Mapping[str, Mapping[str, Any]]
    registers: Mapping[str, jax.Array]  # what `right` makes of every shift register
    raised: dict[tuple[Flag, int], jax.Array] = field(default_factory=dict)

    def flag(self, flag: Flag, where: jax.Array) -> None:
        key = flag, where.shape[-1]
        self.raised[key] = self.raised[key] | where if key in self.raised else where


Rule = Callable[[Step, Instr, list[jax.Array]], jax.Array]


def raises(i: Instr) -> Flag | None:
    """The flag that an instruction may raise."""
    if isinstance(i.attr, Requant) and i.attr.overflow is Overflow.WRAP:
        return Flag.STATE
    return Flag.SATURATED if isinstance(i.attr, Requant | Table) else None


def _whole(x: jax.Array) -> bool:
    return jnp.issubdtype(x.dtype, jnp.integer)


def _shifted(x: jax.Array, by: Any, rounding: Rounding) -> jax.Array:
    """x / 2**shift rounded to a whole number, `by` being `right` of the shift."""
    if _whole(x):
        floor = x >> by
        rest, half = x - (floor << by), jnp.int64(1) << jnp.maximum(by - 1, 0)
        tie, above, odd = (rest == half) & (by > 0), rest > half, floor & 1 == 1
    else:
        x = x * by
        if rounding is Rounding.HALF_EVEN:
            return jnp.rint(x)
        floor = jnp.floor(x)
        rest = x - floor
        tie, above, odd = rest == 0.5, rest > 0.5, floor % 2 == 1
    up = {
        Rounding.FLOOR: jnp.zeros_like(tie),
        Rounding.HALF_EVEN: above | (tie & odd),
        Rounding.HALF_UP: above | tie,
        Rounding.HALF_AWAY: above | (tie & (x >= 0)),
        Rounding.TO_ZERO: (rest > 0) & (x < 0),
    }[rounding]
    return floor + up


def wrapped(x: jax.Array, own: Mapping[str, Any]) -> jax.Array:
    """x in two's complement of the width that `own` numbers tell."""
    if _whole(x):
        return (x << own["unused"]) >> own["unused"]
    return x - jnp.floor(x * own["per_turn"] + 0.5) * own["turn"]


def _sum(sign: int) -> Rule:
    def rule(s: Step, i: Instr, args: list[jax.Array]) -> jax.Array:
        finer = s.numbers.get(i.name, {})
        a, b = (v * finer[k] if k in finer else v for k, v in zip("ab", args, strict=True))
        return a + sign * b

    return rule


def _constant(s: Step, i: Instr, args: list[jax.Array]) -> jax.Array:
    return jnp.full(i.type.shape or (1,), s.numbers[i.name]["word"])


def _scale(s: Step, i: Instr, args: list[jax.Array]) -> jax.Array:
    assert isinstance(i.attr, Scale)
    return args[0] if i.attr.factor > 0 else -args[0]


def _product(x: jax.Array, matrix: jax.Array, axis: int) -> jax.Array:
    """x [..., n] with an axis of the matrix; exact, so the order of its sum is no matter."""
    return jax.lax.dot_general(x, matrix, (((x.ndim - 1,), (axis,)), ((), ())))


def _table(s: Step, i: Instr, args: list[jax.Array]) -> jax.Array:
    t = s.numbers[i.name]
    segment = jnp.clip(_shifted(args[0], t["segment"], Rounding.FLOOR), -t["half"], t["half"] - 1)
    at = (segment + t["half"]).astype(jnp.int32)
    base, slope = (t[k].at[at].get(mode="promise_in_bounds") for k in ("base", "slope"))
    distance = args[0] - segment * t["span"]
    line = base + _shifted(slope * distance, t["rise"], Rounding.HALF_EVEN)
    s.flag(Flag.SATURATED, jnp.abs(line) > t["limit"])
    return jnp.clip(line, -t["limit"], t["limit"])


def _requant(s: Step, i: Instr, args: list[jax.Array]) -> jax.Array:
    assert isinstance(i.attr, Requant)
    own = s.numbers[i.name]
    by, limit = own["by"], own["limit"]
    if i.attr.register is not DynamicShift.NONE:
        register = s.registers[i.attr.register.name]
        by = by + register if _whole(args[0]) else by * register
    rounded = _shifted(args[0], by, i.attr.rounding)
    outside = jnp.abs(rounded) > limit
    if i.attr.overflow is Overflow.SATURATE:
        s.flag(Flag.SATURATED, outside)
        return jnp.clip(rounded, -limit, limit)
    s.flag(Flag.STATE, outside)
    return wrapped(rounded, own)


def _unreachable(s: Step, i: Instr, args: list[jax.Array]) -> jax.Array:
    raise AssertionError(f"{i.op.value} is read from an accumulator, not computed")


JAX_RULES: Mapping[Op, Rule] = {
    Op.CONSTANT: _constant,
    Op.READ: _unreachable,
    Op.ADD: _sum(1),
    Op.SUB: _sum(-1),
    Op.MUL: lambda s, i, a: a[0] * a[1],
    Op.SCALE: _scale,
    Op.MATVEC: lambda s, i, a: _product(a[1], a[0], 1),
    Op.TMATVEC: lambda s, i, a: _product(a[1], a[0], 0),
    Op.OUTER: lambda s, i, a: a[0][..., :, None] * a[1][..., None, :],
    Op.TABLE: _table,
    Op.REQUANT: _requant,
}
