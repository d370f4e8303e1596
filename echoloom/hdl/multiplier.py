"""The wide x narrow multiplier of a lane and of a table unit."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import C, Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

PART = (
    17  # low bits of the wide operand that one signed 18-bit multiplier takes as a positive number
)


class Multiplier(wiring.Component):
    """product = wide * narrow, or 0 with `clear`, which comes a cycle before the product.

    `wide` and `narrow` are meant to come from registers that feed nothing else. The product is made
    of two parts, each with three registers in a row (operands, product, product again): a DSP block
    takes all three inside. A device whose blocks take the wide operand whole may join the parts.
    Latency: 3 cycles, one product a cycle.
    """

    latency = 3

    narrow: Signal
    wide: Signal
    clear: Signal
    product: Signal

    def __init__(self, narrow: int, wide: int) -> None:
        self._widths = narrow, wide
        super().__init__(
            {
                "narrow": In(signed(narrow)),
                "wide": In(signed(wide)),
                "clear": In(1),
                "product": Out(signed(narrow + wide)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        narrow, wide = self._widths
        parts = [self.wide]
        if wide > PART + 1:
            parts = [Cat(self.wide[:PART], C(0, 1)).as_signed(), self.wide[PART:].as_signed()]
        products = []
        for number, part in enumerate(parts):
            first = Signal(signed(len(part) + narrow), name=f"first_{number}", reset_less=True)
            second = Signal.like(first, name=f"second_{number}", reset_less=True)
            m.d.sync += [first.eq(part * self.narrow), second.eq(first)]
            products.append(second)
        whole = products[0]
        if len(products) == 2:
            below, above = products
            whole = Cat(below[:PART], below[PART:].as_signed() + above).as_signed()
        m.d.sync += self.product.eq(Mux(self.clear, 0, whole))
        return m
