"""The UART against its golden twin, in loopback, and on a bad line."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from amaranth.hdl import Module
from amaranth.sim import Simulator

from echoloom.hdl.uart import (
    FRAME_BITS,
    UartReceiver,
    UartTransmitter,
    bit_ends,
    divisor_for,
    frame_bits,
    sample_points,
)

DIVISOR = 5


def simulate(top, *testbenches):
    simulator = Simulator(top)
    simulator.add_clock(1e-6)
    for testbench in testbenches:
        simulator.add_testbench(testbench)
    simulator.run()


def receive(levels, consume=True, divisor=DIVISOR):
    """Put one level per clock on a receiver's line; its bytes and whether it saw a break."""
    receiver = UartReceiver(divisor)
    received, breaks = [], []

    async def bench(ctx):
        ctx.set(receiver.data.ready, consume)
        for level in [*levels, *[1] * 4 * DIVISOR]:
            ctx.set(receiver.line, level)
            await ctx.tick()
            breaks.append(ctx.get(receiver.broken))
            if ctx.get(receiver.data.valid) and consume:
                received.append(ctx.get(receiver.data.payload))

    simulate(receiver, bench)
    return received, any(breaks)


def levels_of(data, divisor=DIVISOR):
    return [level for byte in data for level in frame_bits(byte) for _ in range(divisor)]


def test_transmitter_is_the_golden_twin():
    transmitter = UartTransmitter(DIVISOR)
    data = bytes(range(0, 256, 5)) + b"\xff\x00"
    levels = []

    async def send(ctx):
        for byte in data:
            ctx.set(transmitter.data.payload, byte)
            ctx.set(transmitter.data.valid, 1)
            await ctx.tick().until(transmitter.data.ready)
        ctx.set(transmitter.data.valid, 0)

    async def watch(ctx):
        while ctx.get(transmitter.line):
            await ctx.tick()
        while len(levels) < (FRAME_BITS * DIVISOR + 1) * len(data):
            levels.append(ctx.get(transmitter.line))
            await ctx.tick()

    simulate(transmitter, send, watch)
    # One idle clock lies between two bytes: the cycle in which the next one is taken.
    expected = [level for byte in data for level in [*levels_of([byte]), 1]]
    assert levels == expected


def test_loopback_of_every_byte():
    top = Module()
    top.submodules.tx = transmitter = UartTransmitter(DIVISOR)
    top.submodules.rx = receiver = UartReceiver(DIVISOR)
    top.d.comb += receiver.line.eq(transmitter.line)
    received = []

    async def send(ctx):
        for byte in range(256):
            ctx.set(transmitter.data.payload, byte)
            ctx.set(transmitter.data.valid, 1)
            await ctx.tick().until(transmitter.data.ready)
        ctx.set(transmitter.data.valid, 0)

    async def take(ctx):
        ctx.set(receiver.data.ready, 1)
        for _ in range(256):
            (byte,) = await ctx.tick().sample(receiver.data.payload).until(receiver.data.valid)
            received.append(byte)

    simulate(top, send, take)
    assert received == list(range(256))


@pytest.mark.parametrize("slip", [-1, 1])
def test_receiver_tolerates_a_clock_that_is_off(slip):
    """One clock cycle in 30, 3 %: about two thirds of what a divisor of 5 leaves room for."""
    levels = levels_of(b"\x55\xaa\x00\xff")
    out = []
    for index, level in enumerate(levels):
        out += [level] * (1 + (slip * (index % 30 == 29)))
    assert receive(out)[0] == list(b"\x55\xaa\x00\xff")


def test_sample_points_are_the_middles_of_the_bits():
    """Only the levels at the sample points matter: spoil every other one."""
    byte = 0b0101_1010
    points = set(sample_points(DIVISOR))
    clean = levels_of([byte])
    spoilt = [level if i in points else 1 - level for i, level in enumerate(clean)]
    spoilt[0] = 0  # the edge that starts the frame
    assert receive(spoilt)[0] == [byte]


def test_low_stop_bit_drops_the_byte_and_the_next_one_is_right():
    broken_frame = levels_of(b"\x31")[: -2 * DIVISOR] + [0] * 3 * DIVISOR
    received, broke = receive(broken_frame + [1] * DIVISOR + levels_of(b"\x42"))
    assert received == [0x42]
    assert not broke


def test_break_is_seen_and_gives_no_byte():
    received, broke = receive([0] * 12 * DIVISOR + [1] * DIVISOR + levels_of(b"\x42"))
    assert received == [0x42]
    assert broke


def test_glitch_is_not_a_start_bit():
    assert receive([0] + [1] * DIVISOR + levels_of(b"\x42"))[0] == [0x42]


def test_byte_that_is_not_taken_stays():
    receiver = UartReceiver(DIVISOR)
    held = []

    async def bench(ctx):
        for level in levels_of(b"\x11\x22") + [1] * 10:
            ctx.set(receiver.line, level)
            await ctx.tick()
            if ctx.get(receiver.data.valid):
                held.append(ctx.get(receiver.data.payload))

    simulate(receiver, bench)
    assert set(held) == {0x11}


def lengths(divisor):
    """How long the transmitter makes each bit."""
    ends = bit_ends(divisor)
    return [end - begin for begin, end in pairwise([0, *ends])]


def levels_for(data, divisor):
    """What the transmitter puts on the line, with the idle clock that is between two bytes."""
    levels = []
    for byte in data:
        for level, length in zip(frame_bits(byte), lengths(divisor), strict=True):
            levels += [level] * length
        levels.append(1)
    return levels


@pytest.mark.parametrize("divisor", [Fraction(25, 3), Fraction(9, 2), Fraction(33, 8), 4, 9])
def test_bits_that_are_no_whole_number_of_clocks(divisor):
    """25 MHz and 3 Mbaud: 8 1/3. Each way by itself, so that no error hides in another one."""
    data = bytes(range(0, 256, 15)) + b"\x00\xff"
    transmitter, levels = UartTransmitter(divisor), []
    wanted = levels_for(data, divisor)

    async def send(ctx):
        for byte in data:
            ctx.set(transmitter.data.payload, byte)
            ctx.set(transmitter.data.valid, 1)
            await ctx.tick().until(transmitter.data.ready)
        ctx.set(transmitter.data.valid, 0)

    async def watch(ctx):
        while ctx.get(transmitter.line):
            await ctx.tick()
        while len(levels) < len(wanted):
            levels.append(ctx.get(transmitter.line))
            await ctx.tick()

    simulate(transmitter, send, watch)
    assert levels == wanted
    assert receive(wanted, divisor=divisor)[0] == list(data)
    # Only what is there at the sample points matters.
    byte, points = 0b0101_1010, sample_points(divisor)
    clean = [1 - level for level in levels_for([byte], divisor)]
    for point, level in zip(points, frame_bits(byte), strict=True):
        clean[point] = level
    clean[0] = 0
    assert receive(clean, divisor=divisor)[0] == [byte]


def test_divisor():
    assert divisor_for(25e6, 1_000_000) == 25
    assert divisor_for(25e6, 3_000_000) == Fraction(25, 3)
    assert divisor_for(25e6, 115_200) == 217
    with pytest.raises(ValueError, match="25 MHz clock cannot make 9000000 baud"):
        divisor_for(25e6, 9_000_000)
