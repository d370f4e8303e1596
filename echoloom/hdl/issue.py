"""Instruction entries unfold into one MAC element and one drain chunk a cycle."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from echoloom.hdl.layouts import (
    ACCESS,
    addresses,
    chunk,
    drain_entry,
    lane_bits,
    mac_entry,
    operation,
)
from echoloom.ir.contract import Destination, EngineConfig, XMode
from echoloom.ir.entry_layouts import STAGES


class MacIssue(wiring.Component):
    """Walks an entry's outer x inner elements.

    `begin` loads `entry`; its first element is issued one cycle later (`latency`), then one
    element a cycle. `overwrite`: gradients start from zero; `keep`: emitted values count.
    `lanes`: useful lanes in this cycle. `stage` is the entry's. A host read
    moves the addresses while nothing runs.
    """

    latency = 1

    access: data.View
    entry: data.View
    begin: Signal
    overwrite: Signal
    keep: Signal
    address: data.View
    operation: data.View
    lanes: Signal
    stage: Signal

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._layout = mac_entry(config)
        super().__init__(
            {
                "access": In(ACCESS),
                "entry": In(self._layout),
                "begin": In(1),
                "overwrite": In(1),
                "keep": In(1),
                "address": Out(addresses(config)),
                "operation": Out(operation(config)),
                "lanes": Out(self._layout["lanes"].shape),
                "stage": Out(range(STAGES)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        active = Signal()
        entry = Signal(self._layout, reset_less=True)
        bits = {name: len(entry[name]) for name in ("inner", "outer", "w_base")}
        inner_left = Signal(bits["inner"], reset_less=True)
        outer_left = Signal(bits["outer"], reset_less=True)
        first = Signal(reset_less=True)
        first_in_row = Signal(reset_less=True)
        row = Signal(lane_bits(self._config), reset_less=True)
        bank = Signal(lane_bits(self._config), reset_less=True)
        overwrite = Signal(reset_less=True)
        keep = Signal(reset_less=True)
        row_weight = Signal(bits["w_base"], reset_less=True)
        # inner_left == 0 and outer_left == 0, known a cycle ahead.
        last_in_row, last_row = Signal(reset_less=True), Signal(reset_less=True)
        last = last_in_row & last_row

        with m.If(self.begin):
            m.d.sync += [
                active.eq(1),
                entry.eq(self.entry),
                inner_left.eq(self.entry.inner - 1),
                outer_left.eq(self.entry.outer - 1),
                last_in_row.eq(self.entry.inner == 1),
                last_row.eq(self.entry.outer == 1),
                first.eq(1),
                first_in_row.eq(1),
                overwrite.eq(self.overwrite),
                keep.eq(self.keep),
                row.eq(0),
                row_weight.eq(self.entry.w_base),
                self.address.weight.eq(self.entry.w_base),
            ]
            self._begin_row(m, self.entry, bank)
        with m.Elif(active):
            m.d.sync += [first.eq(0), first_in_row.eq(last_in_row), active.eq(~last)]
            with m.If(last_in_row):
                m.d.sync += [
                    inner_left.eq(entry.inner - 1),
                    outer_left.eq(outer_left - 1),
                    last_in_row.eq(entry.inner == 1),
                    last_row.eq(outer_left == 1),
                    row.eq(row + 1),
                    row_weight.eq(row_weight + entry.w_outer),
                    self.address.weight.eq(row_weight + entry.w_outer),
                ]
                self._begin_row(m, entry, bank)
            with m.Else():
                m.d.sync += [
                    inner_left.eq(inner_left - 1),
                    last_in_row.eq(inner_left == 1),
                    self.address.weight.eq(self.address.weight + entry.w_inner),
                ]
                self._step(m, entry, bank)
        with m.Elif(self.access.read):
            here = self.access.address
            m.d.sync += [
                self.address.weight.eq(here),
                self.address.x.eq(here),
                self.address.gradient.eq(here),
                bank.eq(self.access.lane),
                entry.x_mode.eq(XMode.BROADCAST),
            ]

        starts = first & entry.clear
        m.d.comb += [self.lanes.eq(Mux(active, entry.lanes, 0)), self.operation.x_bank.eq(bank)]
        m.d.comb += self.stage.eq(entry.stage)
        m.d.comb += [
            self.operation[name].eq(entry[name]) for name in ("narrow", "wide", "x_mode", "slot")
        ]
        with m.If(active):
            with m.Switch(entry.destination):
                with m.Case(Destination.ACCUMULATOR):
                    m.d.comb += [
                        self.operation.accumulate.eq(1),
                        self.operation.from_accumulator.eq(~starts),
                        self.operation.from_gradient.eq(starts & entry.load_gradient),
                        self.operation.no_product.eq(starts & entry.load_gradient),
                        self.operation.push.eq(entry.push & last),
                    ]
                with m.Case(Destination.TREE):
                    m.d.comb += [
                        self.operation.tree.eq(1),
                        self.operation.tree_restart.eq(first_in_row),
                        self.operation.tree_push.eq(entry.push & last_in_row),
                        self.operation.row.eq(row),
                    ]
                with m.Case(Destination.GRADIENT):
                    m.d.comb += [
                        self.operation.gradient.eq(1),
                        self.operation.from_gradient.eq(~overwrite),
                    ]
                with m.Case(Destination.EMIT):
                    m.d.comb += self.operation.emit.eq(keep)
        return m

    def _begin_row(self, m: Module, entry: Any, bank: Signal) -> None:
        m.d.sync += [
            self.address.x.eq(entry.x_base),
            self.address.frame.eq(entry.x_base),
            self.address.y.eq(entry.y_base),
            self.address.gradient.eq(entry.g_base),
            bank.eq(entry.x_bank),
        ]

    def _step(self, m: Module, entry: Any, bank: Signal) -> None:
        """The next element of a row; a broadcast goes through all banks of a word first."""
        through = bank == self._config.lanes - 1
        m.d.sync += [
            self.address.frame.eq(self.address.frame + entry.x_step),
            self.address.y.eq(self.address.y + entry.y_step),
            self.address.gradient.eq(self.address.gradient + 1),
        ]
        with m.If(entry.x_mode == XMode.BROADCAST):
            with m.If(entry.x_step):
                m.d.sync += bank.eq(Mux(through, 0, bank + 1))
                m.d.sync += self.address.x.eq(self.address.x + through)
        with m.Else():
            m.d.sync += self.address.x.eq(self.address.x + entry.x_step)


class DrainIssue(wiring.Component):
    """Walks an entry's chunks of `drains` results.

    `begin` loads `entry`; its first chunk is issued one cycle later (`latency`), then one
    chunk a cycle. A host read moves the exponent address while nothing runs.
    """

    latency = 1

    access: data.View
    entry: data.View
    begin: Signal
    chunk: data.View

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._layout = drain_entry(config)
        super().__init__(
            {
                "access": In(ACCESS),
                "entry": In(self._layout),
                "begin": In(1),
                "chunk": Out(chunk(config)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        drains = self._config.drains
        left = Signal(self._layout["count"].shape)
        number = Signal.like(self.chunk.chunk, reset_less=True)
        exponent = Signal.like(self.chunk.exponent, reset_less=True)
        entry = Signal(self._layout, reset_less=True)
        with m.If(self.begin):
            m.d.sync += [
                entry.eq(self.entry),
                left.eq(self.entry.count),
                number.eq(0),
                exponent.eq(self.entry.exponents),
            ]
        with m.Elif(left != 0):
            m.d.sync += [
                left.eq(Mux(left > drains, left - drains, 0)),
                number.eq(number + 1),
                exponent.eq(exponent + 1),
            ]
        with m.Elif(self.access.read):
            m.d.sync += exponent.eq(self.access.address)
        m.d.comb += [
            self.chunk.valid.eq(Cat(left > drain for drain in range(drains))),
            self.chunk.chunk.eq(number),
            self.chunk.exponent.eq(exponent),
            *(
                self.chunk[name].eq(entry[name])
                for name, _ in chunk(self._config)
                if name not in ("valid", "chunk", "exponent")
            ),
        ]
        return m
