"""Bytes between two clocks: all of them, once, in order, as soon as stated."""

from __future__ import annotations

import random

import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator

from echoloom.hdl.crossing import Crossing


@pytest.mark.parametrize("source", [40.0, 10.0, 9.7, 3.0])
@pytest.mark.parametrize("hurried", [True, False])
def test_words_arrive_once_and_in_order(source, hurried):
    words = random.Random(1).sample(range(256), 60)
    arrived, given_at, taken_at = [], [], []
    m = Module()
    m.submodules.crossing = crossing = Crossing(8, "here", "there")
    now = Signal(32)  # in ns
    m.d.sync += now.eq(now + 1)

    async def send(ctx):
        wait = random.Random(2)
        for word in words:
            for _ in range(0 if hurried else wait.randrange(6)):
                await ctx.tick("here")
            ctx.set(crossing.input.payload, word)
            ctx.set(crossing.input.valid, 1)
            await ctx.tick("here").until(crossing.input.ready)
            given_at.append(ctx.get(now))
            ctx.set(crossing.input.valid, 0)
            ctx.set(crossing.input.payload, ~word & 255)  # what comes after is not looked at

    async def receive(ctx):
        wait = random.Random(3)
        while len(arrived) < len(words):
            for _ in range(0 if hurried else wait.randrange(6)):
                await ctx.tick("there")
            ctx.set(crossing.output.ready, 1)
            (word,) = (
                await ctx.tick("there").sample(crossing.output.payload).until(crossing.output.valid)
            )
            arrived.append(word)
            taken_at.append(ctx.get(now))
            ctx.set(crossing.output.ready, 0)

    simulator = Simulator(m)
    simulator.add_clock(1e-9)
    simulator.add_clock(source * 1e-9, domain="here")
    simulator.add_clock(10e-9, domain="there")
    simulator.add_testbench(send)
    simulator.add_testbench(receive)
    simulator.run()
    assert arrived == words
    if hurried:
        # There after two to three cycles, taken with the edge that follows.
        delays = [taken - given for given, taken in zip(given_at, taken_at, strict=True)]
        assert min(delays) >= 2 * 10 - 1 and max(delays) <= 4 * 10 + 1
        pauses = [given - taken for taken, given in zip(taken_at, given_at[1:], strict=False)]
        assert max(pauses) <= 4 * source + 1
