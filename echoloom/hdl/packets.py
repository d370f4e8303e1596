"""Packets on a byte stream: how a message is found again after garbage.

    sync 0xA5 | code | sequence | length | payload, length bytes | CRC, 4 bytes, low first

The sequence is the host's: a reply has that of its packet, so that one which comes late is not
taken for the next one's. The CRC is CRC-32/ISO-HDLC (that of zip files) over code, sequence, length
and payload: a packet that lost or gained a byte looks whole once in 2**32 times. Bytes before a
sync are ignored. A packet whose CRC is wrong is still delivered, marked as such, so that it gets an
answer; after `FLUSH` zero bytes a reader is between two packets, whatever it had seen.
"""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

from amaranth.hdl import Module, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.crc import Processor
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out

SYNC = 0xA5
PAYLOAD = 255  # most bytes of payload
START_BYTES = 4  # sync, code, sequence and length
CRC_BYTES = 4
OVERHEAD = START_BYTES + CRC_BYTES  # bytes of a packet beside its payload
SEQUENCES = 256
FLUSH = PAYLOAD + OVERHEAD

HEADER = data.StructLayout({"code": 8, "sequence": 8, "length": 8})
ARRIVAL = data.StructLayout({"code": 8, "sequence": 8, "length": 8, "intact": 1})


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

    Ports: `data`, received bytes; `packet`, the one that is held; `byte`, the payload's byte
    that `index` named one clock cycle earlier.
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
        m.submodules.payload = payload = memory.Memory(shape=8, depth=PAYLOAD + 1, init=[])
        write, read = payload.write_port(), payload.read_port()
        m.submodules.crc = crc = Processor(CRC32_ISO_HDLC(data_width=8))
        code, sequence, length, count = Signal(8), Signal(8), Signal(8), Signal(8)
        checked = Signal(range(CRC_BYTES))
        taken = Signal()

        m.d.comb += [
            taken.eq(self.data.valid & self.data.ready),
            crc.data.eq(self.data.payload),
            write.addr.eq(count),
            write.data.eq(self.data.payload),
            read.addr.eq(self.index),
            self.byte.eq(read.data),
            self.packet.payload.code.eq(code),
            self.packet.payload.sequence.eq(sequence),
            self.packet.payload.length.eq(length),
            self.packet.payload.intact.eq(crc.match_detected),
        ]
        with m.FSM() as fsm:
            m.d.comb += self.data.ready.eq(~fsm.ongoing("HOLD"))
            m.d.comb += crc.start.eq(fsm.ongoing("SYNC"))
            m.d.comb += crc.valid.eq(taken & ~fsm.ongoing("SYNC"))
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
                m.next = "PAYLOAD"
                with m.If(self.data.payload == 0):
                    m.next = "CRC"
            with m.State("PAYLOAD"):
                m.d.comb += write.en.eq(taken)
                with m.If(taken):
                    m.d.sync += count.eq(count + 1)
                    with m.If(count == length - 1):
                        m.next = "CRC"
            with m.State("CRC"), m.If(taken):
                m.d.sync += checked.eq(checked + 1)
                with m.If(checked == CRC_BYTES - 1):
                    m.next = "HOLD"
            with m.State("HOLD"):
                m.d.comb += self.packet.valid.eq(1)
                with m.If(self.packet.ready):
                    m.next = "SYNC"
        return m


class PacketWriter(wiring.Component):
    """Sends a packet: the header is taken first, then as many payload bytes as it announces.

    Ports: `header`, code and length of the packet; `payload`, its bytes; `data`, bytes to send.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "header": In(stream.Signature(HEADER)),
                "payload": In(stream.Signature(8)),
                "data": Out(stream.Signature(8)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.crc = crc = Processor(CRC32_ISO_HDLC(data_width=8))
        code, sequence, length, left = Signal(8), Signal(8), Signal(8), Signal(8)
        check = Signal(range(CRC_BYTES))
        sent, covered = Signal(), Signal()
        m.d.comb += [
            sent.eq(self.data.valid & self.data.ready),
            crc.data.eq(self.data.payload),
            crc.valid.eq(sent & covered),
        ]

        def offer(byte: Any) -> None:
            m.d.comb += self.data.valid.eq(1)
            m.d.comb += self.data.payload.eq(byte)

        with m.FSM():
            with m.State("HEADER"):
                m.d.comb += self.header.ready.eq(1)
                m.d.comb += crc.start.eq(1)
                m.d.sync += [code.eq(self.header.payload.code), check.eq(0)]
                m.d.sync += sequence.eq(self.header.payload.sequence)
                m.d.sync += length.eq(self.header.payload.length)
                with m.If(self.header.valid):
                    m.next = "SYNC"
            with m.State("SYNC"):
                offer(SYNC)
                with m.If(sent):
                    m.next = "CODE"
            with m.State("CODE"):
                offer(code)
                m.d.comb += covered.eq(1)
                with m.If(sent):
                    m.next = "SEQUENCE"
            with m.State("SEQUENCE"):
                offer(sequence)
                m.d.comb += covered.eq(1)
                with m.If(sent):
                    m.next = "LENGTH"
            with m.State("LENGTH"):
                offer(length)
                m.d.comb += covered.eq(1)
                m.d.sync += left.eq(length)
                with m.If(sent):
                    m.next = "PAYLOAD"
                    with m.If(length == 0):
                        m.next = "CRC"
            with m.State("PAYLOAD"):
                m.d.comb += covered.eq(1)
                m.d.comb += self.data.valid.eq(self.payload.valid)
                m.d.comb += self.data.payload.eq(self.payload.payload)
                m.d.comb += self.payload.ready.eq(self.data.ready)
                with m.If(sent):
                    m.d.sync += left.eq(left - 1)
                    with m.If(left == 1):
                        m.next = "CRC"
            with m.State("CRC"):
                offer(crc.crc.word_select(check, 8))
                with m.If(sent):
                    m.d.sync += check.eq(check + 1)
                    with m.If(check == CRC_BYTES - 1):
                        m.next = "HEADER"
        return m


def _crc(body: bytes) -> bytes:
    return zlib.crc32(body).to_bytes(CRC_BYTES, "little")
