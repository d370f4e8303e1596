"""Packets against their golden twins, whole, in pieces and damaged."""

from __future__ import annotations

import random
import struct
import zlib

import pytest
from amaranth.sim import Simulator

from echoloom.hdl.checker import Checker
from echoloom.hdl.numbers import MORE, decode_numbers
from echoloom.hdl.packets import (
    FLUSH,
    SYNC,
    Packet,
    PacketDecoder,
    PacketReader,
    PacketWriter,
    encode,
)


def simulate(top, bench):
    simulator = Simulator(top)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def read_packets(received):
    """What a PacketReader finds in a byte string: packets up to the last complete number, and
    whether all of their payloads are numbers."""
    reader = PacketReader()
    found = []

    async def bench(ctx):
        for byte in received:
            ctx.set(reader.data.payload, byte)
            ctx.set(reader.data.valid, 1)
            await ctx.tick().until(reader.data.ready)
            ctx.set(reader.data.valid, 0)
            for _ in range(8):  # the last byte's bits
                if not ctx.get(reader.packet.valid):
                    await ctx.tick()
            if ctx.get(reader.packet.valid):
                arrival = ctx.get(reader.packet.payload)
                payload, numbers = bytearray(), 0
                while numbers < arrival.numbers:
                    ctx.set(reader.index, len(payload))
                    await ctx.tick()
                    payload.append(ctx.get(reader.byte))
                    numbers += payload[-1] < MORE
                packet = Packet(
                    arrival.code, arrival.sequence, bytes(payload), bool(arrival.intact)
                )
                found.append((packet, bool(arrival.whole)))
                ctx.set(reader.packet.ready, 1)
                await ctx.tick()
                ctx.set(reader.packet.ready, 0)

    simulate(reader, bench)
    return found


def complete(payload):
    """Bytes up to the end of the last complete number."""
    return max((at for at, byte in enumerate(payload, 1) if byte < MORE), default=0)


def numbers(payload):
    try:
        decode_numbers(payload)
    except ValueError:
        return False
    return True


def test_encoded_packet():
    body = bytes([2, 77, 2, 1, 2])
    assert encode(2, b"\x01\x02", 77) == bytes([SYNC]) + body + struct.pack("<I", zlib.crc32(body))
    with pytest.raises(ValueError, match="255 bytes at most, got 256"):
        encode(1, bytes(256))


def test_reader_and_decoder_find_the_same_packets():
    rng = random.Random(1)
    received = bytearray()
    for _ in range(60):
        received += rng.randbytes(rng.choice([0, 0, 1, 3]))
        packet = bytearray(
            encode(rng.randrange(256), rng.randbytes(rng.choice([0, 1, 4, 40])), rng.randrange(256))
        )
        if rng.random() < 0.3:
            packet[rng.randrange(len(packet))] ^= 1 << rng.randrange(8)
        received += packet
    received += encode(3, bytes(255)) + encode(4)
    received += encode(5, bytes([MORE] * 9 + [1, 3])) + encode(5, bytes([MORE] * 10 + [1, 3]))

    whole = PacketDecoder().feed(bytes(received))
    decoder = PacketDecoder()
    assert [f for byte in received for f in decoder.feed(bytes([byte]))] == whole
    read = read_packets(received)
    assert [packet for packet, _ in read] == [
        packet._replace(payload=packet.payload[: complete(packet.payload)]) for packet in whole
    ]
    assert [all_numbers for _, all_numbers in read] == [numbers(p.payload) for p in whole]
    assert {True, False} == {all_numbers for _, all_numbers in read}
    assert any(not intact for *_, intact in whole)
    assert sum(intact for *_, intact in whole) > 20


def test_checker_is_zlibs():
    checker, data = Checker(), bytes(random.Random(4).randbytes(9))
    whole = data + zlib.crc32(data).to_bytes(4, "little")

    async def bench(ctx):
        for _ in range(2):
            ctx.set(checker.start, 1)
            await ctx.tick()
            ctx.set(checker.start, 0)
            for count, byte in enumerate(whole, 1):
                ctx.set(checker.data.payload, byte)
                ctx.set(checker.data.valid, 1)
                await ctx.tick()
                ctx.set(checker.data.valid, 0)
                await ctx.tick().repeat(7)
                assert not ctx.get(checker.data.ready)
                await ctx.tick()
                assert ctx.get(checker.data.ready)
                assert ctx.get(checker.match) == (count == len(whole))
                assert ctx.get(checker.crc) == zlib.crc32(whole[:count])

    simulate(checker, bench)


@pytest.mark.parametrize("cut", range(1, 13))
def test_flush_resynchronises(cut):
    packet = encode(7, b"abcd")
    after = read_packets(packet[:cut] + bytes(FLUSH) + packet)
    assert after[-1] == ((7, 0, b"abcd", True), True)


def test_what_is_missing_is_never_more_than_what_comes():
    """Whoever reads `missing` bytes never waits for more than the packet has."""
    packet, decoder, found = encode(7, bytes(range(40)), 3), PacketDecoder(), []
    at = 0
    while not found:
        count = decoder.missing
        assert 0 < count <= len(packet) - at
        found = decoder.feed(packet[at : at + count])
        at += count
    assert (at, found) == (len(packet), [(7, 3, bytes(range(40)), True)])


def test_every_lost_or_doubled_byte_is_noticed():
    packet = encode(0x5A, bytes(range(20)), 4)
    for at in range(len(packet)):
        for damaged in (packet[:at] + packet[at + 1 :], packet[: at + 1] + packet[at:]):
            found = PacketDecoder().feed(damaged + bytes(FLUSH))
            # A sync that is there twice may be taken for the code; one that is lost hides all.
            assert not any(intact and payload != packet[4:-4] for _, _, payload, intact in found)


def test_every_single_bit_error_is_noticed():
    packet = encode(0x5A, b"\x00\xff")
    for bit in range(8, 8 * len(packet)):
        damaged = bytearray(packet)
        damaged[bit // 8] ^= 1 << bit % 8
        assert not any(intact for *_, intact in PacketDecoder().feed(bytes(damaged) + bytes(FLUSH)))


@pytest.mark.parametrize("always", [True, False])
def test_writer_is_the_golden_twin(always):
    """More packets than its ring holds, gathered while others are sent."""
    writer, rng = PacketWriter(512), random.Random(2)
    sizes = [0, 1, 255, 0, 0, 200, 255, 31, 255, 2]
    packets = [(rng.randrange(256), rng.randrange(256), rng.randbytes(size)) for size in sizes]
    expected = b"".join(encode(code, payload, sequence) for code, sequence, payload in packets)
    sent = bytearray()

    async def gather(ctx):
        for code, sequence, payload in packets:
            for byte in payload:
                ctx.set(writer.payload.payload, byte)
                ctx.set(writer.payload.valid, 1)
                await ctx.tick().until(writer.payload.ready)
                ctx.set(writer.payload.valid, 0)
                if not always and rng.random() < 0.1:
                    await ctx.tick().repeat(rng.randrange(1, 20))
            ctx.set(writer.header.payload, {"code": code, "sequence": sequence})
            ctx.set(writer.header.valid, 1)
            await ctx.tick().until(writer.header.ready)
            ctx.set(writer.header.valid, 0)

    async def take(ctx):
        while len(sent) < len(expected):
            ctx.set(writer.data.ready, always or rng.random() < 0.2)
            if ctx.get(writer.data.valid) and ctx.get(writer.data.ready):
                sent.append(ctx.get(writer.data.payload))
            await ctx.tick()
        await ctx.tick().repeat(20)
        assert not ctx.get(writer.data.valid)

    simulator = Simulator(writer)
    simulator.add_clock(1e-6)
    simulator.add_testbench(gather)
    simulator.add_testbench(take)
    simulator.run()
    assert bytes(sent) == expected


def test_a_ring_too_small_for_a_packet():
    for size in (256, 300, 1000):
        with pytest.raises(ValueError, match=f"512, 1024 ... bytes, not {size}"):
            PacketWriter(size)
