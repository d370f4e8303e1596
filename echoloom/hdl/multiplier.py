"""The wide x narrow multiplier of a lane and of a table unit."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import C, Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from echoloom.hdl.pipeline import delay

PART = (
    17  # low bits of the wide operand that one signed 18-bit multiplier takes as a positive number
)


class Multiplier(wiring.Component):
    """product = wide * narrow, or 0 with `clear`, which comes a cycle before the product.

    The product is made of two parts, each with three registers in a row (operands, product, product
    again): a DSP block takes all three inside. The parts are added in a fourth.
    Latency: 4 cycles, one product a cycle.
    """

    latency = 4

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
        _, wide = self._widths
        operands = {"narrow": self.narrow, "wide": self.wide}
        own = {name: delay(m, value, 1, name=f"own_{name}")[-1] for name, value in operands.items()}
        parts = [own["wide"]]
        if wide > PART + 1:
            low, high = own["wide"][:PART], own["wide"][PART:]
            parts = [Cat(low, C(0, 1)).as_signed(), high.as_signed()]
        products = [
            delay(m, part * own["narrow"], 2, name=f"part_{number}")[-1]
            for number, part in enumerate(parts)
        ]
        whole = products[0]
        if len(products) == 2:
            below, above = products
            whole = Cat(below[:PART], below[PART:].as_signed() + above).as_signed()
        product = Signal.like(self.product, reset_less=True)
        m.d.sync += product.eq(Mux(self.clear, 0, whole))
        m.d.comb += self.product.eq(product)
        return m
