"""A UART: 8 data bits, least significant first, no parity, one stop bit.

`frame_bits` and `sample_points` are the golden twin: what is on the line, and when the
receiver looks at it.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

FRAME_BITS = 10  # start, eight data, stop


def frame_bits(byte: int) -> list[int]:
    """The line's levels for one byte, one per bit time, in order of time."""
    return [0, *(byte >> i & 1 for i in range(8)), 1]


def sample_points(divisor: int) -> list[int]:
    """Clock cycles from the first low cycle to each look at the line: the middles of the bits."""
    return [divisor // 2 + i * divisor for i in range(FRAME_BITS)]


def divisor_for(clock_hz: float, baud: int) -> int:
    """Clock cycles per bit.

    Raises ValueError when the nearest whole number is more than 2 % off: over ten bits the
    receiver would look beside the bit's middle by more than a fifth of it.
    """
    divisor = round(clock_hz / baud)
    if divisor < 4 or abs(clock_hz / divisor - baud) > 0.02 * baud:
        raise ValueError(f"a {clock_hz / 1e6:g} MHz clock cannot make {baud} baud")
    return divisor


class UartTransmitter(wiring.Component):
    """Sends the bytes of a stream.

    Parameters: `divisor`, clock cycles per bit.
    Ports: `data`, bytes to send; `line`, the serial output, high when idle.
    """

    def __init__(self, divisor: int) -> None:
        self._divisor = divisor
        super().__init__({"data": In(stream.Signature(8)), "line": Out(1, init=1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = Signal(FRAME_BITS, init=-1)
        left = Signal(range(FRAME_BITS + 1))
        timer = Signal(range(self._divisor))

        m.d.comb += self.data.ready.eq(left == 0)
        m.d.sync += self.line.eq(bits[0])
        with m.If(left == 0):
            with m.If(self.data.valid):
                m.d.sync += bits[0].eq(0)
                m.d.sync += bits[1:9].eq(self.data.payload)
                m.d.sync += bits[9].eq(1)
                m.d.sync += left.eq(FRAME_BITS)
                m.d.sync += timer.eq(self._divisor - 1)
        with m.Elif(timer == 0):
            m.d.sync += bits.eq(bits[1:] | 1 << FRAME_BITS - 1)
            m.d.sync += left.eq(left - 1)
            m.d.sync += timer.eq(self._divisor - 1)
        with m.Else():
            m.d.sync += timer.eq(timer - 1)
        return m


class UartReceiver(wiring.Component):
    """Receives bytes into a stream; one byte is held until it is taken.

    A byte with a low stop bit is dropped, and so is one that arrives before the last was taken:
    the consumer must be quicker than the line. After a low stop bit the receiver waits for the
    idle level; if the data bits were low too, `broken` is high meanwhile: the sender's break,
    which it uses as a reset.

    Parameters: `divisor`, clock cycles per bit.
    Ports: `line`, the asynchronous serial input; `data`, received bytes; `broken`.
    """

    def __init__(self, divisor: int) -> None:
        self._divisor = divisor
        super().__init__(
            {"line": In(1, init=1), "data": Out(stream.Signature(8)), "broken": Out(1)}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        line = Signal(init=1)
        m.submodules.synchronizer = FFSynchronizer(self.line, line, init=1)
        bits = Signal(8)
        count = Signal(range(FRAME_BITS))
        timer = Signal(range(self._divisor))

        with m.If(self.data.ready):
            m.d.sync += self.data.valid.eq(0)

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += timer.eq(self._divisor // 2 - 1)
                m.d.sync += count.eq(0)
                with m.If(~line):
                    m.next = "BIT"
            with m.State("BIT"):
                m.d.sync += timer.eq(timer - 1)
                with m.If(timer == 0):
                    m.d.sync += timer.eq(self._divisor - 1)
                    m.d.sync += count.eq(count + 1)
                    with m.If(count < FRAME_BITS - 1):
                        m.d.sync += bits.eq(Cat(bits[1:], line))
                        with m.If((count == 0) & line):
                            m.next = "IDLE"  # a glitch, not a start bit
                    with m.Elif(line):
                        with m.If(~self.data.valid):
                            m.d.sync += self.data.payload.eq(bits)
                            m.d.sync += self.data.valid.eq(1)
                        m.next = "IDLE"
                    with m.Else():
                        m.next = "LOW"
            with m.State("LOW"):
                m.d.comb += self.broken.eq((bits == 0) & ~line)
                with m.If(line):
                    m.next = "IDLE"
        return m
