"""A pass of the real engine, loaded, fed and emptied through the link's packets."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.sim import Simulator
from link_bench import SimulatedPort, joined
from test_engine_host import sums

from echoloom.backends.link import conversation as host
from echoloom.backends.link.ends import Ends
from echoloom.backends.link.image_writes import image_writes
from echoloom.backends.link.passes import run_pass
from echoloom.hdl.commands import LinkSizes, identity
from echoloom.hdl.engine import Engine
from echoloom.hdl.link import Link
from echoloom.ir.contract import Register, Space, Timing
from echoloom.ir.sections import Section

FORWARD = 1


@pytest.mark.parametrize("samples", [64, 256], ids=["streamed", "kept"])
def test_passes_are_the_engines_own(samples):
    image = sums(emit=True)
    frames = [[step, 10 * step, -7] for step in range(30)]
    expected = [weight * sum(frame) for frame in frames for weight in (1, 2, -3)]
    step = image.sections[Section.FORWARD_STEP]

    sizes = LinkSizes(samples=samples)
    link = Link(image.config, identity(image.config, Timing()), sizes)
    top = joined(link, Engine(image.config))
    port = SimulatedPort(link)

    async def bench(ctx):
        port.ctx = ctx
        ends = Ends(sizes.samples)
        registers = {Register.LENGTH: len(frames), Register.OUTPUT_STEP: 1}
        rows = [(Space.REGISTER, 0, register, value) for register, value in registers.items()]
        start = [*rows, (Space.REGISTER, 0, Register.COMMAND, FORWARD)]
        cycles = len(frames) * (step.length + Timing().overhead)
        counter = Space.REGISTER, 0, Register.CYCLES

        def run(known: bool, ends: Ends):
            more = {"outputs": len(expected), "cycles": cycles} if known else {}
            return run_pass(ends, start, np.array(frames), [counter], **more)

        await port.converse(host.identify())
        await port.converse(host.write_all(image_writes(image)))
        for known in (False, True, True):
            passed = await port.converse(run(known, ends))
            assert (passed.outputs, passed.words) == (expected, [cycles])
            assert passed.identity.engine == identity(image.config, Timing())
        assert await port.converse(host.read(Space.WEIGHT, 2, 0, 1)) == [-3]

        # A reset in the middle of a pass leaves nothing of it behind.
        await port.converse(host.write(Space.REGISTER, 0, Register.LENGTH, [5]))
        await port.converse(host.write(Space.REGISTER, 0, Register.COMMAND, [FORWARD]))
        await port.converse(host.reset())
        cleared = (Space.SECTION, Space.REGISTER)
        await port.converse(host.write_all(r for r in image_writes(image) if r[0] in cleared))
        ends = Ends(sizes.samples)
        assert (await port.converse(run(True, ends))).outputs == expected

    simulator = Simulator(top)
    simulator.add_clock(1e-6)
    simulator.add_testbench(port.collect, background=True)
    simulator.add_testbench(bench)
    simulator.run()
