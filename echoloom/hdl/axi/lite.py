"""An AXI4-Lite subordinate: one access after the other, each with one answer."""

from __future__ import annotations

import enum
from typing import Any

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from echoloom.hdl.axi.register_map import ADDRESS_WIDTH, WORD_BYTES

WORD = 8 * WORD_BYTES
PLACE = ADDRESS_WIDTH - 2  # bits of a register's number
WRITE_WORD = data.StructLayout({"data": WORD, "strobes": WORD_BYTES})
READ_WORD = data.StructLayout({"data": WORD, "response": 2})
ACCESS = data.StructLayout({"write": 1, "place": PLACE, "data": WORD})
ANSWER = data.StructLayout({"data": WORD, "refused": 1})


class Response(enum.IntEnum):
    """AXI's codes, as far as they are given here."""

    OKAY = 0
    SLVERR = 2


class Lite(wiring.Component):
    """Makes accesses to registers of AXI4-Lite's five channels.

    `aw`, `w`, `b`, `ar`, `r` are the channels; `access` asks for register `place` (byte address /
    4; the two bits below are ignored), `answer` is what it says. Reads and writes take turns when
    both wait. A write that does not have all strobes is refused (none: it does nothing), and no
    access is made. No output depends on an input of the same cycle.
    Latency: `access` 2 cycles after the address (and the data) came, the response `after` cycles
    after the answer.
    """

    before, after = 2, 1

    aw: Any
    w: Any
    b: Any
    ar: Any
    r: Any
    access: Any
    answer: Any

    def __init__(self) -> None:
        super().__init__(
            {
                "aw": In(stream.Signature(ADDRESS_WIDTH)),
                "w": In(stream.Signature(WRITE_WORD)),
                "b": Out(stream.Signature(2)),
                "ar": In(stream.Signature(ADDRESS_WIDTH)),
                "r": Out(stream.Signature(READ_WORD)),
                "access": Out(stream.Signature(ACCESS)),
                "answer": In(stream.Signature(ANSWER)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        access, strobes = self.access.payload, self.w.payload.strobes
        wrote = Signal()  # the last access, so that the other kind comes next
        response = Signal(2)
        read = Signal(WORD)
        m.d.comb += [
            self.b.payload.eq(response),
            self.r.payload.data.eq(read),
            self.r.payload.response.eq(response),
        ]
        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.ar.valid & (wrote | ~(self.aw.valid & self.w.valid))):
                    m.next = "READ"
                with m.Elif(self.aw.valid & self.w.valid):
                    m.next = "WRITE"
            with m.State("READ"):
                m.d.comb += self.ar.ready.eq(1)
                m.d.sync += [Cat(access.write, wrote).eq(0), access.place.eq(self.ar.payload[2:])]
                m.next = "ACCESS"
            with m.State("WRITE"):
                m.d.comb += [self.aw.ready.eq(1), self.w.ready.eq(1)]
                m.d.sync += [
                    Cat(access.write, wrote).eq(0b11),
                    access.place.eq(self.aw.payload[2:]),
                    access.data.eq(self.w.payload.data),
                    response.eq(Response.OKAY),
                ]
                m.next = "ACCESS"
                with m.If(~strobes.all()):
                    with m.If(strobes.any()):
                        m.d.sync += response.eq(Response.SLVERR)
                    m.next = "RESPONSE"
            with m.State("ACCESS"):
                m.d.comb += self.access.valid.eq(1)
                with m.If(self.access.ready):
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += self.answer.ready.eq(1)
                m.d.sync += read.eq(self.answer.payload.data)
                with m.If(self.answer.payload.refused):
                    m.d.sync += response.eq(Response.SLVERR)
                with m.Else():
                    m.d.sync += response.eq(Response.OKAY)
                with m.If(self.answer.valid):
                    m.next = "RESPONSE"
            with m.State("RESPONSE"):
                m.d.comb += [self.b.valid.eq(access.write), self.r.valid.eq(~access.write)]
                with m.If((self.b.ready & access.write) | (self.r.ready & ~access.write)):
                    m.next = "IDLE"
        return m
