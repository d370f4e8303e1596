"""How a link takes numbers from a packet and gives those of its reply: one digit a byte."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value

from echoloom.hdl.commands import ERROR, REPLY, Fault
from echoloom.hdl.numbers import DIGIT_BITS, DIGITS
from echoloom.hdl.packets import PacketReader, PacketWriter


class Numbers:
    """The number that comes or goes, and the states of a link's FSM that move it.

    `word` is that number; `order` its place in the packet, 3 for all that follow; `taken` how many
    of the packet have come. One of the `answers` is ored into the word when `fetch` is high, chosen
    by `pick` a cycle before: that is how it takes few LUTs. `fault` says why a packet is refused.
    """

    def __init__(self, m: Module, reader: PacketReader, writer: PacketWriter) -> None:
        self._reader, self._writer = reader, writer
        self.word = Signal(DIGITS * DIGIT_BITS, name="word")
        self._digit = Signal(range(DIGITS + 1), name="digit")
        self._shift = Signal(name="shift")
        self._entering = Signal(DIGIT_BITS, name="entering")
        self.fetch = Signal(name="fetch")
        self.order = Signal(2, name="order")
        self.taken = Signal(8, name="taken")
        self._last = Signal(name="last")  # the digit that goes is its number's last
        self.fault = Signal(Fault, name="fault")
        self._byte = Signal.like(reader.byte, reset_less=True, name="byte")
        packet = reader.packet.payload
        m.d.sync += self._byte.eq(reader.byte)
        m.d.comb += [
            writer.payload.payload.eq(Cat(self.word[:DIGIT_BITS], ~self._last)),
            writer.header.payload.code.eq(packet.code | REPLY),
            writer.header.payload.sequence.eq(packet.sequence),
            self._entering.eq(self.word[-1].replicate(DIGIT_BITS)),
        ]

    def moved(self, m: Module, answers: tuple[Value, ...]) -> Signal:
        """What the word becomes next; the signal that picks one of the answers."""
        pick = Signal(len(answers), name="pick")
        chosen = [
            Mux(pick[at], _extended(answer, len(self.word)), 0) for at, answer in enumerate(answers)
        ]
        with m.If(self.fetch):
            m.d.sync += self.word.eq(reduce(or_, chosen))
        with m.If(self._shift):
            m.d.sync += self.word.eq(Cat(self.word[DIGIT_BITS:], self._entering))
        return pick

    def begin(self, m: Module) -> None:
        """Before the first number of a packet."""
        m.d.sync += [self._reader.index.eq(0), self._digit.eq(0), self.order.eq(0)]
        m.d.sync += self.taken.eq(0)

    def take(self, m: Module) -> None:
        """From GATHER to NUMBER, where the number is there.

        The reader's memory answers a cycle after its index is set, and into a register of its own,
        because a memory is slow: three cycles a byte. Digits enter at the top, and after the last
        one its sign, until the first is at the bottom.
        """
        with m.State("GATHER"):
            m.next = "READ BYTE"
        with m.State("READ BYTE"):
            m.next = "TAKE BYTE"
        with m.State("TAKE BYTE"):
            m.d.comb += [self._shift.eq(1), self._entering.eq(self._byte)]
            m.d.sync += self._reader.index.eq(self._reader.index + 1)
            m.d.sync += self._digit.eq(self._digit + 1)
            m.next = "GATHER"
            with m.If(~self._byte[-1]):
                m.d.sync += self.taken.eq(self.taken + 1)
                m.next = "FILL"
        with m.State("FILL"):
            m.d.sync += self._digit.eq(self._digit + 1)
            with m.If(self._digit == DIGITS):
                m.d.sync += self._digit.eq(0)
                m.next = "NUMBER"
            with m.Else():
                m.d.comb += self._shift.eq(1)

    def give(self, m: Module) -> None:
        """From JUDGE to NEXT, where the number is in the reply."""
        with m.State("JUDGE"):
            rest = self.word[DIGIT_BITS - 1 : -1]
            m.d.sync += self._last.eq(rest == self.word[-1].replicate(len(rest)))
            m.next = "EMIT"
        with m.State("EMIT"):
            m.d.comb += self._writer.payload.valid.eq(1)
            with m.If(self._writer.payload.ready):
                m.d.comb += self._shift.eq(1)
                m.next = "JUDGE"
                with m.If(self._last):
                    m.next = "NEXT"

    def end(self, m: Module) -> None:
        """From REPLY, or FAULT, to IDLE: the reply is whole, and its packet done with."""
        header, payload = self._writer.header, self._writer.payload
        with m.State("REPLY"):
            m.d.comb += header.valid.eq(1)
            with m.If(header.ready):
                m.next = "DONE"

        with m.State("FAULT"):
            m.d.comb += [payload.valid.eq(1), payload.payload.eq(self.fault)]
            with m.If(payload.ready):
                m.next = "REFUSE"
        with m.State("REFUSE"):
            m.d.comb += [header.valid.eq(1), header.payload.code.eq(ERROR)]
            with m.If(header.ready):
                m.next = "DONE"
        with m.State("DONE"):
            m.d.comb += self._reader.packet.ready.eq(1)
            m.next = "IDLE"


def _extended(value: Any, bits: int) -> Value:
    """A number in so many bits."""
    sign = value[-1] if value.shape().signed else Const(0)
    return Cat(value, sign.replicate(bits - len(value)))
