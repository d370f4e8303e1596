"""Shift right and round, as combinational pieces for pipelines to cut where they like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import C, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data

from echoloom.hdl.pipeline import copies
from echoloom.ir.arithmetic import Rounding

STEPS_A_CYCLE = 2  # of a barrel shifter
SELECTS = 2  # registers of each of its select bits: one alone would drive all bits of a wide sum


def shifted_layout(width: int) -> data.StructLayout:
    """floor(x / 2**s) with the first bit lost (guard) and whether any later bit was set."""
    return data.StructLayout({"sticky": 1, "guard": 1, "quotient": signed(width)})


def shift_right(
    m: Module, value: Any, shifts: Sequence[Value], *, name: str, invert: Value | None = None
) -> data.View:
    """Barrel shifter, largest step first; right for any shift, also beyond the value's width.

    `shifts` are registers of the same number, of which each selects in a part of the bits.
    `invert`, of the cycle before the result's, asks for the complement of the quotient.

    Latency: `shift_latency(len(shifts[0]))` cycles, a register after every second step.
    """
    width = len(value) + 2
    part = -(-width // len(shifts))
    stage = Signal(signed(width), name=f"{name}_stage")
    m.d.comb += stage.eq(Cat(C(0, 2), value))
    for done, bit in enumerate(reversed(range(len(shifts[0]))), start=1):
        step = 1 << bit
        lost = stage[: min(step + 1, width)].any()
        # The lowest bit is the sticky bit: it never leaves.
        moved = Cat(lost, (stage >> step)[1:width])
        registered = done % STEPS_A_CYCLE == 0 or bit == 0
        following = Signal(signed(width), name=f"{name}_by_{step}", reset_less=registered)
        chosen = Cat(
            Mux(own[bit], moved[start : start + part], stage[start : start + part])
            for own, start in zip(shifts, range(0, width, part), strict=True)
        )
        if bit == 0 and invert is not None:
            chosen = Cat(chosen[:2], chosen[2:] ^ invert.replicate(width - 2))
        m.d["sync" if registered else "comb"] += following.eq(chosen)
        if registered and bit:
            shifts = [
                copies(m, own[:bit], 1, name=f"{name}_{place}_beyond_{step}")[0]
                for place, own in enumerate(shifts)
            ]
        stage = following
    return data.View(shifted_layout(width - 2), stage)


def shift_latency(bits: int) -> int:
    """Cycles of `shift_right` for shifts of so many bits."""
    return -(-bits // STEPS_A_CYCLE)


def increment(shifted: Any, quotient: Value, rounding: Rounding) -> Value:
    """1 where the rounded value is the quotient plus one."""
    guard, sticky = shifted.guard, shifted.sticky
    match rounding:
        case Rounding.HALF_EVEN:
            return guard & (sticky | quotient[0])
        case Rounding.HALF_AWAY:
            return guard & (sticky | ~quotient[-1])
        case Rounding.HALF_UP:
            return guard
        case Rounding.TO_ZERO:
            return quotient[-1] & (guard | sticky)
        case Rounding.FLOOR:
            return Const(0, 1)
