"""Drives a pipelined component with one operand set a cycle and collects its results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from amaranth.sim import Simulator


def stream_through(
    component: Any,
    inputs: Sequence[str],
    operands: Iterable[Sequence[int]],
    outputs: Sequence[str],
    *,
    latency: int,
    setup: Sequence[dict[str, int]] = (),
) -> list[tuple[int, ...]]:
    """Row k of the result is what stands at `outputs` exactly `latency` cycles after row k of
    `operands` was presented: a component with another latency gives other rows. An array of ports
    gets the same number in all of them.

    `setup`: fields of `access`, one write a cycle before the first row.
    """
    results: list[tuple[int, ...]] = []
    rows = list(operands)

    async def bench(ctx: Any) -> None:
        for fields in setup:
            ctx.set(component.access, {"write": 1, **fields})
            await ctx.tick()
        if setup:
            ctx.set(component.access, {})
        ports = [getattr(component, name) for name in inputs]
        for cycle in range(len(rows) + latency):
            for port, value in zip(ports, rows[min(cycle, len(rows) - 1)], strict=True):
                for one in port if isinstance(port, list) else [port]:
                    ctx.set(one, value)
            if cycle >= latency:
                results.append(tuple(ctx.get(getattr(component, name)) for name in outputs))
            await ctx.tick()

    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return results
