"""Requantiser: a wide sum becomes a word."""

from __future__ import annotations

from typing import Any

import numpy as np
from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from numpy.typing import ArrayLike

from echoloom.hdl import rounding as rounds
from echoloom.hdl.layouts import SHIFT
from echoloom.hdl.pipeline import delay
from echoloom.ir.arithmetic import BoolArray, IntArray, Overflow, Rounding, narrow, round_shift
from echoloom.ir.contract import Add


class Requantise(wiring.Component):
    """result = narrow(r, base + r or base - r), r = round(value / 2**shift).

    value: `accumulator` bits signed; shift 0..63; base, result: `word` bits signed;
    width 2..word is the range that `overflow` wraps or saturates to (symmetric).
    `overflowed` says that the value before narrowing was outside it.
    Latency: 3 cycles (shift, add, narrow), one result a cycle.
    """

    latency = 3

    value: Signal
    shift: Signal
    base: Signal
    add: Signal
    width: Signal
    overflow: Signal
    result: Signal
    overflowed: Signal

    def __init__(
        self, *, accumulator: int, word: int, rounding: Rounding = Rounding.HALF_EVEN
    ) -> None:
        self._accumulator = accumulator
        self._word = word
        self._rounding = rounding
        super().__init__(
            {
                "value": In(signed(accumulator)),
                "shift": In(SHIFT),
                "base": In(signed(word)),
                "add": In(2),
                "width": In(6),
                "overflow": In(1),
                "result": Out(signed(word)),
                "overflowed": Out(1),
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
        bases = delay(m, self.base, 1, name="base")
        adds = delay(m, self.add, 1, name="add")
        widths = delay(m, self.width, 1, name="width")
        overflows = delay(m, self.overflow, 2, name="overflow")

        # 1: shift, keeping what rounding needs.
        shifted = Signal(rounds.shifted_layout(self._accumulator), reset_less=True)
        m.d.sync += shifted.eq(rounds.shift_right(m, self.value, self.shift, name="shift"))

        # 2: round and add in one carry chain: -(q + up) = ~q + (1 - up).
        z = Signal(signed(max(self._accumulator, self._word) + 1), reset_less=True)
        minus = adds[1] == Add.MINUS
        up = rounds.increment(shifted, self._rounding)
        start = Mux(adds[1] == Add.NONE, 0, bases[1])
        m.d.sync += z.eq(
            rounds.add_carry(start, shifted.quotient ^ minus.replicate(1).as_signed(), up ^ minus)
        )
        inside = Signal(self._word, reset_less=True)  # the bits below the sign bit of `width`
        m.d.sync += inside.eq(Cat(widths[1] > bit + 1 for bit in range(self._word)))

        # 3: narrow.
        negative = z[-1]
        low, high = z[: self._word], z[self._word :]
        fits = ~(((low ^ negative.replicate(self._word)) & ~inside).any()
                 | (high ^ negative.replicate(len(high))).any())  # fmt: skip
        most_negative = negative & ~(low & inside).any()
        sign = (low & Cat(1, inside)[: self._word] & ~inside).any()
        wrapped = (low & inside) | (sign.replicate(self._word) & ~inside)
        clamped = Mux(negative, ~inside | 1, inside)
        overflowed = Signal()
        m.d.comb += overflowed.eq(~fits | most_negative)
        m.d.sync += [
            self.overflowed.eq(overflowed),
            self.result.eq(Mux((overflows[2] == Overflow.SATURATE) & overflowed, clamped, wrapped)),
        ]
        return m
