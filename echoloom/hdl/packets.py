"""Packets on a byte stream: how a message is found again after garbage.

    sync 0xA5 | code | sequence | length | payload, length bytes | CRC, 4 bytes, low first

The payload is made of numbers (`hdl.numbers`), as many as there are.

The sequence is the host's: a reply has that of its packet, so that one which comes late is not
taken for the next one's. The CRC is CRC-32/ISO-HDLC (that of zip files) over code, sequence, length
and payload: a packet that lost or gained a byte looks whole once in 2**32 times. Bytes before a
sync are ignored. A packet whose CRC is wrong is still delivered, marked as such, so that it gets an
answer; after `FLUSH` zero bytes a reader is between two packets, whatever it had seen.
"""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from echoloom.hdl.checker import CRC_BYTES, Checker
from echoloom.hdl.numbers import DIGITS, MORE
from echoloom.hdl.pipeline import memory

SYNC = 0xA5
PAYLOAD = 255  # most bytes of payload
START_BYTES = 4  # sync, code, sequence and length
OVERHEAD = START_BYTES + CRC_BYTES  # bytes of a packet beside its payload
SEQUENCES = 256
FLUSH = PAYLOAD + OVERHEAD

HEADER_BYTES = 3  # code, sequence and length: what stands before the payload in a buffer

HEADER = data.StructLayout({"code": 8, "sequence": 8})
# `numbers` counts those of the payload, all of which are complete if it is `whole`.
ARRIVAL = data.StructLayout({"code": 8, "sequence": 8, "numbers": 8, "whole": 1, "intact": 1})


class Packet(NamedTuple):
    """A packet that was found: the golden twin of ARRIVAL."""

    code: int
    sequence: int
    payload: bytes
    intact: bool


def encode(code: int, payload: bytes = b"", sequence: int = 0) -> bytes:
    """The bytes of one packet: the golden twin of `PacketWriter`.

    Raises ValueError if the payload is longer than PAYLOAD.
    """
    if len(payload) > PAYLOAD:
        raise ValueError(f"a packet carries {PAYLOAD} bytes at most, got {len(payload)}")
    body = bytes([code, sequence, len(payload)]) + payload
    return bytes([SYNC]) + body + _crc(body)


class PacketDecoder:
    """Finds packets in bytes that arrive in pieces: the golden twin of `PacketReader`."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, received: bytes) -> list[Packet]:
        """Take more bytes; the packets that they complete."""
        self._pending += received
        found = []
        while (start := self._pending.find(SYNC)) >= 0:
            del self._pending[:start]
            if self.missing:
                return found
            end = self._pending[START_BYTES - 1] + OVERHEAD
            body = bytes(self._pending[1 : end - CRC_BYTES])
            intact = bytes(self._pending[end - CRC_BYTES : end]) == _crc(body)
            found.append(Packet(body[0], body[1], body[START_BYTES - 1 :], intact))
            del self._pending[:end]
        self._pending.clear()
        return found

    @property
    def missing(self) -> int:
        """Bytes, at least, until there is another packet."""
        whole = OVERHEAD
        if len(self._pending) >= START_BYTES:
            whole += self._pending[START_BYTES - 1]
        return max(0, whole - len(self._pending))


class PacketReader(wiring.Component):
    """Collects one packet, then holds it until `packet` is taken; meanwhile no byte is accepted.

    Ports: `data`, received bytes, of which one is taken in nine clock cycles; `packet`, the one
    that is held; `byte`, the payload's byte that `index` named one clock cycle earlier.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "data": In(stream.Signature(8)),
                "packet": Out(stream.Signature(ARRIVAL)),
                "index": In(8),
                "byte": Out(8),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.payload = payload = memory(8, PAYLOAD + 1)
        write, read = payload.write_port(), payload.read_port()
        m.submodules.crc = crc = Checker()
        code, sequence, length, count = Signal(8), Signal(8), Signal(8), Signal(8)
        numbers, digits = Signal(8), Signal(range(DIGITS + 1))  # complete; and of the next one
        overlong = Signal()
        checked = Signal(range(CRC_BYTES))
        taken = Signal()

        m.d.comb += [
            taken.eq(self.data.valid & self.data.ready),
            crc.data.payload.eq(self.data.payload),
            write.addr.eq(count),
            write.data.eq(self.data.payload),
            read.addr.eq(self.index),
            self.byte.eq(read.data),
            self.packet.payload.code.eq(code),
            self.packet.payload.sequence.eq(sequence),
            self.packet.payload.numbers.eq(numbers),
            self.packet.payload.whole.eq((digits == 0) & ~overlong),
            self.packet.payload.intact.eq(crc.match),
        ]
        with m.FSM() as fsm:
            m.d.comb += self.data.ready.eq(~fsm.ongoing("HOLD") & crc.data.ready)
            m.d.comb += crc.start.eq(fsm.ongoing("SYNC"))
            m.d.comb += crc.data.valid.eq(taken & ~fsm.ongoing("SYNC"))
            with m.State("SYNC"), m.If(taken & (self.data.payload == SYNC)):
                m.next = "CODE"
            with m.State("CODE"), m.If(taken):
                m.d.sync += code.eq(self.data.payload)
                m.next = "SEQUENCE"
            with m.State("SEQUENCE"), m.If(taken):
                m.d.sync += sequence.eq(self.data.payload)
                m.next = "LENGTH"
            with m.State("LENGTH"), m.If(taken):
                m.d.sync += length.eq(self.data.payload)
                m.d.sync += [count.eq(0), checked.eq(0)]
                m.d.sync += [numbers.eq(0), digits.eq(0), overlong.eq(0)]
                m.next = "PAYLOAD"
                with m.If(self.data.payload == 0):
                    m.next = "CRC"
            with m.State("PAYLOAD"):
                m.d.comb += write.en.eq(taken)
                with m.If(taken):
                    m.d.sync += count.eq(count + 1)
                    with m.If(self.data.payload < MORE):
                        m.d.sync += [numbers.eq(numbers + 1), digits.eq(0)]
                    with m.Elif(digits == DIGITS - 1):
                        m.d.sync += overlong.eq(1)
                    with m.Else():
                        m.d.sync += digits.eq(digits + 1)
                    with m.If(count == length - 1):
                        m.next = "CRC"
            with m.State("CRC"), m.If(taken):
                m.d.sync += checked.eq(checked + 1)
                with m.If(checked == CRC_BYTES - 1):
                    m.next = "HOLD"
            with m.State("HOLD"):
                m.d.comb += self.packet.valid.eq(crc.data.ready)
                with m.If(self.packet.valid & self.packet.ready):
                    m.next = "SYNC"
        return m


class PacketWriter(wiring.Component):
    """Keeps packets and sends them one after another.

    A packet's payload is taken first, byte by byte, PAYLOAD at most, then its header, which ends
    it. Whole packets wait in a ring until they are sent; a payload's byte, or a header, is not
    taken while there is no room for it.

    Parameters: `size` of the ring in bytes, a power of two with room for any packet.
    Ports: `payload` and `header`; `data`, bytes to send, nine clock cycles or more apart.

    Raises ValueError for a `size` that cannot be.
    """

    def __init__(self, size: int) -> None:
        if size <= PAYLOAD + HEADER_BYTES or size & (size - 1):
            raise ValueError(f"a ring of packets has 512, 1024 ... bytes, not {size}")
        self._size = size
        super().__init__(
            {
                "header": In(stream.Signature(HEADER)),
                "payload": In(stream.Signature(8)),
                "data": Out(stream.Signature(8)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.ring = ring = memory(8, self._size)
        write, read = ring.write_port(), ring.read_port()
        # Of the packet that is being gathered: where its header goes when it is there. It moves on
        # while that is written, but the sender never comes so far so soon.
        begin = Signal(range(self._size))
        reached = Signal.like(begin)  # of what has been sent
        m.d.comb += read.addr.eq(reached)
        self._gather(m, write, begin, reached)
        self._send(m, read.data, begin, reached)
        return m

    def _gather(self, m: Module, write: Any, begin: Signal, reached: Signal) -> None:
        at = Signal.like(begin, init=HEADER_BYTES)  # where the next byte of the payload goes
        after = Signal.like(at, init=HEADER_BYTES + 1)
        count, reserved, room = Signal(8), Signal(range(HEADER_BYTES + 1)), Signal()
        header = Signal(HEADER)
        m.d.comb += room.eq(after != reached)

        def advance() -> None:
            m.d.sync += [at.eq(after), after.eq(after + 1)]

        with m.FSM():
            with m.State("PAYLOAD"):
                m.d.comb += [self.payload.ready.eq(room), self.header.ready.eq(1)]
                m.d.comb += [write.addr.eq(at), write.data.eq(self.payload.payload)]
                m.d.sync += header.eq(self.header.payload)
                with m.If(self.payload.valid & room):
                    m.d.comb += write.en.eq(1)
                    m.d.sync += count.eq(count + 1)
                    advance()
                with m.Elif(self.header.valid & ~self.payload.valid):
                    m.next = "CODE"
            for state, byte, following in (
                ("CODE", header.code, "SEQUENCE"),
                ("SEQUENCE", header.sequence, "LENGTH"),
                ("LENGTH", count, "RESERVE"),
            ):
                with m.State(state):
                    m.d.comb += [write.addr.eq(begin), write.data.eq(byte), write.en.eq(1)]
                    m.d.sync += begin.eq(begin + 1)
                    m.next = following
            with m.State("RESERVE"):  # the header of the next one
                m.d.sync += [begin.eq(Mux(reserved == 0, at, begin)), count.eq(0)]
                with m.If(room):
                    m.d.sync += reserved.eq(reserved + 1)
                    advance()
                    with m.If(reserved == HEADER_BYTES - 1):
                        m.d.sync += reserved.eq(0)
                        m.next = "PAYLOAD"

    def _send(self, m: Module, stored: Any, begin: Signal, reached: Signal) -> None:
        m.submodules.crc = crc = Checker()
        byte = Signal(8, reset_less=True)
        place = Signal(range(HEADER_BYTES + 1))  # in the header, or behind it
        left, check = Signal(8), Signal(range(CRC_BYTES))
        sent = Signal()
        m.d.comb += [sent.eq(self.data.valid & self.data.ready), crc.data.payload.eq(byte)]

        def offer(what: Any) -> None:
            m.d.comb += self.data.valid.eq(1)
            m.d.comb += self.data.payload.eq(what)

        with m.FSM():
            with m.State("SYNC"):
                m.d.comb += crc.start.eq(1)
                m.d.sync += [place.eq(0), check.eq(0)]
                with m.If(reached != begin):
                    offer(SYNC)
                    with m.If(sent):
                        m.next = "FETCH"
            with m.State("FETCH"):  # the memory answers a cycle later, and into a register
                m.next = "LOAD"
            with m.State("LOAD"):
                m.d.sync += byte.eq(stored)
                m.next = "BYTE"
            with m.State("BYTE"):
                with m.If(crc.data.ready):
                    offer(byte)
                m.d.comb += crc.data.valid.eq(sent)
                with m.If(sent):
                    m.d.sync += [reached.eq(reached + 1), left.eq(left - 1)]
                    m.next = "FETCH"
                    with m.If(place != HEADER_BYTES):
                        m.d.sync += place.eq(place + 1)
                    with m.If(place == HEADER_BYTES - 1):
                        m.d.sync += left.eq(byte)
                        with m.If(byte == 0):
                            m.next = "CRC"
                    with m.Elif((place == HEADER_BYTES) & (left == 1)):
                        m.next = "CRC"
            with m.State("CRC"):
                with m.If(crc.data.ready):
                    offer(crc.crc.word_select(check, 8))
                with m.If(sent):
                    m.d.sync += check.eq(check + 1)
                    with m.If(check == CRC_BYTES - 1):
                        m.next = "SYNC"


def _crc(body: bytes) -> bytes:
    return zlib.crc32(body).to_bytes(CRC_BYTES, "little")
