"""Memories between the host link and the engine's streams, addressed by positions.

Samples and outputs are counted from the last reset on; such a number, modulo 2**POSITION_BITS for
samples and 2**OUTPUT_BITS for outputs, is its *position*. A memory of `depth` words holds position
p in word p % depth, so what was written stays there until `depth` more have been.
"""

from __future__ import annotations

import enum
from typing import Any

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from echoloom.hdl.layouts import word_stream
from echoloom.hdl.pipeline import memory
from echoloom.ir.contract import EngineConfig

POSITION_BITS, OUTPUT_BITS = 16, 8
MOST_DEPTH = 1 << POSITION_BITS - 2  # so that "not there yet" is told from "long since"


ENDLESS = 1 << POSITION_BITS


class Play(enum.IntEnum):
    """What a pass is to get, in the order in which it is told: frames of FRAME samples each, the
    first sample at position BEGIN, the others one behind another; JUMP positions lie between a
    frame's last sample and the next one's first. No more are played when END is reached, where the
    next frame would begin; never, if END has the bit ENDLESS. So a sequence is played forward (JUMP
    1), or its frames backward (1 - 2 * FRAME), and again, as long as it is there."""

    BEGIN = 0
    FRAME = 1
    JUMP = 2
    END = 3  # play


class SampleStore(wiring.Component):
    """Keeps samples, and hands them to the engine as a play says.

    A sample that is not there yet is waited for. `push` is always ready: whoever pushes knows what
    may be overwritten.

    Parameters: `config`, the engine's; `depth` in samples, a power of two.
    Ports: `push`, samples to keep; `filled`, the next one's position; `tell`: `value` is `what` of
    Play; `samples`, to the engine, one in three cycles; `reached`, the position of the next one.
    Latency: a sample that is pushed, or played, is offered three cycles later at the soonest,
    and the first one of a frame that follows another another cycle later.

    Raises ValueError for a depth that is no power of two or that positions do not tell apart.
    """

    push: Any
    filled: Signal
    tell: Signal
    what: Signal
    value: Signal
    samples: Any
    reached: Signal

    def __init__(self, config: EngineConfig, depth: int) -> None:
        if depth < 2 or depth & (depth - 1) or depth > MOST_DEPTH:
            raise ValueError(f"a store has 2, 4, 8 ... {MOST_DEPTH:,} samples, not {depth:,}")
        self._config, self._depth = config, depth
        super().__init__(
            {
                "push": In(word_stream(config)),
                "filled": Out(POSITION_BITS),
                "tell": In(1),
                "what": In(Play),
                "value": In(POSITION_BITS + 1),
                "samples": Out(word_stream(config)),
                "reached": Out(POSITION_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.words = words = memory(signed(self._config.word), self._depth)
        write, read = words.write_port(), words.read_port()
        m.d.comb += [
            self.push.ready.eq(1),
            write.en.eq(self.push.valid),
            write.addr.eq(self.filled),
            write.data.eq(self.push.payload),
            read.addr.eq(self.reached),
        ]
        with m.If(self.push.valid):
            m.d.sync += self.filled.eq(self.filled + 1)

        frame = Signal(range(self._config.frame_depth + 1))
        left = Signal.like(frame)  # samples of the frame
        jump, end, playing = Signal(POSITION_BITS), Signal.like(self.value), Signal()
        ahead, there = Signal(POSITION_BITS), Signal()
        m.d.comb += self.samples.valid.eq(0)
        with m.FSM():
            with m.State("READ"):  # the memory answers a cycle later, and into a register
                m.d.sync += ahead.eq(self.filled - self.reached)
                with m.If(playing):
                    m.next = "LOAD"
            with m.State("LOAD"):
                m.d.sync += self.samples.payload.eq(read.data)
                m.d.sync += there.eq((ahead != 0) & ~ahead[-1])
                m.next = "OFFER"
            with m.State("OFFER"):
                m.d.comb += self.samples.valid.eq(there)
                with m.If(~there | self.samples.ready):
                    m.next = "READ"
                with m.If(there & self.samples.ready):
                    m.d.sync += left.eq(left - 1)
                    m.d.sync += self.reached.eq(self.reached + Mux(left == 1, jump, 1))
                    with m.If(left == 1):
                        m.d.sync += left.eq(frame)
                        m.next = "FRAME"
            with m.State("FRAME"):
                m.d.sync += playing.eq(end != self.reached)
                m.next = "READ"
        with m.If(self.tell):
            with m.Switch(self.what):
                with m.Case(Play.BEGIN):
                    m.d.sync += self.reached.eq(self.value)
                with m.Case(Play.FRAME):
                    m.d.sync += [frame.eq(self.value), left.eq(self.value)]
                with m.Case(Play.JUMP):
                    m.d.sync += jump.eq(self.value)
                with m.Case(Play.END):
                    m.d.sync += [end.eq(self.value), playing.eq(1)]
        return m


class OutputStore(wiring.Component):
    """Keeps outputs until the host has them for certain.

    Parameters: `width` of a word, `depth` in words, a power of two.
    Ports: `outputs`, from the engine; `made`, the next one's position; `had`, up to which position
    the host has them: their room is free again; `word`, the output at position `index`, two cycles
    later.
    """

    outputs: Any
    made: Signal
    had: Signal
    index: Signal
    word: Signal

    def __init__(self, width: int, depth: int) -> None:
        self._width, self._depth = width, depth
        super().__init__(
            {
                "outputs": In(stream.Signature(signed(width))),
                "made": Out(OUTPUT_BITS),
                "had": In(OUTPUT_BITS),
                "index": In(ceil_log2(depth)),
                "word": Out(signed(width)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.words = words = memory(signed(self._width), self._depth)
        write, read = words.write_port(), words.read_port()
        held = Signal(OUTPUT_BITS)
        m.d.comb += [
            held.eq(self.made - self.had),
            self.outputs.ready.eq(held < self._depth),
            write.en.eq(self.outputs.valid & self.outputs.ready),
            write.addr.eq(self.made),
            write.data.eq(self.outputs.payload),
            read.addr.eq(self.index),
        ]
        m.d.sync += self.word.eq(read.data)
        with m.If(write.en):
            m.d.sync += self.made.eq(self.made + 1)
        return m
