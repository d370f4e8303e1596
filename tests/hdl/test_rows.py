"""Addresses of a pass over rows against plain additions."""

from __future__ import annotations

import random

from amaranth.sim import Simulator
from engine_bench import small

from echoloom.hdl.rows import Rows

CONFIG = small(2, 1, weight_depth=64, gradient_depth=32, vector_depth=16, learns=True)


def test_every_address_moves_by_its_row_and_its_entrys_step() -> None:
    rng, rows, seen = random.Random(1), Rows(CONFIG), []

    async def bench(ctx):
        for _ in range(40):
            moves, iteration = rng.randrange(2), rng.randrange(3, 9)
            at = {"weight": rng.randrange(20), "gradient": rng.randrange(9)}
            held = {"moves": moves, "iteration": iteration, "weight_row": at["weight"],
                    "gradient_row": at["gradient"]}  # fmt: skip
            for name, value in held.items():
                ctx.set(getattr(rows, name), value)
            await ctx.tick()
            # Addresses come a cycle later, one after the other.
            given = [tuple(rng.randrange(8) for _ in range(3)) for _ in range(5)]
            stages = [(rng.randrange(4), rng.randrange(4), rng.randrange(2)) for _ in given]
            found = []
            for address, stage in zip([*given, *[(0, 0, 0)] * 2], [*stages, *[(0, 0, 0)] * 2],
                                      strict=True):  # fmt: skip
                ctx.set(rows.given.weight, address[0])
                ctx.set(rows.given.gradient, address[1])
                ctx.set(rows.given.destination, address[2])
                ctx.set(rows.stage, stage[0])
                ctx.set(rows.chunk_stage, stage[1])
                ctx.set(rows.to_weight, stage[2])
                moved = rows.moved
                found.append(tuple(map(ctx.get, (moved.weight, moved.gradient, moved.destination))))
                await ctx.tick()
            for address, (stage, chunk_stage, to_weight), out in zip(
                given, stages, found[Rows.latency :], strict=True
            ):
                further = [
                    moves * (at["weight"] + iteration - stage),
                    moves * (at["gradient"] + iteration - stage),
                    moves * to_weight * (at["weight"] + iteration - chunk_stage),
                ]
                assert out == tuple(a + f for a, f in zip(address, further, strict=True))
                seen.append(out)

    simulator = Simulator(rows)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert len(seen) == 200
