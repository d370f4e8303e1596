"""Packets on a byte stream: how a message is found again after garbage.

    sync 0xA5 | code | length | payload, `length` bytes | CRC, most significant byte first

The CRC is CRC-16/IBM-3740 over code, length and payload. Bytes before a sync are ignored. A
packet whose CRC is wrong is still delivered, marked as such, so that it gets an answer; after
`FLUSH` zero bytes a reader is between two packets, whatever it had seen.
"""

from __future__ import annotations

import binascii
from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.crc import Processor
from amaranth.lib.crc.catalog import CRC16_IBM_3740
from amaranth.lib.wiring import In, Out

SYNC = 0xA5
PAYLOAD = 255  # most bytes of payload
OVERHEAD = 5  # bytes of a packet beside its payload
FLUSH = PAYLOAD + OVERHEAD

HEADER = data.StructLayout({"code": 8, "length": 8})
ARRIVAL = data.StructLayout({"code": 8, "length": 8, "intact": 1})


def encode(code: int, payload: bytes = b"") -> bytes:
    """The bytes of one packet: the golden twin of `PacketWriter`.

    Raises ValueError if the payload is longer than PAYLOAD.
    """
    if len(payload) > PAYLOAD:
        raise ValueError(f"a packet carries {PAYLOAD} bytes at most, got {len(payload)}")
    body = bytes([code, len(payload)]) + payload
    return bytes([SYNC]) + body + _crc(body)


class PacketDecoder:
    """Finds packets in bytes that arrive in pieces: the golden twin of `PacketReader`."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, received: bytes) -> list[tuple[int, bytes, bool]]:
        """Take more bytes; the packets that they complete, as (code, payload, intact)."""
        self._pending += received
        found = []
        while (start := self._pending.find(SYNC)) >= 0:
            del self._pending[:start]
            if len(self._pending) < 3 or len(self._pending) < self._pending[2] + OVERHEAD:
                return found
            end = self._pending[2] + OVERHEAD
            body, crc = bytes(self._pending[1 : end - 2]), self._pending[end - 2 : end]
            found.append((body[0], body[2:], crc == _crc(body)))
            del self._pending[:end]
        self._pending.clear()
        return found


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
        m.submodules.crc = crc = Processor(CRC16_IBM_3740(data_width=8))
        code, length, count = Signal(8), Signal(8), Signal(8)
        taken = Signal()

        m.d.comb += [
            taken.eq(self.data.valid & self.data.ready),
            crc.data.eq(self.data.payload),
            write.addr.eq(count),
            write.data.eq(self.data.payload),
            read.addr.eq(self.index),
            self.byte.eq(read.data),
            self.packet.payload.code.eq(code),
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
                m.next = "LENGTH"
            with m.State("LENGTH"), m.If(taken):
                m.d.sync += length.eq(self.data.payload)
                m.d.sync += count.eq(0)
                m.next = "PAYLOAD"
                with m.If(self.data.payload == 0):
                    m.next = "CRC HIGH"
            with m.State("PAYLOAD"):
                m.d.comb += write.en.eq(taken)
                with m.If(taken):
                    m.d.sync += count.eq(count + 1)
                    with m.If(count == length - 1):
                        m.next = "CRC HIGH"
            with m.State("CRC HIGH"), m.If(taken):
                m.next = "CRC LOW"
            with m.State("CRC LOW"), m.If(taken):
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
        m.submodules.crc = crc = Processor(CRC16_IBM_3740(data_width=8))
        code, length, left = Signal(8), Signal(8), Signal(8)
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
                m.d.sync += code.eq(self.header.payload.code)
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
                    m.next = "LENGTH"
            with m.State("LENGTH"):
                offer(length)
                m.d.comb += covered.eq(1)
                m.d.sync += left.eq(length)
                with m.If(sent):
                    m.next = "PAYLOAD"
                    with m.If(length == 0):
                        m.next = "CRC HIGH"
            with m.State("PAYLOAD"):
                m.d.comb += covered.eq(1)
                m.d.comb += self.data.valid.eq(self.payload.valid)
                m.d.comb += self.data.payload.eq(self.payload.payload)
                m.d.comb += self.payload.ready.eq(self.data.ready)
                with m.If(sent):
                    m.d.sync += left.eq(left - 1)
                    with m.If(left == 1):
                        m.next = "CRC HIGH"
            with m.State("CRC HIGH"):
                offer(crc.crc[8:])
                with m.If(sent):
                    m.next = "CRC LOW"
            with m.State("CRC LOW"):
                offer(crc.crc[:8])
                with m.If(sent):
                    m.next = "HEADER"
        return m


def _crc(body: bytes) -> bytes:
    return binascii.crc_hqx(body, 0xFFFF).to_bytes(2, "big")
