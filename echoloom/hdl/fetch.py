"""Program memory with prefetch: entries may start in consecutive cycles."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from echoloom.hdl.layouts import ACCESS, HOST_BITS
from echoloom.hdl.pipeline import memory
from echoloom.ir.contract import COLUMN_BITS, Space


class Fetch(wiring.Component):
    """One instruction stream.

    `rewind` presents address `first` to the memory; in a later cycle `preload` takes that
    entry; from the next cycle on, while `run`, `entry` waits for its `start` to be `time`, and
    `begin` says so. Latency: rewind, preload, run in three consecutive cycles is enough.
    `column` is the host's read data: the address is `first` while `rewind`, a cycle earlier.
    """

    latency = 2  # cycles from rewind to the first cycle in which an entry may begin

    access: data.View
    first: Signal
    rewind: Signal
    preload: Signal
    run: Signal
    time: Signal
    entry: data.View
    begin: Signal
    column: Signal

    def __init__(self, space: Space, layout: data.StructLayout, depth: int) -> None:
        self._space = space
        self._layout = layout
        self._depth = depth
        super().__init__(
            {
                "access": In(ACCESS),
                "first": In(ceil_log2(depth)),
                "rewind": In(1),
                "preload": In(1),
                "run": In(1),
                "time": In(layout["start"].shape),
                "entry": Out(layout),
                "begin": Out(1),
                "column": Out(HOST_BITS),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        address = Signal(ceil_log2(self._depth))
        following = Signal.like(address)
        take = Signal()
        words = [
            self._column(m, number, low, address)
            for number, low in enumerate(range(0, self._layout.size, COLUMN_BITS))
        ]
        m.d.comb += [
            self.begin.eq(self.run & (self.entry.start == self.time)),
            take.eq(self.begin | self.preload),
            # `following` is the entry at the memory's output, `entry` the one before it.
            address.eq(Mux(self.rewind, self.first, Mux(take, following + 1, following))),
            self.column.eq(Array(words)[self.access.lane]),
        ]
        m.d.sync += following.eq(address)
        with m.If(take):
            m.d.sync += self.entry.as_value().eq(Cat(words))
        return m

    def _column(self, m: Module, number: int, low: int, address: Signal) -> Signal:
        """The host writes entries in columns, each a memory."""
        column = memory(unsigned(min(COLUMN_BITS, self._layout.size - low)), self._depth)
        m.submodules[f"column_{number}"] = column
        write, read = column.write_port(), column.read_port()
        m.d.comb += [
            write.addr.eq(self.access.address),
            write.data.eq(self.access.data),
            write.en.eq(
                self.access.write
                & (self.access.space == self._space)
                & (self.access.lane == number)
            ),
            read.addr.eq(address),
        ]
        return read.data
