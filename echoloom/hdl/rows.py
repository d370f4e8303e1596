"""Addresses in a pass over rows: they move on with every iteration."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from echoloom.hdl.layouts import row_addresses
from echoloom.hdl.pipeline import delay
from echoloom.ir.contract import EngineConfig, Register
from echoloom.ir.entry_layouts import STAGES
from echoloom.ir.fields import REGISTER_BITS


class Rows(wiring.Component):
    """In a pass over rows (`moves`) an address + its memory's row + the step that its entry works
    for, which is `iteration` less the entry's `stage`; in other passes the address as it is.

    `given.weight` and `given.gradient` are an element's addresses; `given.destination` is a
    chunk's, and moves only `to_weight`: as a word of vector memory it stays.
    Latency: 2 cycles. Rows, `iteration` and `moves` hold for addresses that come a cycle later, so
    an iteration's own is there when its first entry issues.
    """

    latency = 2

    moves: Signal
    iteration: Signal
    weight_row: Signal
    gradient_row: Signal
    stage: Signal
    chunk_stage: Signal
    to_weight: Signal
    given: data.View
    moved: data.View

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(
            {
                "moves": In(1),
                "iteration": In(REGISTER_BITS[Register.LENGTH]),
                "weight_row": In(REGISTER_BITS[Register.WEIGHT_ROW]),
                "gradient_row": In(REGISTER_BITS[Register.GRADIENT_ROW]),
                "stage": In(range(STAGES)),
                "chunk_stage": In(range(STAGES)),
                "to_weight": In(1),
                "given": In(row_addresses(config)),
                "moved": Out(row_addresses(config)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        moving = delay(m, self.moves, 1, name="moves")[-1]
        before = delay(m, self.given, 1, name="given")[-1]
        moved = Signal.like(self.moved, reset_less=True)
        for name, row, stage, moves in (
            ("weight", self.weight_row, self.stage, moving),
            ("gradient", self.gradient_row, self.stage, moving),
            ("destination", self.weight_row, self.chunk_stage, moving & self.to_weight),
        ):
            here = Signal.like(moved[name], name=f"{name}_row", reset_less=True)
            further = Signal.like(moved[name], name=f"{name}_further", reset_less=True)
            m.d.sync += [
                here.eq(row + self.iteration),
                further.eq(Mux(moves, here - stage, 0)),
                moved[name].eq(before[name] + further),
            ]
        m.d.comb += self.moved.eq(moved)
        return m
