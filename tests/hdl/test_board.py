"""The whole content of the FPGA, driven through its pins."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.sim import Simulator

from echoloom.backends.bitstream.targets.boards import BOARDS, find_board
from echoloom.backends.bitstream.verilog import to_rtlil
from echoloom.backends.link import conversation as host
from echoloom.hdl import board
from echoloom.hdl.board import Board, BoardTop
from echoloom.hdl.commands import identity
from echoloom.hdl.numbers import encode_numbers
from echoloom.hdl.packets import PacketDecoder, encode
from echoloom.hdl.pll import PLL_PORTS
from echoloom.hdl.uart import FRAME_BITS, frame_bits, sample_points
from echoloom.ir.contract import EngineConfig, Register, Space, Timing

ULX3S_85F = find_board("ulx3s-85f")

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
            (request,) = next(conversation)
            while True:
                for byte in encode(request.command, encode_numbers(request.numbers)):
                    for level in frame_bits(byte):
                        for _ in range(DIVISOR):
                            await self.cycle(level)
                for _ in range(100 * DIVISOR * FRAME_BITS):
                    if self.replies:
                        break
                    await self.cycle(1)
                reply = host.reply_numbers(request.command, self.replies.pop(0))
                (request,) = conversation.send([reply])
        except StopIteration as finished:
            return finished.value


class TwinPll(wiring.Component):
    """A PLL whose output a test bench makes."""

    def __init__(self):
        self.made = Signal()
        super().__init__(PLL_PORTS)

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [self.passed.eq(self.input), self.output.eq(self.made), self.locked.eq(1)]
        return m


@dataclass(frozen=True, kw_only=True)
class TwinBoard(Board):
    """The board, with a PLL that can be simulated."""

    twin: TwinPll

    def pll(self, output_mhz):
        return self.twin


def at_the_pins(scenario, monkeypatch, half_period=None):
    """`half_period` of the engine's own clock, from a PLL; without it, there is the board's."""
    monkeypatch.setattr(board, "START_CYCLES", 64)
    twin = TwinPll()
    made = TwinBoard(name="twin", clock_mhz=25.0, pins=ULX3S_85F.pins, twin=twin)
    top = BoardTop(made, CONFIG, Timing(), 25.0 if half_period is None else 50.0, 5_000_000)

    async def bench(ctx):
        pins = Pins(ctx, top)
        for _ in range(100):
            await pins.cycle(1)
        await scenario(pins)

    async def oscillate(ctx):
        while True:
            ctx.set(twin.made, ~ctx.get(twin.made) & 1)
            await ctx.delay(half_period)

    simulator = Simulator(top)
    simulator.add_testbench(bench)
    if half_period is not None:
        simulator.add_testbench(oscillate, background=True)
    simulator.run()


@pytest.mark.parametrize("half_period", [None, 11.7e-9, 33.3e-9])
def test_memories_registers_and_resets(monkeypatch, half_period):
    async def scenario(pins):
        await pins.converse(host.identify())
        await pins.converse(host.write(Space.VECTOR, 1, 3, [-5, 77]))
        await pins.converse(host.mark(5))
        found = await pins.converse(host.identify())
        assert (found.engine, found.mark) == (identity(CONFIG, Timing()), 5)
        await pins.converse(host.write(Space.REGISTER, 0, Register.LENGTH, [9]))
        length = host.read(Space.REGISTER, 0, Register.LENGTH, 1)
        assert await pins.converse(length) == [9]

        # A break in the middle of a packet brings everything back to its start.
        for level in [*frame_bits(0xA5), *frame_bits(3), *[0] * 11, 1]:
            for _ in range(DIVISOR):
                await pins.cycle(level)
        assert await pins.converse(host.read(Space.REGISTER, 0, Register.LENGTH, 1)) == [0]
        found = await pins.converse(host.identify())
        assert found.mark == 0 and 0 < found.cycles < 30_000
        # Memories keep their contents.
        assert await pins.converse(host.read(Space.VECTOR, 1, 3, 2)) == [-5, 77]
        assert pins.ctx.get(pins.top.stay_on) == 1

    at_the_pins(scenario, monkeypatch, half_period)


def test_clock_comes_from_the_pll_if_it_is_not_the_boards():
    assert BoardTop(ULX3S_85F, CONFIG, Timing()).clock_mhz == 25.0
    assert BoardTop(ULX3S_85F, CONFIG, Timing(), 75.0).clock_mhz == 75.0
    with pytest.raises(ValueError, match="PLL cannot make 33 MHz"):
        BoardTop(ULX3S_85F, CONFIG, Timing(), 33.0)
    # A clock at which no serial line would be timed: the line has the board's.
    assert BoardTop(ULX3S_85F, CONFIG, Timing(), 98.4375).clock_mhz == 98.4375


@pytest.mark.parametrize(
    "board",
    {type(board): board for board in map(find_board, BOARDS)}.values(),
    ids=lambda board: board.name,
)
def test_every_boards_clocks_come_from_its_pin(board):
    """In the circuit as the tools get it: no clock is a constant, and no pin of the board's that
    the design has is left out."""
    clock_mhz = board.clock_below(board.target_mhz)
    for text in (
        to_rtlil(BoardTop(board, CONFIG, Timing(), mhz), "top") for mhz in (None, clock_mhz)
    ):
        top = text[text.index("module \\top\n") :]
        assert "connect \\board_clk 1'0" not in top and "connect \\clk 1'0" not in top
    assert {
        path[0]
        for path, _, _ in BoardTop(board, CONFIG, Timing()).signature.flatten(
            BoardTop(board, CONFIG, Timing())
        )
    } == {pin.partition("[")[0] for pin in board.pins}
