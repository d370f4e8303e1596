"""The section table: what each section of a program is, in memory."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from echoloom.hdl.layouts import ACCESS, HOST_BITS
from echoloom.hdl.pipeline import memory
from echoloom.ir.contract import COLUMN_BITS, Space
from echoloom.ir.sections import Section


class SectionTable(wiring.Component):
    """`entry`: section `index` of a cycle ago. The host writes it in columns, as it does programs;
    `column` is the one of that section that `access` asks for.

    `empty` has a bit a section: not all of its columns were written since the last reset, or its
    length is 0. The memory itself has no reset: a column that was not written since reads as 0.
    Latency: a write reaches the table two cycles after `access`.
    """

    access: data.View
    index: Signal
    entry: data.View
    empty: Signal
    column: Signal

    def __init__(self, layout: data.StructLayout) -> None:
        self._layout = layout
        super().__init__(
            {
                "access": In(ACCESS),
                "index": In(range(len(Section))),
                "entry": Out(layout),
                "empty": Out(len(Section)),
                "column": Out(HOST_BITS),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        lows = range(0, self._layout.size, COLUMN_BITS)
        word = Signal(COLUMN_BITS, reset_less=True)
        section = Signal.like(self.index, reset_less=True)
        inside = self.access.address < len(Section)
        m.d.sync += [word.eq(self.access.data), section.eq(self.access.address)]
        written = [Signal(len(lows), name=f"written_{s.name}") for s in Section]
        length = self._layout["length"]
        lasts = [Signal(len(lows), name=f"lasts_{s.name}") for s in Section]  # not for 0 cycles
        words = []
        for number, low in enumerate(lows):
            bits = min(COLUMN_BITS, self._layout.size - low)
            m.submodules[f"column_{number}"] = column = memory(unsigned(bits), len(Section))
            write, read = column.write_port(), column.read_port()
            chosen = Signal(name=f"write_{number}")
            m.d.sync += chosen.eq(
                self.access.write & (self.access.space == Space.SECTION)
                & (self.access.lane == number) & inside
            )  # fmt: skip
            m.d.comb += [
                write.addr.eq(section),
                write.data.eq(word),
                write.en.eq(chosen),
                read.addr.eq(self.index),
            ]
            begin = max(0, length.offset - low)
            end = min(bits, length.offset + length.width - low)
            with m.If(chosen), m.Switch(section):
                for place in Section:
                    with m.Case(place):
                        m.d.sync += written[place][number].eq(1)
                        if begin < end:
                            m.d.sync += lasts[place][number].eq(word[begin:end].any())
            words.append(read.data)
        known = Signal(len(lows))
        m.d.sync += known.eq(Array(written)[self.index])
        shown = Array(Mux(known[number], word, 0) for number, word in enumerate(words))
        m.d.comb += [
            self.entry.as_value().eq(Cat(words)),
            self.column.eq(shown[self.access.lane]),
            self.empty.eq(Cat(~(w.all() & n.any()) for w, n in zip(written, lasts, strict=True))),
        ]
        return m
