"""Memories between the host link and the engine's streams, addressed by positions.

Samples and outputs are counted from the last reset on; such a number, modulo 2**POSITION_BITS, is
its *position*. A memory of `depth` words holds position p in word p % depth, so what was written
stays there until `depth` more have been.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from echoloom.hdl.pipeline import memory

POSITION_BITS = 24
FRAME_BITS, STEP_BITS = 16, 32  # of a frame's elements, and of the frames of a pass

# What a pass is to get: `steps` frames of `frame` samples each; the first begins at position
# `begin`, and each of the others `stride` positions (modulo 2**POSITION_BITS) behind the one
# before. So a sequence is played forward or backward, and again, as long as it is there.
PLAY = {"begin": POSITION_BITS, "frame": FRAME_BITS, "stride": POSITION_BITS, "steps": STEP_BITS}


class SampleStore(wiring.Component):
    """Keeps samples, and hands them to the engine as a play says.

    A sample that is not there yet is waited for. `push` is always ready: whoever pushes knows what
    may be overwritten.

    Parameters: `width` of a word, `depth` in words, a power of two.
    Ports: `push`, samples to keep; `filled`, the next one's position; `play` takes the others of
    PLAY; `samples`, to the engine, one in three cycles; `reached`, the position of the next one.
    Latency: a sample that is pushed, or played, is offered three cycles later at the soonest.

    Raises ValueError for a depth that is no power of two or that positions do not tell apart.
    """

    push: Any
    filled: Signal
    play: Signal
    begin: Signal
    frame: Signal
    stride: Signal
    steps: Signal
    samples: Any
    reached: Signal

    def __init__(self, width: int, depth: int) -> None:
        if depth < 2 or depth & (depth - 1) or depth > 1 << POSITION_BITS - 2:
            raise ValueError(
                f"a store has 2, 4, 8 ... {1 << POSITION_BITS - 2:,} samples, not {depth:,}"
            )
        self._width, self._depth = width, depth
        super().__init__(
            {
                "push": In(stream.Signature(signed(width))),
                "filled": Out(POSITION_BITS),
                "play": In(1),
                **{name: In(bits) for name, bits in PLAY.items()},
                "samples": Out(stream.Signature(signed(width))),
                "reached": Out(POSITION_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.words = words = memory(signed(self._width), self._depth)
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

        at = Signal(POSITION_BITS)  # where the frame begins
        frame, element = Signal(FRAME_BITS), Signal(FRAME_BITS)
        stride, steps = Signal(POSITION_BITS), Signal(STEP_BITS)
        ahead, there = Signal(POSITION_BITS), Signal()
        m.d.comb += self.samples.valid.eq(0)
        with m.FSM():
            with m.State("READ"):  # the memory answers a cycle later, and into a register
                m.d.sync += ahead.eq(self.filled - self.reached)
                with m.If(steps != 0):
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
                    m.d.sync += [element.eq(element + 1), self.reached.eq(self.reached + 1)]
                    with m.If(element + 1 == frame):
                        m.d.sync += [element.eq(0), steps.eq(steps - 1)]
                        m.d.sync += [at.eq(at + stride), self.reached.eq(at + stride)]
        with m.If(self.play):
            m.d.sync += [at.eq(self.begin), self.reached.eq(self.begin), element.eq(0)]
            m.d.sync += [frame.eq(self.frame), stride.eq(self.stride), steps.eq(self.steps)]
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
                "made": Out(POSITION_BITS),
                "had": In(POSITION_BITS),
                "index": In(ceil_log2(depth)),
                "word": Out(signed(width)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.words = words = memory(signed(self._width), self._depth)
        write, read = words.write_port(), words.read_port()
        held = Signal(POSITION_BITS)
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
