"""The circuit behind AXI4-Lite against its twin: random accesses, each with random waits."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from amaranth.sim import Simulator
from small_axi import Axi, image

from echoloom.hdl.axi.axi_top import AxiTop
from echoloom.hdl.axi.lite import Response
from echoloom.hdl.axi.register_map import CONTROL, REGISTERS, Own, engine_offset
from echoloom.hdl.axi.registers import Presets
from echoloom.hdl.contents import contents_of
from echoloom.ir.contract import Register, Space
from echoloom.sim.golden_axi import GoldenAxi

IMAGE = image()
START = {Register.LENGTH: 2, Register.OUTPUT_STEP: 1}
PRESETS = Presets(output_words=4, mark=0x0123456789ABCDEF)
# Lanes (or columns) and words of memories.
MEMORIES = {
    Space.WEIGHT: (2, 8), Space.VECTOR: (2, 8), Space.TABLE: (1, 8), Space.EXPONENT: (1, 8),
    Space.MAC: (2, 16),
}  # fmt: skip


def play(body: Callable[[Axi], Coroutine[Any, Any, None]], seed: int, **presets: Any) -> GoldenAxi:
    top = AxiTop(
        IMAGE.config, IMAGE.timing, contents_of(IMAGE, START), presets.get("presets", PRESETS)
    )
    twin = GoldenAxi(IMAGE, START, presets.get("presets", PRESETS))
    simulator = Simulator(top)
    simulator.add_clock(1e-6)
    axi = Axi(top, twin, random.Random(seed))

    async def bench(ctx: Any) -> None:
        await axi.begin(ctx)
        await body(axi)

    simulator.add_testbench(bench)
    simulator.add_testbench(axi.outputs, background=True)
    simulator.run()
    return twin


def test_every_register_answers_as_the_table_says() -> None:
    """What it holds at first, what a write of it is answered with, and everything between."""

    async def body(axi: Axi) -> None:
        for offset in range(0, 0x200, 4):
            await axi.read(offset)
        await axi.read(0xFFC)
        for entry in REGISTERS:
            if entry.offset not in (Own.CONTROL, engine_offset(Register.COMMAND)):
                await axi.write(entry.offset, 0x89ABCDEF, look=False)
                await axi.read(entry.offset)
                await axi.write(entry.offset, 0x5, strobes=0b0111, look=False)
                await axi.write(entry.offset, 0x6, strobes=0, look=False)
                await axi.read(entry.offset + 3)
        assert await axi.write(0x2C, 1) == Response.SLVERR
        assert await axi.write(0x800, 1) == Response.SLVERR

    play(body, 0)


@pytest.mark.parametrize("seed", range(2))
def test_random_accesses(seed: int) -> None:
    rng = random.Random(f"accesses {seed}")

    async def body(axi: Axi) -> None:
        for _ in range(60):
            await random_access(axi, rng)
        assert axi.sweeps

    play(body, seed)


async def random_access(axi: Axi, rng: random.Random) -> None:
    """Something that a host may do; while a sweep waits for samples, what is defined then."""
    kind = rng.random()
    if axi.twin.busy or kind < 0.3:
        await axi.samples([rng.randrange(-1000, 1000) for _ in range(rng.randint(1, 4))])
    elif kind < 0.5:
        space = rng.choice(list(MEMORIES))
        lanes, words = MEMORIES[space]
        lane, address = rng.randrange(lanes), rng.randrange(words - 4)
        await axi.write(Own.TARGET, space << 24 | lane << 16 | address)
        for _ in range(rng.randint(1, 3)):
            if space in (Space.WEIGHT, Space.VECTOR, Space.EXPONENT) and rng.random() < 0.5:
                await axi.write(Own.DATA_LOW, rng.randrange(4))
            else:
                await axi.read(Own.DATA_LOW)
                await axi.read(Own.DATA_HIGH)
    elif kind < 0.7:
        await axi.write(engine_offset(Register.COMMAND), rng.choice([1, 1, 1, 2, 3, 4]))
    elif kind < 0.75:
        await axi.write(Own.CONTROL, rng.choice([0, *(field.mask for field in CONTROL)]))
    elif kind < 0.8:
        await axi.write(Own.OUTPUT_WORDS, rng.randrange(5))
    else:
        await axi.read(
            rng.choice([e.offset for e in REGISTERS if not e.name.startswith("ENGINE_ST")])
        )


def test_a_host_sees_a_sweep_at_once() -> None:
    """STATUS after the response to COMMAND is that of the new sweep."""

    async def body(axi: Axi) -> None:
        for _ in range(2):
            await axi.write(engine_offset(Register.LENGTH), 0)
            await axi.write(engine_offset(Register.COMMAND), 1, look=False)
            assert await axi.raw_read(Own.STATUS) & 3 in (1, 2)

    play(body, 1)


def test_an_upper_half_goes_with_one_write() -> None:
    """And a read leaves its own, which no write takes along."""

    async def body(axi: Axi) -> None:
        await axi.write(Own.TARGET, Space.MAC << 24 | 8)  # behind the program
        await axi.write(Own.DATA_HIGH, 0xA)
        for word in (0x12345678, 0x3, 0x4):
            await axi.write(Own.DATA_LOW, word)
        await axi.write(Own.TARGET, Space.MAC << 24 | 8)
        words = [(await axi.read(Own.DATA_LOW), await axi.read(Own.DATA_HIGH)) for _ in range(2)]
        assert words == [(0x12345678, 0xA), (0x3, 0)]
        await axi.write(Own.TARGET, Space.MAC << 24 | 8)
        await axi.read(Own.DATA_LOW)
        await axi.write(Own.DATA_LOW, 0x5)
        await axi.write(Own.TARGET, Space.MAC << 24 | 9)
        assert (await axi.read(Own.DATA_LOW), await axi.read(Own.DATA_HIGH)) == (0x5, 0)
        assert axi.twin.read(Own.TARGET)[0] == Space.MAC << 24 | 10

    play(body, 2)
