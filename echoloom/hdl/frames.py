"""Ring buffer of input frames."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from echoloom.hdl.layouts import word_stream
from echoloom.hdl.pipeline import memory
from echoloom.ir.contract import EngineConfig
from echoloom.ir.entry_layouts import STAGES


class Frames(wiring.Component):
    """Collects `length` samples a frame, in a ring; the frames of the steps in flight can be read.

    `available`: a complete frame is there that was not taken yet (always, when frames are empty).
    `begin`: an iteration of a step section begins, which has a new frame if `take`. `address` is
    in the frame of `stage` iterations before. `release` gives the oldest taken frame back.
    Frames that no pass asked for yet wait. Latency of a read: 2 cycles.
    """

    latency = 2

    samples: Any
    length: Signal
    available: Signal
    begin: Signal
    take: Signal
    release: Signal
    stage: Signal
    address: Signal
    word: Signal

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        super().__init__(
            {
                "samples": In(word_stream(config)),
                "length": In(range(config.frame_depth + 1)),
                "available": Out(1),
                "begin": In(1),
                "take": In(1),
                "release": In(1),
                "stage": In(range(STAGES)),
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
        complete = Signal(range(config.frames + 1))  # not given back yet
        fresh = Signal.like(complete)  # of these, not taken yet
        filling = Signal(range(config.frames))
        following = Signal.like(filling)  # the next one to take
        taken_at = [Signal.like(filling, name=f"taken_{stage}") for stage in range(STAGES)]
        place = Signal(ceil_log2(config.frame_depth))
        sampled, filled, taken, released = Signal(), Signal(), Signal(), Signal()
        # Of the length, which the host writes long before it counts.
        empty, last = Signal(init=1), Signal.like(place)
        m.d.sync += [empty.eq(self.length == 0), last.eq(self.length - 1)]
        m.d.comb += [
            self.samples.ready.eq((complete != config.frames) & ~empty),
            sampled.eq(self.samples.valid & self.samples.ready),
            filled.eq(sampled & (place == last)),
            taken.eq(self.begin & self.take & ~empty),
            released.eq(self.release & ~empty),
            self.available.eq((fresh != 0) | (self.length == 0)),
            write.en.eq(sampled),
            write.addr.eq(Cat(place, filling)),
            write.data.eq(self.samples.payload),
            read.addr.eq(Cat(self.address, Array(taken_at)[self.stage])),
        ]
        m.d.sync += self.word.eq(read.data)
        with m.If(sampled):
            m.d.sync += place.eq(Mux(filled, 0, place + 1))
        for pointer, moves in ((filling, filled), (following, taken)):
            with m.If(moves):
                m.d.sync += pointer.eq(Mux(pointer == config.frames - 1, 0, pointer + 1))
        with m.If(self.begin):
            m.d.sync += [later.eq(at) for at, later in pairwise(taken_at)]
            m.d.sync += taken_at[0].eq(following)
        m.d.sync += [
            fresh.eq(fresh + filled - taken),
            complete.eq(complete + filled - released),
        ]
        return m
