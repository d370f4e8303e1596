"""The registers behind AXI4-Lite: some answer at once, the engine's words come over its bus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from echoloom.hdl.axi import register_map as book
from echoloom.hdl.axi.core import COUNT_BITS
from echoloom.hdl.axi.lite import ACCESS, ANSWER, WORD
from echoloom.hdl.axi.register_map import ENGINE_BASE, WORD_BYTES, Own
from echoloom.hdl.commands import identity
from echoloom.hdl.layouts import HOST_BITS, REQUEST
from echoloom.ir.contract import EngineConfig, Space, Timing


@dataclass(frozen=True)
class Presets:
    """What registers hold from the start, and again after a reset, but for `mark`."""

    output_words: int = 0
    self_start: bool = False
    mark: int = 0


# TARGET, whose fields leave no bit between them.
TARGET = data.StructLayout({field.name.lower(): field.bits for field in book.TARGET})


class Registers(wiring.Component):
    """Every access gets one answer: its data, or `refused` where the table has no such access.

    A reset takes the registers back to the presets, but MARK. The lower half of a word of the
    engine makes a request on its bus; the upper half is what the last read left, or what the next
    write of a lower half takes along, which then is 0 again. `clear` is high for the cycle after
    RESET was written; `clearing` comes back while that lasts.
    Latency: the answer comes 1 cycle after the access; for a word of the engine the request does,
    and the answer 1 cycle after the request was taken (a write) or the response came (a read).
    """

    latency, engine = 1, 1

    access: Any
    answer: Any
    request: Any
    response: Any
    clear: Signal
    clearing: Signal
    busy: Signal
    done: Signal
    frame_waits: Signal
    output_waits: Signal
    self_start: Signal
    output_words: Signal
    interrupt: Signal

    def __init__(self, config: EngineConfig, timing: Timing, presets: Presets) -> None:
        self._config = config
        self._identity = identity(config, timing)
        self._mark = presets.mark
        super().__init__(
            {
                "access": In(stream.Signature(ACCESS)),
                "answer": Out(stream.Signature(ANSWER)),
                "request": Out(stream.Signature(REQUEST)),
                "response": In(stream.Signature(HOST_BITS)),
                "clear": Out(1),
                "clearing": In(1),
                "busy": In(1),
                "done": In(1),
                "frame_waits": In(1),
                "output_waits": In(1),
                "self_start": Out(1, init=presets.self_start),
                "output_words": Out(COUNT_BITS, init=presets.output_words),
                "interrupt": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        access, answer, request = self.access.payload, self.answer.payload, self.request.payload
        target = Signal(TARGET)
        upper_read, upper_write = Signal(WORD), Signal(WORD)
        # DATA and the window of the engine's registers are words in two halves.
        upper, at_data, at_engine = Signal(), Signal(), Signal()
        allowed = Signal()
        m.d.comb += [
            upper.eq(access.place[0]),
            at_data.eq(access.place[1:] == Own.DATA_LOW // (2 * WORD_BYTES)),
            at_engine.eq(access.place >= ENGINE_BASE // WORD_BYTES),
            allowed.eq(
                Cat(
                    (access.place == entry.offset // WORD_BYTES)
                    & (~access.write | (entry.access is book.Access.BOTH))
                    for entry in book.REGISTERS
                ).any()
            ),
            request.write.eq(access.write),
            request.data.eq(Cat(access.data, upper_write)),
            request.space.eq(Mux(at_data, target.space, Space.REGISTER)),
            request.lane.eq(Mux(at_data, target.lane, 0)),
            request.address.eq(
                Mux(at_data, target.address, (access.place - ENGINE_BASE // WORD_BYTES)[1:])
            ),
        ]

        done = Signal()  # in the cycle before the answer
        with m.FSM():
            with m.State("ASKED"):
                with m.If(self.access.valid & allowed & (at_data | at_engine) & ~upper):
                    m.next = "REQUEST"
                with m.Elif(self.access.valid):
                    m.d.comb += done.eq(1)
                    m.next = "ANSWER"
            with m.State("REQUEST"):
                m.d.comb += self.request.valid.eq(1)
                with m.If(self.request.ready & access.write):
                    m.d.comb += done.eq(1)
                    m.next = "ANSWER"
                    m.d.sync += upper_write.eq(0)
                with m.Elif(self.request.ready):
                    m.next = "RESPONSE"
            with m.State("RESPONSE"):
                m.d.comb += self.response.ready.eq(1)
                with m.If(self.response.valid):
                    m.d.sync += upper_read.eq(self.response.payload[WORD:])
                    m.d.comb += done.eq(1)
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += self.answer.valid.eq(1)
                with m.If(self.answer.ready):
                    m.next = "ASKED"
        m.d.comb += self.access.ready.eq(done)
        enable = Signal()
        mark = Signal(HOST_BITS, init=self._mark, reset_less=True)
        m.d.comb += self.interrupt.eq(enable & self.done)
        control = Cat(self.clear | self.clearing, self.self_start, enable)
        status = Cat(self.busy, self.done, self.frame_waits, self.output_waits)
        halves = {Own.DATA_LOW: self.response.payload[:WORD], Own.DATA_HIGH: upper_read}
        values = {**self._constants(), **halves, Own.MARK_LOW: mark[:WORD],
                  Own.MARK_HIGH: mark[WORD:], Own.CONTROL: control, Own.STATUS: status,
                  Own.OUTPUT_WORDS: self.output_words, Own.TARGET: target}  # fmt: skip
        written = {Own.MARK_LOW: mark[:WORD], Own.MARK_HIGH: mark[WORD:],
                   Own.CONTROL: Cat(self.clear, self.self_start, enable),
                   Own.OUTPUT_WORDS: self.output_words, Own.TARGET: target}  # fmt: skip
        m.d.sync += self.clear.eq(0)
        with m.If(done):
            m.d.sync += [answer.refused.eq(~allowed), answer.data.eq(0)]
            with m.If(allowed & at_engine):
                m.d.sync += answer.data.eq(Mux(upper, *map(halves.get, reversed(halves))))
            for own, value in values.items():
                with m.If(access.place == own // WORD_BYTES):
                    m.d.sync += answer.data.eq(value)
            with m.If(allowed & at_data & ~upper):
                m.d.sync += target.address.eq(target.address + 1)
        with m.If(done & allowed & access.write):
            for own, register in written.items():
                with m.If(access.place == own // WORD_BYTES):
                    m.d.sync += Value.cast(register).eq(access.data)
            with m.If((at_data | at_engine) & upper):
                m.d.sync += upper_write.eq(access.data)
        return m

    def _constants(self) -> dict[Own, Any]:
        config, word = self._config, (1 << WORD) - 1
        numbers = {
            Own.VERSION: book.MAGIC << 16 | book.MAP_VERSION,
            Own.LANES: config.lanes,
            Own.DRAINS: config.drains,
            Own.WORD: config.word,
            Own.IDENTITY_LOW: self._identity & word,
            Own.IDENTITY_HIGH: self._identity >> WORD,
        }
        return {own: Const(number, WORD) for own, number in numbers.items()}
