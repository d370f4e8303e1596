"""Rounding shifts, wrap-around and table look-up in int64 nodes, as ir.arithmetic defines them.

ONNX shifts unsigned numbers only, its Div goes towards zero and its Mod is slow, so a shift to the
right by s is written with P = 2**s: (y - (y AND P-1)) / P, where AND keeps what a two's complement
number has below P and the division is exact. Rounding is a number added before it:

    half even   y = x + P/2 - 1 + (1 if x AND P)      floor      y = x
    half up     y = x + P/2                           to zero    y = x + P - 1 where x < 0
    half away   y = x + P/2, less 1 where x < 0

A shift by 0 (P = 1) adds nothing.

Min, Max, Clip and Sign are not used on int64: onnxruntime's kernels go wrong on numbers that need
more than 32 bits (onnxruntime pull request 25280; seen in 1.31).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from echoloom.backends.onnx.writer import Scope
from echoloom.ir.arithmetic import Rounding

MOST = 62  # the largest power of two in int64


@dataclass(frozen=True)
class Amount:
    """Tensors that say how far to shift: P, P - 1, P/2, P/2 - 1 and the bit P, 0 where P = 1."""

    power: str
    below: str
    half: str
    under_half: str
    bit: str


def fixed(s: Scope, shift: Any) -> Amount:
    """A shift known now, one for all or one an element."""
    power = np.int64(1) << np.asarray(shift, np.int64)
    return Amount(
        s.constant(power),
        s.constant(power - 1),
        s.constant(power // 2),
        s.constant(np.maximum(power // 2 - 1, 0)),
        s.constant(np.where(power > 1, power, 0)),
    )


def dynamic(s: Scope, shift: str, name: str) -> Amount:
    """A shift known only when the graph runs."""
    one, two = s.integer(1), s.integer(2)
    powers = s.constant(np.int64(1) << np.arange(MOST + 1, dtype=np.int64))
    power = s.node("Gather", powers, shift, name=f"{name}.power", axis=0)
    below = s.node("Sub", power, one, name=f"{name}.below")
    half = s.node("Div", power, two, name=f"{name}.half")
    less = s.node("Sub", half, one, name=f"{name}.less")
    shifts = s.node("Greater", power, one, name=f"{name}.shifts")
    under = s.node("Where", shifts, less, s.integer(0), name=f"{name}.under_half")
    bit = s.node("Where", shifts, power, s.integer(0), name=f"{name}.bit")
    return Amount(power, below, half, under, bit)


def floor_shift(s: Scope, x: str, by: Amount, name: str) -> str:
    rest = s.node("BitwiseAnd", x, by.below, name=f"{name}.rest")
    whole = s.node("Sub", x, rest, name=f"{name}.whole")
    return s.node("Div", whole, by.power, name=f"{name}.shifted")


def round_shift(s: Scope, x: str, by: Amount, rounding: Rounding, name: str) -> str:
    """x / P rounded to an integer."""
    match rounding:
        case Rounding.HALF_EVEN:
            bit = s.node("BitwiseAnd", x, by.bit, name=f"{name}.bit")
            odd = s.node("Div", bit, by.power, name=f"{name}.odd")
            near = s.node("Add", x, odd, name=f"{name}.to_even")
            near = s.node("Add", near, by.under_half, name=f"{name}.near")
        case Rounding.HALF_UP:
            near = s.node("Add", x, by.half, name=f"{name}.near")
        case Rounding.FLOOR:
            near = x
        case Rounding.HALF_AWAY:
            offset = _where_negative(s, x, by.under_half, by.half, name)
            near = s.node("Add", x, offset, name=f"{name}.near")
        case Rounding.TO_ZERO:
            offset = _where_negative(s, x, by.below, s.integer(0), name)
            near = s.node("Add", x, offset, name=f"{name}.near")
    return floor_shift(s, near, by, name)


def _where_negative(s: Scope, x: str, yes: str, no: str, name: str) -> str:
    negative = s.node("Less", x, s.integer(0), name=f"{name}.negative")
    return s.node("Where", negative, yes, no, name=f"{name}.offset")


def clamp(s: Scope, x: str, low: int, high: int, name: str) -> str:
    """x within low..high."""
    over = s.node("Greater", x, s.integer(high), name=f"{name}.over")
    capped = s.node("Where", over, s.integer(high), x, name=f"{name}.capped")
    under = s.node("Less", capped, s.integer(low), name=f"{name}.under")
    return s.node("Where", under, s.integer(low), capped, name=name)


def wrap(s: Scope, x: str, width: int, name: str) -> tuple[str, str, str]:
    """x in `width` bits of two's complement; also (x + offset) before and after the high bits
    were dropped, which are equal where x fitted."""
    offset = s.integer(1 << (width - 1))
    lifted = s.node("Add", x, offset, name=f"{name}.lifted")
    kept = s.node("BitwiseAnd", lifted, s.integer((1 << width) - 1), name=f"{name}.kept")
    return s.node("Sub", kept, offset, name=name), lifted, kept
