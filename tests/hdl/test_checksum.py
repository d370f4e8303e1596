"""The checksum of memories: the circuit against its twin, in the link, and over an engine."""

from __future__ import annotations

import random

import pytest
from amaranth.sim import Simulator
from link_bench import SimulatedPort, joined
from test_engine_host import sums
from test_link import CONFIG, IDENTITY, with_link

from echoloom.backends.link import conversation as host
from echoloom.backends.link.conversation import Run
from echoloom.backends.link.errors import UnknownCommand
from echoloom.backends.link.image_writes import image_writes
from echoloom.backends.link.memory_runs import lasting_runs
from echoloom.hdl.checksum import Checksum, checksum
from echoloom.hdl.commands import LinkSizes, identity
from echoloom.hdl.engine import Engine
from echoloom.hdl.link import Link
from echoloom.ir.contract import Space, Timing


def test_the_circuit_is_its_twin():
    draw = random.Random(0)
    words = [draw.getrandbits(64) for _ in range(200)]
    circuit = Checksum()

    async def bench(ctx):
        for begin, end in ((0, 200), (7, 7), (50, 121)):
            ctx.set(circuit.clear, 1)
            ctx.set(circuit.valid, 1)  # the word that comes with it does not count
            await ctx.tick()
            ctx.set(circuit.clear, 0)
            for word in words[begin:end]:
                ctx.set(circuit.word, word)
                ctx.set(circuit.valid, 1)
                await ctx.tick()
                ctx.set(circuit.valid, 0)
                for _ in range(draw.randrange(3)):
                    await ctx.tick()
            ctx.set(circuit.valid, 0)
            assert ctx.get(circuit.total) == checksum(words[begin:end])

    simulator = Simulator(circuit)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def test_every_flipped_bit_changes_it():
    draw = random.Random(1)
    words = [draw.getrandbits(64) for _ in range(70)]
    whole = checksum(words)
    found = {checksum([*words[:at], words[at] ^ 1 << bit, *words[at + 1 :]])
             for at in range(70) for bit in range(64)}  # fmt: skip
    assert whole not in found
    assert checksum(words[::-1]) != whole != checksum([*words, 0])
    assert checksum([-1]) == (1 << 64) - 1


def test_a_link_checks_what_it_reads():
    words = [0, 1, -1, 1 << 63, (1 << 64) - 2, *range(100, 400)]

    async def scenario(port, engine):
        await port.converse(host.write(Space.WEIGHT, 3, 0x01FE, words))
        runs = [
            Run(Space.WEIGHT, 3, 0x01FE + at, count) for at, count in ((0, 305), (2, 1), (9, 0))
        ]
        found = await port.converse(host.check(runs))
        assert found == [checksum(words), (1 << 64) - 1, 0]
        engine.memory[Space.WEIGHT, 3, 0x01FE + 200] ^= 1 << 17
        assert (await port.converse(host.check(runs)))[0] != found[0]
        # Other commands are as they were.
        assert await port.converse(host.read(Space.WEIGHT, 3, 0x01FF, 1)) == [1]

    with_link(scenario)


def test_a_link_without_it_says_so():
    link = Link(CONFIG, IDENTITY, LinkSizes(checks=False))
    port = SimulatedPort(link)

    async def bench(ctx):
        port.ctx = ctx
        with pytest.raises(UnknownCommand, match="CHECK: it does not know the command"):
            await port.converse(host.check([Run(Space.WEIGHT, 0, 0, 1)]))

    simulator = Simulator(link)
    simulator.add_clock(1e-6)
    simulator.add_testbench(port.collect, background=True)
    simulator.add_testbench(bench)
    simulator.run()


def test_the_memories_of_an_engine_are_those_of_its_image():
    """Also when words are negative, and columns and tables have other widths."""
    image = sums(emit=True)
    link = Link(image.config, identity(image.config, Timing()))
    top = joined(link, Engine(image.config))
    port = SimulatedPort(link)

    async def bench(ctx):
        port.ctx = ctx
        await port.converse(host.write_all(image_writes(image)))
        runs = lasting_runs(image)
        assert {run.space for run in runs} >= {Space.WEIGHT, Space.MAC, Space.DRAIN, Space.SECTION}
        assert await port.converse(host.check(list(runs))) == list(runs.values())

    simulator = Simulator(top)
    simulator.add_clock(1e-6)
    simulator.add_testbench(port.collect, background=True)
    simulator.add_testbench(bench)
    simulator.run()
