"""The engine's RTL under every simulator: values, stalls, isolation of passes, and failures."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from amaranth.hdl import Module
from machines import (
    CONFIG,
    FRAME,
    echo,
    expected_gradient,
    expected_states,
    forward,
    frames,
    leaky_machine,
    restore,
)

from echoloom.backends.bitstream import tools
from echoloom.backends.engine.requests import PassRequest, PassResult
from echoloom.hdl.engine import Engine
from echoloom.ir.contract import Space
from echoloom.sim.compose import predicted_cycles
from echoloom.sim.run_rtl import Simulator, run_rtl
from echoloom.sim.simulation_error import SimulationError

IMAGE = leaky_machine()
NARROW_STATE = np.array([5, -7, 2**17 - 1, -(2**17)])


@pytest.fixture(params=[name for name in get_args(Simulator) if name != "golden"])
def simulator(request: pytest.FixtureRequest) -> Simulator:
    if request.param == "icarus":
        try:
            tools.iverilog()
        except tools.ToolMissing as missing:  # the one tool that nobody needs
            pytest.skip(str(missing))
    return request.param


def with_state(request: PassRequest, state: np.ndarray) -> PassRequest:
    writes = tuple((Space.VECTOR, lane, 0, int(word)) for lane, word in enumerate(state))
    return replace(request, writes=writes)


def test_the_golden_twin_gives_the_same():
    """Results, counters and trace; its outputs are counted as those of the RTL are."""
    words = frames(20)
    passes = [forward(words, every=3), with_state(echo(words), NARROW_STATE)]
    twin, circuit = (run_rtl(IMAGE, passes, s, trace=True) for s in ("golden", "amaranth"))
    assert all(same(a, b, stalls=False) for a, b in zip(twin, circuit, strict=True))
    with pytest.raises(SimulationError, match="pass 0 gave 24 output words, expected 25"):
        run_rtl(IMAGE, [replace(passes[0], outputs=25)], "golden")
    with pytest.raises(ValueError, match="a sample of pass 0 does not fit in 28 signed bits"):
        run_rtl(IMAGE, [forward(np.full((1, FRAME), 2**27))], "golden")


def same(a: PassResult, b: PassResult, *, stalls: bool = True) -> bool:
    counters = (a.flags, a.cycles, a.busy) == (b.flags, b.cycles, b.busy)
    words = np.array_equal(a.outputs, b.outputs) and np.array_equal(a.reads, b.reads)
    return counters and words and a.trace == b.trace and (not stalls or a.stalls == b.stalls)


def test_small_programs_compute_what_they_say(simulator: Simulator):
    words = frames(20)
    states = expected_states(IMAGE, words)
    passes = [forward(words), with_state(echo(words), NARROW_STATE)]
    ahead, back = run_rtl(IMAGE, passes, simulator, trace=True)
    assert np.array_equal(ahead.outputs.reshape(-1, CONFIG.lanes), states)
    assert np.array_equal(ahead.reads, states[-1])
    assert np.array_equal(back.reads, expected_gradient(NARROW_STATE, words))
    assert (ahead.flags, back.flags) == (0, 0)
    assert ahead.cycles == predicted_cycles(IMAGE, "forward", 20)
    assert back.cycles == predicted_cycles(IMAGE, "echo", 20)
    assert ahead.busy == 20 * FRAME * CONFIG.lanes
    assert [write.value for write in ahead.trace] == states.ravel().tolist()
    assert {(write.iteration, write.lane) for write in ahead.trace} == {
        (step, lane) for step in range(20) for lane in range(CONFIG.lanes)
    }
    assert back.trace == ()


def test_stalls_change_nothing_but_stalls(simulator: Simulator):
    words = frames(60)
    passes = [forward(words), with_state(echo(words), NARROW_STATE)]
    calm = run_rtl(IMAGE, passes, simulator, trace=True)
    for seed in (1, 2):
        stalled = run_rtl(IMAGE, passes, simulator, trace=True, stall_seed=seed)
        for a, b in zip(calm, stalled, strict=True):
            assert same(a, b, stalls=False)
            assert b.stalls > a.stalls


def test_passes_do_not_depend_on_earlier_ones(simulator: Simulator):
    passes = [
        restore(IMAGE, forward(frames(7, seed=3))),
        with_state(echo(frames(5, seed=4)), NARROW_STATE),
        restore(IMAGE, forward(frames(9, seed=5), every=3)),
    ]
    together = run_rtl(IMAGE, [*passes, *passes[::-1]], simulator, trace=True)
    for first, again in zip(together, together[::-1], strict=True):
        assert same(first, again, stalls=False)
    for request, result in zip(passes, together, strict=False):
        (alone,) = run_rtl(IMAGE, [request], simulator, trace=True)
        assert same(alone, result, stalls=False)


def test_long_bursts_keep_their_order(simulator: Simulator):
    """Every word of a memory, written and read back with and without stalls."""
    places = [
        (Space.WEIGHT, lane, address)
        for address in range(CONFIG.weight_depth)
        for lane in range(CONFIG.lanes)
    ]
    words = np.random.default_rng(0).integers(-(2**17), 2**17, len(places))
    writes = tuple((*place, int(word)) for place, word in zip(places, words, strict=True))
    request = PassRequest("echo", frames(1), writes=writes, reads=tuple(places))
    for seed in (None, 5):
        (result,) = run_rtl(IMAGE, [request], simulator, stall_seed=seed)
        assert np.array_equal(result.reads, words)


def test_output_words_must_be_exactly_as_many_as_expected(simulator: Simulator):
    request = forward(frames(4))
    with pytest.raises(SimulationError, match="pass 0 gave 16 output words, expected 15"):
        run_rtl(IMAGE, [replace(request, outputs=15)], simulator)
    with pytest.raises(SimulationError, match=r"pass 0 did not finish within \d+ clocks: .*16"):
        run_rtl(IMAGE, [replace(request, outputs=17)], simulator)


class DeafEngine(Engine):
    """An engine that takes no samples."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        m.d.comb += self.samples.ready.eq(0)
        return m


def test_wrapper_replaces_the_engine_and_a_hang_is_an_error():
    with pytest.raises(SimulationError, match=r"pass 0 did not finish .* 12 samples not taken"):
        run_rtl(IMAGE, [forward(frames(4))], "amaranth", wrapper=DeafEngine)


def test_nothing_to_do_is_an_error():
    with pytest.raises(ValueError, match="proves nothing"):
        run_rtl(IMAGE, [])
    with pytest.raises(ValueError, match="simulator must be one of"):
        run_rtl(IMAGE, [forward(frames(1))], "spice")  # pyright: ignore[reportArgumentType]
