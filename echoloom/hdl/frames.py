"""Ring buffer of input frames."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from echoloom.hdl.layouts import word_stream
from echoloom.hdl.pipeline import memory
from echoloom.ir.contract import EngineConfig


class Frames(wiring.Component):
    """Collects `length` samples a frame; the oldest complete frame can be read at `address`.

    `available`: a complete frame is there (always, when frames are empty). `release` gives it
    back. Frames that no pass asked for yet wait. Latency of a read: 2 cycles.
    """

    latency = 2

    samples: Any
    length: Signal
    available: Signal
    release: Signal
    address: Signal
    word: Signal

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        super().__init__(
            {
                "samples": In(word_stream(config)),
                "length": In(range(config.frame_depth + 1)),
                "available": Out(1),
                "release": In(1),
                "address": In(ceil_log2(config.frame_depth)),
                "word": Out(signed(config.word)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config = self._config
        frame = 1 << ceil_log2(config.frame_depth)
        m.submodules.samples = store = memory(signed(config.word), config.frames * frame)
        write, read = store.write_port(), store.read_port()
        complete = Signal(range(config.frames + 1))
        filling = Signal(range(config.frames))
        oldest = Signal(range(config.frames))
        place = Signal(ceil_log2(config.frame_depth))
        taken, filled = Signal(), Signal()
        m.d.comb += [
            self.samples.ready.eq((complete != config.frames) & (self.length != 0)),
            taken.eq(self.samples.valid & self.samples.ready),
            filled.eq(taken & (place + 1 == self.length)),
            self.available.eq((complete != 0) | (self.length == 0)),
            write.en.eq(taken),
            write.addr.eq(Cat(place, filling)),
            write.data.eq(self.samples.payload),
            read.addr.eq(Cat(self.address, oldest)),
        ]
        m.d.sync += self.word.eq(read.data)
        with m.If(taken):
            m.d.sync += place.eq(Mux(filled, 0, place + 1))
        with m.If(filled):
            m.d.sync += filling.eq(Mux(filling == config.frames - 1, 0, filling + 1))
        released = Signal()
        m.d.comb += released.eq(self.release & (complete != 0))
        with m.If(released):
            m.d.sync += oldest.eq(Mux(oldest == config.frames - 1, 0, oldest + 1))
        m.d.sync += complete.eq(complete + filled - released)
        return m
