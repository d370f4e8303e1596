"""Program memory with prefetch: entries may start in consecutive cycles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from echoloom.hdl.layouts import ACCESS, HOST_BITS
from echoloom.hdl.pipeline import delay, memory
from echoloom.ir.contract import Space
from echoloom.ir.entry_layouts import COLUMN_BITS, STAGES


class Fetch(wiring.Component):
    """One instruction stream.

    `rewind` moves it to address `first`: four cycles later `entry` is the entry there. While
    `runs`, the cycle to come is number `time` of its section: if `entry` starts then, it is taken,
    and `begin` says so in that cycle unless `steps` (a bit a stage) has no step for the entry.
    Whatever was to be taken before the rewind still is, for two cycles.
    `column` is the host's read data, three cycles after its address came as `first` of a rewind.

    Four entries in a row, which move up when one is taken:

        pointer -> memory -> its output register -> entry
    """

    latency = 4  # cycles from rewind to the first cycle in which an entry may begin

    access: data.View
    first: Signal
    rewind: Signal
    runs: Signal
    time: Signal
    steps: Signal
    entry: data.View
    begin: Signal
    column: Signal

    def __init__(
        self,
        space: Space,
        layout: data.StructLayout,
        depth: int,
        columns: Sequence[Sequence[int]] = (),
    ) -> None:
        self._space = space
        self._layout = layout
        self._depth = depth
        self._columns = columns  # what they hold at the start
        super().__init__(
            {
                "access": In(ACCESS),
                "first": In(ceil_log2(depth)),
                "rewind": In(1),
                "runs": In(1),
                "time": In(layout["start"].shape),
                "steps": In(STAGES),
                "entry": Out(layout),
                "begin": Out(1),
                "column": Out(HOST_BITS),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        pointer = Signal(ceil_log2(self._depth))
        # Which of the row move in this cycle: all when an entry is taken, and after a rewind one
        # more in every cycle.
        read, output, enter = Signal(), Signal(), Signal()
        rewound = Signal(2)
        taken, wanted = Signal(), Signal()
        m.d.sync += [
            rewound.eq(Cat(self.rewind, rewound)),
            read.eq(taken | self.rewind | rewound.any()),
            output.eq(taken | rewound.any()),
            enter.eq(taken | rewound[1]),
            self.begin.eq(taken & wanted),
        ]
        with m.If(self.rewind):
            m.d.sync += pointer.eq(self.first)
        with m.Elif(read):
            m.d.sync += pointer.eq(pointer + 1)

        access = delay(m, self.access, 1, name="access")[-1]
        columns = []
        for number, low in enumerate(range(0, self._layout.size, COLUMN_BITS)):
            word = self._column(m, access, number, low, pointer, read)
            column = Signal.like(word, name=f"word_{number}", reset_less=True)
            with m.If(output):
                m.d.sync += column.eq(word)
            columns.append(column)
        after = Signal(self._layout)
        m.d.comb += after.as_value().eq(Cat(columns))
        m.d.comb += self.column.eq(Array(columns)[access.lane])
        with m.If(enter):
            m.d.sync += self.entry.eq(after)

        # The entry of the cycle to come; decided now, so that no way through the memory begins
        # with a comparison.
        due = Mux(enter, after.start == self.time, self.entry.start == self.time)
        stage = Mux(enter, after.stage, self.entry.stage)
        m.d.comb += [taken.eq(self.runs & due), wanted.eq(Array(self.steps)[stage])]
        return m

    def _column(
        self, m: Module, access: Any, number: int, low: int, address: Signal, enable: Signal
    ) -> Signal:
        """The host writes entries in columns, each a memory; `access` is a cycle old."""
        init = self._columns[number] if number < len(self._columns) else ()
        column = memory(unsigned(min(COLUMN_BITS, self._layout.size - low)), self._depth, init)
        m.submodules[f"column_{number}"] = column
        write, read = column.write_port(), column.read_port()
        chosen = Signal()
        m.d.sync += chosen.eq(
            self.access.write & (self.access.space == self._space) & (self.access.lane == number)
        )
        m.d.comb += [
            write.addr.eq(access.address),
            write.data.eq(access.data),
            write.en.eq(chosen),
            read.addr.eq(address),
            read.en.eq(enable),
        ]
        return read.data
