"""A pass of the real engine, loaded, fed and emptied through the link's packets."""

from __future__ import annotations

from amaranth.hdl import Module
from amaranth.lib.wiring import connect
from amaranth.sim import Simulator
from link_bench import SimulatedPort
from test_engine_host import sums

from echoloom.backends.link import conversation as host
from echoloom.backends.link.image_writes import image_writes
from echoloom.hdl.engine import Engine
from echoloom.hdl.link import Link, identity
from echoloom.ir.contract import Register, Space, Timing
from echoloom.ir.sections import Section

FORWARD = 1


def test_passes_are_the_engines_own():
    image = sums(emit=True)
    frames = [[step, 10 * step, -7] for step in range(30)]
    expected = [weight * sum(frame) for frame in frames for weight in (1, 2, -3)]
    step = image.sections[Section.FORWARD_STEP]

    link = Link(image.config, identity(image.config, Timing()))
    engine = Engine(image.config)
    top = Module()
    top.submodules.link = link
    top.submodules.engine = engine
    top.d.comb += engine.clear.eq(link.reset)
    for name in ("request", "response", "samples", "outputs"):
        connect(top, getattr(link, name), getattr(engine, name))
    port = SimulatedPort(link)

    async def bench(ctx):
        port.ctx = ctx
        samples = [sample for frame in frames for sample in frame]
        registers = {Register.LENGTH: len(frames), Register.OUTPUT_STEP: 1}
        await port.converse(host.identify())
        await port.converse(host.write_all(image_writes(image)))
        cycles = host.read(Space.REGISTER, 0, Register.CYCLES, 1)
        for _ in range(2):
            assert await port.converse(host.run_pass(FORWARD, samples, registers)) == expected
            assert await port.converse(cycles) == [len(frames) * (step.length + Timing().overhead)]
            cycles = host.read(Space.REGISTER, 0, Register.CYCLES, 1)
        assert await port.converse(host.read(Space.WEIGHT, 2, 0, 1)) == [-3]

        # A reset in the middle of a pass leaves nothing of it behind.
        await port.converse(host.write(Space.REGISTER, 0, Register.LENGTH, [5]))
        await port.converse(host.write(Space.REGISTER, 0, Register.COMMAND, [FORWARD]))
        await port.converse(host.push([1, 2, 3, 4]))
        await port.converse(host.reset())
        cleared = (Space.SECTION, Space.REGISTER)
        rows = [row for row in image_writes(image) if row[0] in cleared]
        await port.converse(host.write_all(rows))
        assert await port.converse(host.run_pass(FORWARD, samples, registers)) == expected

    simulator = Simulator(top)
    simulator.add_clock(1e-6)
    simulator.add_testbench(port.collect, background=True)
    simulator.add_testbench(bench)
    simulator.run()
