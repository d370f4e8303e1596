"""Table memory that one or two lookups read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from echoloom.hdl.layouts import ACCESS
from echoloom.hdl.pipeline import delay, memory
from echoloom.ir.contract import Space

READERS = 2  # as many ports as a block RAM has


class TableMemory(wiring.Component):
    """`word[k]` is the entry at `address[k]`. Latency: 1 cycle.

    `access` writes an entry, WRITE cycles after its strobe: at `address[0]`, which the first reader
    brings from the host's access by then. So the host has no port of its own, and a block RAM's two
    ports serve two lookups.
    """

    WRITE = 2

    access: data.View
    address: list[Signal]
    word: list[Signal]

    def __init__(self, *, width: int, depth: int, readers: int, init: Sequence[int] = ()) -> None:
        self._width = width
        self._depth = depth
        self._init = init
        super().__init__(
            {
                "access": In(ACCESS),
                "address": In(ceil_log2(depth)).array(readers),
                "word": Out(width).array(readers),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.entries = entries = memory(unsigned(self._width), self._depth, self._init)
        write = entries.write_port()
        strobe = self.access.write & (self.access.space == Space.TABLE)
        given = self.access.data[: self._width]
        m.d.comb += [
            write.en.eq(delay(m, strobe, self.WRITE, name="strobe")[-1]),
            write.data.eq(delay(m, given, self.WRITE, name="given")[-1]),
            write.addr.eq(self.address[0]),
        ]
        for address, word in zip(self.address, self.word, strict=True):
            read = entries.read_port()
            m.d.comb += [read.addr.eq(address), word.eq(read.data)]
        return m
