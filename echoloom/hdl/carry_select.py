"""Sums in half the time of their carry chain."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import C, Cat, Module, Mux, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

SPLIT = 32


class CarrySelectSum(wiring.Component):
    """total = a + b + carry, exact. Latency: 0.

    `a` and `b` are signed, of `width` >= 2 bits; `carry` is one bit, `total` a bit more than they.

    The upper half is added twice, without a carry and with one, and the lower half's carry says
    which of the two it is:

        0x78 + 0x09:  low 8 + 9 = 1 and a carry;  high 7 + 0 = 7, with a carry 8  ->  0x81

    That takes half as many LUTs again, and the choice a while: with less than `split` bits there is
    one chain.
    """

    a: Any
    b: Any
    carry: Any
    total: Any

    def __init__(self, width: int, split: int = SPLIT) -> None:
        self._width, self._split = width, split
        super().__init__(
            {
                "a": In(signed(width)),
                "b": In(signed(width)),
                "carry": In(1),
                "total": Out(signed(width + 1)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        # A carry into an adder is a bit of its own below the others.
        one = C(1, 1)
        if self._width < self._split:
            whole = Cat(one, self.a).as_signed() + Cat(self.carry, self.b).as_signed()
            m.d.comb += self.total.eq(whole[1:])
            return m
        half = self._width // 2
        low = (Cat(one, self.a[:half]) + Cat(self.carry, self.b[:half]))[1:]
        high_a, high_b = self.a[half:].as_signed(), self.b[half:].as_signed()
        carried = (Cat(one, high_a).as_signed() + Cat(one, high_b).as_signed())[1:]
        m.d.comb += self.total.eq(Cat(low[:half], Mux(low[half], carried, high_a + high_b)))
        return m
