"""A UART: 8 data bits, least significant first, no parity, one stop bit.

`frame_bits`, `bit_ends` and `sample_points` are the golden twin: what is on the line, until when,
and when the receiver looks at it.
"""

from __future__ import annotations

from fractions import Fraction

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

FRAME_BITS = 10  # start, eight data, stop
PARTS = 8  # of a clock cycle, at most, that a bit's length is a multiple of


def frame_bits(byte: int) -> list[int]:
    """The line's levels for one byte, one per bit time, in order of time."""
    return [0, *(byte >> i & 1 for i in range(8)), 1]


def sample_points(divisor: Fraction | int) -> list[int]:
    """Clock cycles from the first low cycle to each look at the line: the middles of the bits."""
    whole, parts = divisor.as_integer_ratio()
    return [(whole // 2 + i * whole) // parts for i in range(FRAME_BITS)]


def bit_ends(divisor: Fraction | int) -> list[int]:
    """Clock cycles from a byte's start to the end of each bit of the transmitter's."""
    whole, parts = divisor.as_integer_ratio()
    return [i * whole // parts for i in range(1, FRAME_BITS + 1)]


def divisor_for(clock_hz: float, baud: int) -> Fraction:
    """Clock cycles per bit, on average: some bits may be a cycle longer than others.

    Raises ValueError for less than 4, and when the nearest fraction with at most PARTS as its
    denominator is more than 2 % off: over ten bits the receiver would look beside the bit's middle
    by more than a fifth of it.
    """
    if 1 <= baud <= clock_hz:
        divisor = Fraction(clock_hz / baud).limit_denominator(PARTS)
        if divisor >= 4 and abs(clock_hz / float(divisor) - baud) <= 0.02 * baud:
            return divisor
    raise ValueError(f"a {clock_hz / 1e6:g} MHz clock cannot make {baud} baud")


class _Timer:
    """Counts the cycles of bits: `rings` in the last one of each."""

    def __init__(self, m: Module, divisor: Fraction | int) -> None:
        self._m = m
        self._whole, self._parts = divisor.as_integer_ratio()
        self._left = Signal(range(self._whole))  # parts of cycles, until the end
        self.rings = self._left < self._parts

    def start(self, whole: int | None = None) -> None:
        """In this cycle begins a bit, or one of so many parts of cycles."""
        self._m.d.sync += self._left.eq((self._whole if whole is None else whole) - self._parts)

    def run(self) -> None:
        """A cycle of bits that follow one another."""
        more = Mux(self.rings, self._whole - self._parts, -self._parts)
        self._m.d.sync += self._left.eq(self._left + more)

    @property
    def half(self) -> int:
        """The parts of cycles to a bit's middle."""
        return self._whole // 2


class UartTransmitter(wiring.Component):
    """Sends the bytes of a stream.

    Parameters: `divisor`, clock cycles per bit.
    Ports: `data`, bytes to send; `line`, the serial output, high when idle.
    """

    def __init__(self, divisor: Fraction | int) -> None:
        self._divisor = divisor
        super().__init__({"data": In(stream.Signature(8)), "line": Out(1, init=1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = Signal(FRAME_BITS, init=-1)
        left = Signal(range(FRAME_BITS + 1))
        timer = _Timer(m, self._divisor)

        m.d.comb += self.data.ready.eq(left == 0)
        m.d.sync += self.line.eq(bits[0])
        with m.If(left == 0):
            with m.If(self.data.valid):
                m.d.sync += bits[0].eq(0)
                m.d.sync += bits[1:9].eq(self.data.payload)
                m.d.sync += bits[9].eq(1)
                m.d.sync += left.eq(FRAME_BITS)
                timer.start()
        with m.Else():
            timer.run()
            with m.If(timer.rings):
                m.d.sync += bits.eq(bits[1:] | 1 << FRAME_BITS - 1)
                m.d.sync += left.eq(left - 1)
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

    def __init__(self, divisor: Fraction | int) -> None:
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
        timer = _Timer(m, self._divisor)

        with m.If(self.data.ready):
            m.d.sync += self.data.valid.eq(0)

        with m.FSM():
            with m.State("IDLE"):
                timer.start(timer.half)
                m.d.sync += count.eq(0)
                with m.If(~line):
                    m.next = "BIT"
            with m.State("BIT"):
                timer.run()
                with m.If(timer.rings):
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
