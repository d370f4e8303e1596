"""Adder tree."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from echoloom.ir.contract import EngineConfig


class AdderTree(wiring.Component):
    """Sum of all lanes' products, exact: it grows a bit a level.

    products: P numbers of word + narrow bits signed.
    Latency: `latency` = EngineConfig.tree_latency, a register after every level; one sum a cycle.
    """

    products: list[Signal]
    total: Signal

    def __init__(self, config: EngineConfig) -> None:
        self.latency = config.tree_latency
        product = config.word + config.narrow
        super().__init__(
            {
                "products": In(signed(product)).array(config.lanes),
                "total": Out(signed(product + self.latency)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        terms = list(self.products)
        for level in range(1, self.latency + 1):
            sums = [a + b for a, b in zip(terms[::2], terms[1::2], strict=False)]
            sums += terms[len(sums) * 2 :]
            terms = [Signal.like(total, name=f"level_{level}_{i}", reset_less=True)
                     for i, total in enumerate(sums)]  # fmt: skip
            m.d.sync += [term.eq(total) for term, total in zip(terms, sums, strict=True)]
        m.d.comb += self.total.eq(terms[0])
        return m
