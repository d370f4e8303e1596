"""The whole content of the FPGA, driven through its pins."""

from __future__ import annotations

import pytest
from amaranth.sim import Simulator

from echoloom.backends.bitstream.targets.ecp5 import ULX3S_85F
from echoloom.backends.link import conversation as host
from echoloom.hdl import board
from echoloom.hdl.board import BoardTop
from echoloom.hdl.packets import PacketDecoder
from echoloom.hdl.uart import FRAME_BITS, frame_bits, sample_points
from echoloom.ir.contract import EngineConfig, Register, Space, Timing

CONFIG = EngineConfig(
    lanes=2, drains=1, weight_depth=16, vector_depth=16, gradient_depth=16, table_depth=16,
    mac_depth=16, drain_depth=16,
)  # fmt: skip
DIVISOR = 5  # far fewer cycles to simulate than at the real rate


class Pins:
    """A serial port at the pins, one clock cycle at a time."""

    def __init__(self, ctx, top):
        self.ctx, self.top = ctx, top
        self.now = 0
        self.decoder, self.replies = PacketDecoder(), []
        self.start = None  # the cycle in which a frame began on `tx`
        self.bits = []

    async def cycle(self, rx):
        self.ctx.set(self.top.rx, rx)
        self.ctx.set(self.top.clock, 1)
        await self.ctx.delay(20e-9)
        self.ctx.set(self.top.clock, 0)
        await self.ctx.delay(20e-9)
        self.now += 1
        tx = self.ctx.get(self.top.tx)
        if self.start is None and not tx:
            self.start, self.bits = self.now, []
        if self.start is not None and self.now - self.start in sample_points(DIVISOR):
            self.bits.append(tx)
            if len(self.bits) == FRAME_BITS:
                assert (self.bits[0], self.bits[-1]) == (0, 1)
                byte = sum(bit << i for i, bit in enumerate(self.bits[1:9]))
                self.replies += self.decoder.feed(bytes([byte]))
                self.start = None

    async def converse(self, conversation):
        try:
            packet = next(conversation)
            while True:
                for byte in packet:
                    for level in frame_bits(byte):
                        for _ in range(DIVISOR):
                            await self.cycle(level)
                for _ in range(100 * DIVISOR * FRAME_BITS):
                    if self.replies:
                        break
                    await self.cycle(1)
                reply = host.reply_payload(packet[1], *self.replies.pop(0))
                packet = conversation.send(reply)
        except StopIteration as finished:
            return finished.value


def at_the_pins(scenario, monkeypatch):
    monkeypatch.setattr(board, "START_CYCLES", 16)
    monkeypatch.setattr(board, "BAUD", 25_000_000 // DIVISOR)
    top = BoardTop(ULX3S_85F, CONFIG, Timing())

    async def bench(ctx):
        pins = Pins(ctx, top)
        for _ in range(40):
            await pins.cycle(1)
        await scenario(pins)

    simulator = Simulator(top)
    simulator.add_testbench(bench)
    simulator.run()


def test_memories_registers_and_resets(monkeypatch):
    async def scenario(pins):
        await pins.converse(host.check_identity(CONFIG, Timing()))
        await pins.converse(host.write(Space.VECTOR, 1, 3, [-5, 77]))
        await pins.converse(host.write(Space.REGISTER, 0, Register.LENGTH, [9]))
        length = host.read(Space.REGISTER, 0, Register.LENGTH, 1)
        assert await pins.converse(length) == [9]

        # A break in the middle of a packet brings everything back to its start.
        for level in [*frame_bits(0xA5), *frame_bits(3), *[0] * 11, 1]:
            for _ in range(DIVISOR):
                await pins.cycle(level)
        assert await pins.converse(host.read(Space.REGISTER, 0, Register.LENGTH, 1)) == [0]
        # Memories keep their contents.
        assert await pins.converse(host.read(Space.VECTOR, 1, 3, 2)) == [-5, 77]
        assert pins.ctx.get(pins.top.stay_on) == 1

    at_the_pins(scenario, monkeypatch)


def test_clock_comes_from_the_pll_if_it_is_not_the_boards():
    assert BoardTop(ULX3S_85F, CONFIG, Timing()).clock_mhz == 25.0
    assert BoardTop(ULX3S_85F, CONFIG, Timing(), 75.0).clock_mhz == 75.0
    with pytest.raises(ValueError, match="PLL cannot make 33 MHz"):
        BoardTop(ULX3S_85F, CONFIG, Timing(), 33.0)
    # A clock at which no serial line would be timed: the line has the board's.
    assert BoardTop(ULX3S_85F, CONFIG, Timing(), 98.4375).clock_mhz == 98.4375
