"""The check of a packet, CRC-32/ISO-HDLC (that of zip files); `zlib.crc32` is the golden twin."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.crc import Processor
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out

CRC_BYTES = 4


class Checker(wiring.Component):
    """The CRC of bytes, a bit in a clock cycle: a line is slower, and logic is dear.

    Ports: `data`, ready again eight cycles after a byte; then `crc` is that of all bytes since
    `start`, and `match` says whether they end with their own CRC.
    """

    data: Any
    start: Signal
    crc: Signal
    match: Signal

    def __init__(self) -> None:
        super().__init__(
            {
                "data": In(stream.Signature(8)),
                "start": In(1),
                "crc": Out(8 * CRC_BYTES),
                "match": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.crc = crc = Processor(CRC32_ISO_HDLC(data_width=1))
        bits, left = Signal(8), Signal(range(9))
        m.d.comb += [
            self.data.ready.eq(left == 0),
            crc.start.eq(self.start),
            crc.data.eq(bits),
            crc.valid.eq(left != 0),
            self.crc.eq(crc.crc),
            self.match.eq(crc.match_detected),
        ]
        with m.If(left != 0):
            m.d.sync += [bits.eq(bits >> 1), left.eq(left - 1)]
        with m.Elif(self.data.valid):
            m.d.sync += [bits.eq(self.data.payload), left.eq(8)]
        return m
