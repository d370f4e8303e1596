"""Requantiser: a wide sum becomes a word."""

from __future__ import annotations

from typing import Any

import numpy as np
from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from numpy.typing import ArrayLike

from echoloom.hdl import rounding as rounds
from echoloom.hdl.carry_select import CarrySelectSum
from echoloom.hdl.layouts import SHIFT
from echoloom.hdl.pipeline import delay
from echoloom.ir.arithmetic import BoolArray, IntArray, Overflow, Rounding, narrow, round_shift
from echoloom.ir.contract import Add

SHIFTING = rounds.shift_latency(SHIFT.width)


class Requantise(wiring.Component):
    """result = narrow(r, base + r or base - r), r = round(value / 2**shift).

    value: `accumulator` bits signed; shift 0..63, the same from SELECTS registers; base, result:
    `word` bits signed; width 2..word is the range that `overflow` wraps or saturates to
    (symmetric).
    `overflowed` says that the value before narrowing was outside it; `exact` is that value, two
    cycles before the result.
    Latency: 6 cycles (shift in three, add, compare with the range, narrow), one result a cycle.
    """

    latency = SHIFTING + 3

    value: Signal
    shift: list[Signal]
    base: Signal
    add: Signal
    width: Signal
    overflow: Signal
    result: Signal
    overflowed: Signal
    exact: Signal

    def __init__(
        self, *, accumulator: int, word: int, rounding: Rounding = Rounding.HALF_EVEN
    ) -> None:
        self._accumulator = accumulator
        self._word = word
        self._rounding = rounding
        super().__init__(
            {
                "value": In(signed(accumulator)),
                "shift": In(SHIFT).array(rounds.SELECTS),
                "base": In(signed(word)),
                "add": In(2),
                "width": In(6),
                "overflow": In(1),
                "result": Out(signed(word)),
                "overflowed": Out(1),
                "exact": Out(signed(max(accumulator, word) + 1)),
            }
        )

    @staticmethod
    def golden(
        value: ArrayLike,
        shift: ArrayLike,
        base: ArrayLike,
        add: Add,
        width: ArrayLike,
        overflow: Overflow,
        rounding: Rounding = Rounding.HALF_EVEN,
    ) -> tuple[IntArray, BoolArray]:
        """(result, overflowed) for arrays that broadcast together."""
        rounded = round_shift(value, shift, rounding)
        match add:
            case Add.NONE:
                total = rounded
            case Add.PLUS:
                total = np.add(base, rounded)
            case Add.MINUS:
                total = np.subtract(base, rounded)
        return narrow(total, width, overflow)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        bases = delay(m, self.base, SHIFTING - 1, name="base")
        adds = delay(m, self.add, SHIFTING, name="add")
        base = Signal.like(self.base, name="start", reset_less=True)
        m.d.sync += base.eq(Mux(adds[-2] == Add.NONE, 0, bases[-1]))
        widths = delay(m, self.width, SHIFTING, name="width")
        overflows = delay(m, self.overflow, SHIFTING + 2, name="overflow")

        # Shift, keeping what rounding needs. To round and to add is one: -(q + up) = ~q + (1 - up).
        # So that nothing stands before the adder, ~q comes out of the shifter.
        shifted = rounds.shift_right(
            m, self.value, self.shift, name="shift", invert=adds[-2] == Add.MINUS
        )
        m.submodules.adder = adder = CarrySelectSum(max(self._accumulator, self._word))
        z = Signal.like(adder.total, reset_less=True)
        minus = adds[-1] == Add.MINUS
        quotient = shifted.quotient ^ minus.replicate(1).as_signed()
        up = rounds.increment(shifted, quotient, self._rounding)
        m.d.comb += [
            adder.a.eq(base),
            adder.b.eq(shifted.quotient),
            adder.carry.eq(up ^ minus),
        ]
        m.d.sync += z.eq(adder.total)
        m.d.comb += self.exact.eq(z)
        inside = Signal(self._word, reset_less=True)  # the bits below the sign bit of `width`
        m.d.sync += inside.eq(Cat(widths[-1] > bit + 1 for bit in range(self._word)))

        # Compare with the range.
        negative = z[-1]
        low, high = z[: self._word], z[self._word :]
        fits = ~(((low ^ negative.replicate(self._word)) & ~inside).any()
                 | (high ^ negative.replicate(len(high))).any())  # fmt: skip
        most_negative = negative & ~(low & inside).any()
        sign = (low & Cat(1, inside)[: self._word] & ~inside).any()
        overflowed = Signal(reset_less=True)
        below = Signal.like(negative, name="below", reset_less=True)
        extended = Signal.like(sign, name="extended", reset_less=True)
        kept = Signal(self._word, reset_less=True)
        m.d.sync += [
            overflowed.eq(~fits | most_negative),
            below.eq(negative),
            extended.eq(sign),
            kept.eq(low & inside),
        ]
        range_bits = delay(m, inside, 1, name="inside")[-1]

        # Narrow.
        wrapped = kept | (extended.replicate(self._word) & ~range_bits)
        clamped = Mux(below, ~range_bits | 1, range_bits)
        clamps = (overflows[-1] == Overflow.SATURATE) & overflowed
        m.d.sync += [self.overflowed.eq(overflowed), self.result.eq(Mux(clamps, clamped, wrapped))]
        return m
