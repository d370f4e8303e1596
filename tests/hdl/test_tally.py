"""The tally against the golden engine's definitions."""

from __future__ import annotations

import random

import pytest
from amaranth.sim import Simulator
from engine_bench import small

from echoloom.hdl.tally import Tally, measured_bits
from echoloom.ir.reports import PEAK_BITS, peak_shift

LATENCY = 3


@pytest.mark.parametrize(("drains", "accumulator"), [(1, 54), (3, 30), (2, 20)])
def test_lengths_and_counts(drains: int, accumulator: int) -> None:
    config = small(drains, drains, accumulator=accumulator, word=20, learns=True)
    tally, rng = Tally(config), random.Random(drains)
    bits = measured_bits(config)

    async def bench(ctx):
        peak = clamped = 0
        for turn in range(60):
            restart = turn % 20 == 0
            ctx.set(tally.scan, restart)
            ctx.set(tally.update, restart)
            await ctx.tick()
            ctx.set(tally.scan, 0)
            ctx.set(tally.update, 0)
            peak, clamped = (0, 0) if restart else (peak, clamped)
            for _ in range(rng.randrange(3)):
                clamps = rng.randrange(1 << drains)
                ctx.set(tally.clamps, clamps)
                clamped += clamps.bit_count()
                for port in tally.measured:
                    exact = rng.randrange(1 << rng.randrange(bits + PEAK_BITS + 1))
                    ctx.set(port, exact >> PEAK_BITS)
                    peak |= exact
                await ctx.tick()
                ctx.set(tally.clamps, 0)
                for port in tally.measured:
                    ctx.set(port, 0)
            await ctx.tick().repeat(LATENCY - 1)
            assert ctx.get(tally.peak) == peak_shift(peak)
            assert ctx.get(tally.clamped) == clamped

    simulator = Simulator(tally)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
