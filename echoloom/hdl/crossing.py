"""A stream that goes from one clock to another, for few and slow bytes."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out


class Crossing(wiring.Component):
    """Hands every word of `input` (domain `source`) to `output` (domain `sink`), in order.

    One word is on its way at a time: `input` is ready again when the sink's answer is back. A word
    is there two to three cycles of the sink's clock after it was taken, and the next can be taken
    three cycles of the source's clock later at the most. Both domains have to be reset together.

    Parameters: `width` bits a word; `source` and `sink`, names of clock domains of any clocks.
    """

    input: Any
    output: Any

    def __init__(self, width: int, source: str, sink: str) -> None:
        self._source, self._sink = source, sink
        super().__init__(
            {"input": In(stream.Signature(width)), "output": Out(stream.Signature(width))}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        word = Signal.like(self.input.payload)
        # Each side changes a level of its own, `given` and `taken`; they differ while a word waits.
        given, given_here = Signal(), Signal()
        taken, taken_there = Signal(), Signal()
        m.submodules.give = FFSynchronizer(given, given_here, o_domain=self._sink)
        m.submodules.take = FFSynchronizer(taken, taken_there, o_domain=self._source)
        m.d.comb += [
            self.input.ready.eq(given == taken_there),
            self.output.valid.eq(given_here != taken),
            self.output.payload.eq(word),  # stays as it is until it is taken
        ]
        with m.If(self.input.valid & self.input.ready):
            m.d[self._source] += [word.eq(self.input.payload), given.eq(~given)]
        with m.If(self.output.valid & self.output.ready):
            m.d[self._sink] += taken.eq(~taken)
        return m
