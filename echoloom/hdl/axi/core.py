"""An engine that is reset as a whole, starts by itself if asked to, and packs its outputs."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from echoloom.hdl.contents import EMPTY, Contents
from echoloom.hdl.engine import Engine
from echoloom.hdl.layouts import HOST_BITS, REQUEST, word_stream
from echoloom.hdl.pipeline import RESET_CYCLES
from echoloom.ir.contract import EngineConfig, Register, Space, Timing
from echoloom.ir.engine_passes import EnginePass

COUNT_BITS = 32  # of OUTPUT_WORDS
SETTLING = 4  # cycles from a command on the engine's bus until `busy` shows it, and one


def output_word(config: EngineConfig) -> data.StructLayout:
    """A word of the output stream, and whether it is its packet's last."""
    return data.StructLayout({"data": signed(config.word), "last": 1})


class Core(wiring.Component):
    """The part that the interfaces share.

    `reset` and `clear` stop the engine and empty it, for RESET_CYCLES and two more at the most, in
    which no stream is ready; registers are as `contents` has them again, sections stay if they were
    there from the start. An output that is already offered
    stays so through a `clear`, as AXI asks for; `reset` takes it back.
    `self_start`: a forward sweep starts whenever the engine is idle and an input frame is complete.
    Every `output_words`-th output is the last of a packet; 0: none is.
    Latencies: samples 0 cycles, outputs 1 cycle more than the engine's; a host's request waits
    for one cycle while a sweep is started.
    """

    reset: Signal
    clear: Signal
    self_start: Signal
    output_words: Signal
    busy: Signal
    done: Signal
    frame_waits: Signal
    ready: Signal
    request: Any
    response: Any
    samples: Any
    outputs: Any

    def __init__(self, config: EngineConfig, timing: Timing, contents: Contents = EMPTY) -> None:
        self.engine = Engine(config, timing, contents=contents)
        super().__init__(
            {
                "reset": In(1),
                "clear": In(1),
                "self_start": In(1),
                "output_words": In(COUNT_BITS),
                "busy": Out(1),
                "done": Out(1),
                "frame_waits": Out(1),
                "ready": Out(1),
                "request": In(stream.Signature(REQUEST)),
                "response": Out(stream.Signature(HOST_BITS)),
                "samples": In(word_stream(config)),
                "outputs": Out(stream.Signature(output_word(config))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.engine = engine = self.engine
        left = Signal(range(RESET_CYCLES + 1), init=RESET_CYCLES)  # of a reset
        clearing = Signal(init=1)
        with m.If(self.reset | self.clear):
            m.d.sync += [left.eq(RESET_CYCLES), clearing.eq(1)]
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        with m.Else():
            m.d.sync += clearing.eq(0)
        m.d.comb += [
            engine.clear.eq(clearing),
            self.ready.eq(~clearing),
            self.busy.eq(engine.busy),
            self.done.eq(engine.done),
            self.frame_waits.eq(engine.frame_waits),
            engine.samples.payload.eq(self.samples.payload),
            engine.samples.valid.eq(self.samples.valid & ~clearing),
            self.samples.ready.eq(engine.samples.ready & ~clearing),
        ]
        connect(m, engine.response, flipped(self.response))
        self._request(m, engine, clearing)
        self._outputs(m, engine, clearing)
        return m

    def _request(self, m: Module, engine: Engine, clearing: Signal) -> None:
        """The host's requests, and between two of them the command that starts a sweep."""
        settling = Signal(range(SETTLING))
        starts = Signal()
        m.d.sync += starts.eq(
            self.self_start & engine.frame_waits & ~engine.busy & (settling == 0) & ~starts
        )
        command = {"write": 1, "space": Space.REGISTER, "address": Register.COMMAND}
        with m.If(starts):
            m.d.comb += [
                engine.request.valid.eq(~clearing),
                *(engine.request.payload[name].eq(value) for name, value in command.items()),
                engine.request.payload.data.eq(EnginePass.FORWARD),
            ]
            with m.If(engine.request.ready):
                m.d.sync += settling.eq(SETTLING - 1)
        with m.Else():
            m.d.comb += [
                engine.request.payload.eq(self.request.payload),
                engine.request.valid.eq(self.request.valid & ~clearing),
                self.request.ready.eq(engine.request.ready & ~clearing),
            ]
        with m.If(settling != 0):
            m.d.sync += settling.eq(settling - 1)

    def _outputs(self, m: Module, engine: Engine, clearing: Signal) -> None:
        count = Signal(COUNT_BITS)  # words of the packet so far
        free = ~self.outputs.valid | self.outputs.ready
        last = Signal()
        taken = engine.outputs.valid & engine.outputs.ready
        m.d.comb += [
            engine.outputs.ready.eq(free & ~clearing),
            last.eq((self.output_words != 0) & (count + 1 >= self.output_words)),
        ]
        with m.If(free):
            m.d.sync += [
                self.outputs.valid.eq(taken),
                self.outputs.payload.data.eq(engine.outputs.payload),
                self.outputs.payload.last.eq(last),
            ]
        with m.If(clearing):
            m.d.sync += count.eq(0)
        with m.Elif(taken):
            m.d.sync += count.eq(Mux(last, 0, count + 1))
        with m.If(self.reset):
            m.d.sync += self.outputs.valid.eq(0)
