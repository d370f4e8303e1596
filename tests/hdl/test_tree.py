"""Adder tree: exact sums after the latency that the configuration promises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator

from echoloom.hdl.tree import AdderTree
from echoloom.ir.contract import EngineConfig


@pytest.mark.parametrize("lanes", [1, 2, 3, 4, 5, 7, 8, 9, 17])
def test_sums(lanes: int) -> None:
    config = EngineConfig(lanes=lanes, drains=1, word=5, narrow=4)
    tree = AdderTree(config)
    assert tree.latency == config.tree_latency
    rows = np.random.default_rng(0).integers(-256, 256, (20, lanes))
    rows[:2] = [[-256] * lanes, [255] * lanes]
    found: list[int] = []

    async def bench(ctx: Any) -> None:
        for cycle in range(len(rows) + tree.latency):
            for port, value in zip(tree.products, rows[min(cycle, len(rows) - 1)], strict=True):
                ctx.set(port, int(value))
            if cycle >= tree.latency:
                found.append(ctx.get(tree.total))
            await ctx.tick()

    top = Module()
    top.domains.sync = ClockDomain()  # one lane needs no register, and so has no clock
    top.submodules.tree = tree
    simulator = Simulator(top)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert found == rows.sum(axis=-1).tolist()
