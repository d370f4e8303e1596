"""The memories between link and engine against the board's golden twin."""

from __future__ import annotations

import random

import pytest
from amaranth.sim import Simulator

from echoloom.backends.link.ends import play
from echoloom.hdl.store import ENDLESS, POSITION_BITS, OutputStore, SampleStore
from echoloom.ir.contract import EngineConfig
from echoloom.sim.golden_store import GoldenStore

CONFIG = EngineConfig(lanes=1, drains=1, word=12)
DEPTH, WIDTH = 32, 12


async def tell(ctx, store, numbers):
    for what, value in enumerate(numbers):
        ctx.set(store.what, what)
        ctx.set(store.value, value % (1 << len(store.value)))
        ctx.set(store.tell, 1)
        await ctx.tick()
        ctx.set(store.tell, 0)


def played(actions, count, hurried=True):
    """What a SampleStore hands over: `actions` are pushes (samples) and plays (tuples) in turn."""
    store, rng, taken = SampleStore(CONFIG, DEPTH), random.Random(5), []

    async def act(ctx):
        for action in actions:
            if isinstance(action, tuple):
                await tell(ctx, store, action)
            for sample in action if isinstance(action, list) else []:
                ctx.set(store.push.payload, sample)
                ctx.set(store.push.valid, 1)
                await ctx.tick()
                ctx.set(store.push.valid, 0)
                await ctx.tick().repeat(rng.randrange(1, 12))

    async def take(ctx):
        cycles = 0
        while len(taken) < count:
            ctx.set(store.samples.ready, hurried or rng.random() < 0.3)
            if ctx.get(store.samples.valid) and ctx.get(store.samples.ready):
                taken.append(ctx.get(store.samples.payload))
            await ctx.tick()
            cycles += 1
            assert cycles < 5000, f"only {len(taken)} samples came"
        for _ in range(10):
            await ctx.tick()
            assert not ctx.get(store.samples.valid)
        taken.append((ctx.get(store.filled), ctx.get(store.reached)))

    simulator = Simulator(store)
    simulator.add_clock(1e-6)
    simulator.add_testbench(act)
    simulator.add_testbench(take)
    simulator.run()
    return taken


@pytest.mark.parametrize("hurried", [True, False])
@pytest.mark.parametrize(
    "actions",
    [
        [[5, -6, 7, 8], play(0, 2, 1, 2)],
        [play(0, 3, 1, 2), [1, 2, 3, 4, 5, 6]],  # played while they come
        [[1, 2, 3, 4, 5, 6], play(3, 3, 1 - 6, 2)],  # the other way
        [list(range(50)), play(20, 4, 1, 7)],  # round the memory's end
        [list(range(40)), play(36, 4, 1 - 8, 7)],
        [[1, 2, 3, 4], play(1, 1, 1, 3)],
        [play(0, 3, 1, 1)._replace(end=ENDLESS), list(range(30))],
    ],
)
def test_plays_are_the_golden_twins(actions, hurried):
    golden, wanted = GoldenStore(DEPTH), []
    for action in actions:
        if isinstance(action, tuple):
            golden.play(*action)
        else:
            golden.push(golden.filled, *action)
        wanted += golden.played()
    wanted.append((golden.filled, golden.reached % (1 << POSITION_BITS)))
    assert played(actions, len(wanted) - 1, hurried) == wanted


def test_a_sample_in_three_cycles():
    store = SampleStore(CONFIG, DEPTH)

    async def bench(ctx):
        ctx.set(store.push.valid, 1)
        await ctx.tick().repeat(8)
        ctx.set(store.push.valid, 0)
        ctx.set(store.samples.ready, 1)
        await tell(ctx, store, play(0, 4, 1, 2))
        offered = []
        for cycle in range(30):
            offered += [cycle] * ctx.get(store.samples.valid)
            await ctx.tick()
        assert offered == [2, 5, 8, 11, 15, 18, 21, 24]  # a cycle between frames

    simulator = Simulator(store)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def test_golden_positions_wrap():
    golden = GoldenStore(DEPTH)
    golden.filled = (1 << POSITION_BITS) - 2
    golden.push((1 << POSITION_BITS) - 2, 1, 2, 3, 4)
    golden.push(7, 9)  # not the next one: ignored
    assert golden.filled == (1 << POSITION_BITS) + 2
    golden.play(*play((1 << POSITION_BITS) - 2, 2, 1, 2))
    assert list(golden.played()) == [1, 2, 3, 4]
    golden.play(*play(1 << POSITION_BITS, 2, 1 - 4, 2))
    assert list(golden.played()) == [3, 4, 1, 2]


def test_outputs_stay_until_the_host_has_them():
    store = OutputStore(WIDTH, 8)

    async def bench(ctx):
        async def read(position):
            ctx.set(store.index, position % 8)
            await ctx.tick().repeat(2)
            return ctx.get(store.word)

        made = 0
        ctx.set(store.outputs.valid, 1)
        for had in (0, 3, 8, 13):
            ctx.set(store.had, had)
            while ctx.get(store.outputs.ready):
                ctx.set(store.outputs.payload, 100 - made)
                await ctx.tick()
                made += 1
                assert ctx.get(store.made) == made
            assert made == had + 8
            ctx.set(store.outputs.payload, -1)
            assert [await read(position) for position in range(had, made)] == [
                100 - position for position in range(had, made)
            ]

    simulator = Simulator(store)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize("depth", [0, 1, 48, 1 << POSITION_BITS - 1])
def test_depths_that_cannot_be(depth):
    with pytest.raises(ValueError, match="a store has 2, 4, 8"):
        SampleStore(CONFIG, depth)
