"""A stream of entries begins exactly when it says, and not a cycle later."""

from __future__ import annotations

import random

import pytest
from amaranth.sim import Simulator

from echoloom.hdl.fetch import Fetch
from echoloom.hdl.layouts import struct
from echoloom.ir.contract import Space
from echoloom.ir.entry_layouts import COLUMN_BITS, STAGES

# Two columns: an entry that is longer than one.
LAYOUT = struct({"start": 8, "stage": 2, "mark": 16, "rest": 20})
DEPTH, NEVER = 64, 255


def bits_of(start: int, stage: int, mark: int) -> int:
    return start | stage << 8 | mark << 10 | (mark ^ 0x5A5A5) << 26


def played(entries: list[tuple[int, int, int]], passes: list[tuple[int, int, int]]) -> list[object]:
    """Marks by pass and cycle. A pass: the address it begins at, its length, its steps; the rewind
    to the next one comes in its last cycle but one, as the sequencer has it."""
    fetch = Fetch(Space.MAC, LAYOUT, DEPTH)
    seen: list[object] = []

    async def bench(ctx):
        def step():
            if ctx.get(fetch.begin):
                seen.append((number, time, ctx.get(fetch.entry.mark), ctx.get(fetch.entry.rest)))

        for address, entry in enumerate(entries):
            for column in range(2):
                ctx.set(fetch.access.write, 1)
                ctx.set(fetch.access.space, Space.MAC)
                ctx.set(fetch.access.lane, column)
                ctx.set(fetch.access.address, address)
                ctx.set(fetch.access.data, bits_of(*entry) >> column * COLUMN_BITS)
                await ctx.tick()
        ctx.set(fetch.access.write, 0)
        await ctx.tick()
        number, time = -1, -Fetch.latency
        for at, (first, length, steps) in enumerate(passes):
            if at == 0:
                ctx.set(fetch.first, first)
                ctx.set(fetch.rewind, 1)
                await ctx.tick()
                ctx.set(fetch.rewind, 0)
                for _ in range(Fetch.latency - 2):
                    step()
                    await ctx.tick()
            # The wait's last cycle: the one to come is cycle 0.
            ctx.set(fetch.runs, 1)
            ctx.set(fetch.steps, steps)
            ctx.set(fetch.time, 0)
            await ctx.tick()
            number = at
            for time in range(length):
                ctx.set(fetch.time, time + 1)
                ctx.set(fetch.runs, time + 1 < length)
                turns = time == length - 2 and at + 1 < len(passes)
                ctx.set(fetch.rewind, turns)
                if turns:
                    ctx.set(fetch.first, passes[at + 1][0])
                step()
                await ctx.tick()
            time = length
            step()
            await ctx.tick()  # END

    simulator = Simulator(fetch)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return seen


def expected(
    entries: list[tuple[int, int, int]], passes: list[tuple[int, int, int]]
) -> list[object]:
    found: list[object] = []
    for number, (first, length, steps) in enumerate(passes):
        for start, stage, mark in entries[first:]:
            if start >= length:
                break
            if steps >> stage & 1:
                found.append((number, start, mark, mark ^ 0x5A5A5))
    return found


@pytest.mark.parametrize("seed", range(12))
def test_entries_begin_at_their_starts(seed: int) -> None:
    rng = random.Random(seed)
    entries: list[tuple[int, int, int]] = []
    starts = []
    for _ in range(3):
        starts.append(len(entries))
        dense = rng.random()
        entries += [
            (start, rng.randrange(STAGES), rng.randrange(1 << 16))
            for start in range(16)
            if rng.random() < dense
        ]
        entries.append((NEVER, 0, 0))
    passes = [
        (rng.choice(starts), rng.randrange(4, 18), rng.randrange(1 << STAGES)) for _ in range(8)
    ]
    assert played(entries, passes) == expected(entries, passes)


def test_entries_of_every_cycle_up_to_the_last() -> None:
    entries = [*((start, 0, 100 + start) for start in range(4)), (NEVER, 0, 0)]
    passes = [(0, 4, 1)] * 3
    assert played(entries, passes) == expected(entries, passes)
    assert len(expected(entries, passes)) == 12
