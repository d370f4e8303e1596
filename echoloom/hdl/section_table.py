"""The section table: what each section of a program is, in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import and_, or_
from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from echoloom.hdl.layouts import ACCESS, HOST_BITS
from echoloom.hdl.pipeline import delay, memory
from echoloom.ir.contract import Space
from echoloom.ir.entry_layouts import COLUMN_BITS
from echoloom.ir.sections import SWEPT


class SectionTable(wiring.Component):
    """`entry`: section `index` of a cycle ago. The host writes it in columns, as it does programs;
    `column` is the one of that section that `access` asks for.

    `empty` has a bit a section: not all of its columns were written since the last reset, or its
    length is 0. The memory itself has no reset: a column that was not written since reads as 0.
    There are `count` sections; `sections`: the fields of those that are there from the start, and
    after a reset too.
    Latency: a write reaches the table two cycles after `access`.
    """

    access: data.View
    index: Signal
    entry: data.View
    empty: Signal
    column: Signal

    def __init__(
        self,
        layout: data.StructLayout,
        sections: Sequence[Mapping[str, int]] = (),
        count: int = len(SWEPT),
    ) -> None:
        self._layout = layout
        self._count = count
        # As columns of the memory: what is in each at the start.
        packed = [layout.const(dict(entry)).as_value().value for entry in sections]
        self._columns = [
            [word >> low & (1 << COLUMN_BITS) - 1 for word in packed]
            for low in range(0, layout.size, COLUMN_BITS)
        ]
        super().__init__(
            {
                "access": In(ACCESS),
                "index": In(range(count)),
                "entry": Out(layout),
                "empty": Out(count),
                "column": Out(HOST_BITS),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        word = Signal(COLUMN_BITS, reset_less=True)
        section = Signal.like(self.index, reset_less=True)
        m.d.sync += [word.eq(self.access.data), section.eq(self.access.address)]
        words, known, filled, lasting = [], [], [], []
        for number, start in enumerate(self._columns):
            low = number * COLUMN_BITS
            bits = min(COLUMN_BITS, self._layout.size - low)
            m.submodules[f"column_{number}"] = column = memory(unsigned(bits), self._count, start)
            write, read = column.write_port(), column.read_port()
            chosen = Signal(name=f"write_{number}")
            m.d.sync += chosen.eq(
                self.access.write & (self.access.space == Space.SECTION)
                & (self.access.lane == number) & (self.access.address < self._count)
            )  # fmt: skip
            m.d.comb += [
                write.addr.eq(section),
                write.data.eq(word),
                write.en.eq(chosen),
                read.addr.eq(self.index),
            ]
            part = self._part_of_length(low)
            written = Signal(self._count, name=f"written_{number}", init=(1 << len(start)) - 1)
            # Sections whose part of the length in this column is not 0.
            lasts = Signal(
                self._count, name=f"lasts_{number}",
                init=sum(bool(old & part) << at for at, old in enumerate(start)),
            )  # fmt: skip
            with m.If(chosen):
                m.d.sync += written.bit_select(section, 1).eq(1)
                m.d.sync += lasts.bit_select(section, 1).eq((word & part).any())
            words.append(read.data)
            filled.append(written)
            lasting.append(lasts)
            known.append(delay(m, written.bit_select(self.index, 1), 1, name="known")[-1])
        shown = [Mux(there, word, 0) for there, word in zip(known, words, strict=True)]
        m.d.comb += [
            self.entry.as_value().eq(Cat(words)),
            self.column.eq(Array(shown)[self.access.lane]),
            self.empty.eq(~(reduce(and_, filled) & reduce(or_, lasting))),
        ]
        return m

    def _part_of_length(self, low: int) -> int:
        """The bits of the column from bit `low` of an entry that belong to its length."""
        length = self._layout["length"]
        return ((1 << length.width) - 1 << length.offset) >> low & (1 << COLUMN_BITS) - 1
