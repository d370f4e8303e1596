"""An engine whose memories hold a program from the start needs no host that loads it."""

from __future__ import annotations

import random
from typing import Any

import pytest
from amaranth.sim import Simulator
from engine_bench import Bench, check
from test_engine_host import sums
from test_engine_random import random_image, random_pass

from echoloom.hdl.contents import contents_of
from echoloom.hdl.engine import Engine
from echoloom.hdl.pipeline import RESET_CYCLES
from echoloom.ir.contract import Register, Space
from echoloom.ir.engine_passes import EnginePass


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("lanes", "drains"), [(1, 1), (5, 2), (5, 4)])
def test_a_random_program_plays_without_being_loaded(lanes: int, drains: int, seed: int) -> None:
    rng = random.Random(f"built in {lanes} {drains} {seed}")
    image = random_image(rng, lanes, drains, waits=False)
    check(
        image,
        [random_pass(rng, image, kind) for kind in (EnginePass.FORWARD, EnginePass.ECHO)],
        built_in=True,
    )


def test_registers_and_sections_come_back_with_a_reset() -> None:
    """Sections that no host wrote, that is. Also busy, done and the frame that waits, by which
    others than a host see the engine."""
    image = sums(frames=2)
    bench = Bench(image)
    contents = contents_of(image, {Register.LENGTH: 1, Register.OUTPUT_STEP: 7})
    bench.engine = engine = Engine(image.config, contents=contents)

    async def sweep(ctx: Any) -> list[int]:
        for value in (10, 20, 30):
            assert not ctx.get(engine.frame_waits)
            ctx.set(engine.samples.payload, value)
            ctx.set(engine.samples.valid, 1)
            await ctx.tick().until(engine.samples.ready)
        ctx.set(engine.samples.valid, 0)
        await ctx.tick()
        assert ctx.get(engine.frame_waits) and not ctx.get(engine.busy)
        await bench.request(ctx, (1, Space.REGISTER, 0, Register.COMMAND, 1))
        await ctx.tick()
        assert ctx.get(engine.busy) and not ctx.get(engine.done)
        await ctx.tick().until(engine.done)
        assert not ctx.get(engine.busy)
        return [await bench.read(ctx, Space.VECTOR, lane, 1) for lane in range(3)]

    async def host(ctx: Any) -> None:
        assert await sweep(ctx) == [60, 120, -180]
        for register in (Register.LENGTH, Register.FRAME, Register.OUTPUT_STEP):
            await bench.request(ctx, (1, Space.REGISTER, 0, register, 0))
        ctx.set(engine.clear, 1)
        await ctx.tick().repeat(RESET_CYCLES)
        ctx.set(engine.clear, 0)
        await ctx.tick()
        assert await bench.register(ctx, Register.OUTPUT_STEP) == 7
        assert await sweep(ctx) == [60, 120, -180]

    simulator = Simulator(engine)
    simulator.add_clock(1e-6)
    simulator.add_testbench(host)
    simulator.run()
