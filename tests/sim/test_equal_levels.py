"""Random small models, and one of the paper's size: all levels give identical integers."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from small_models import samples, target_of

import echoloom as el
from echoloom.ir.passes.estimate import utilisation
from echoloom.ir.sections import Section
from echoloom.sim.run_rtl import Simulator


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "blocks": draw(st.integers(1, 3)),
        "inputs": draw(st.integers(1, 5)),
        "outputs": draw(st.integers(2, 3)),
        "hidden": draw(st.sampled_from([1, 3, 5])),
        "state": draw(st.sampled_from([1, 3])),
        "complex": draw(st.booleans()),
        "task": draw(st.sampled_from(["classification", "regression"])),
        "lanes": draw(st.integers(1, 5)),
        "steps": draw(st.integers(1, 20)),
        "seed": draw(st.integers(0, 99)),
    }


def check(case: dict[str, Any], levels: tuple[str, ...], simulator: Simulator) -> None:
    case = dict(case)
    lanes, steps, seed = case.pop("lanes"), case.pop("steps"), case.pop("seed")
    output_step = 1 + seed % min(3, steps) if case["task"] == "regression" else 1
    model = el.HSSM(**case, output_step=output_step, key=jax.random.key(seed))
    x = samples(model, 2, steps, seed)
    program = el.compile(model, x, lanes=lanes, drains=1 + seed % lanes)
    labels = [target_of(model, steps, seed), None]
    report = el.verify(program, x, labels, simulator=simulator, levels=levels)
    assert report.lsb_off == 0
    for level in report.levels.values():
        assert level.mismatches == 0 < level.compared
    for cycles in report.cycles.values():
        assert cycles.predicted == cycles.rtl


ONE_OF_EVERYTHING = {
    "blocks": 1, "inputs": 1, "outputs": 2, "hidden": 1, "state": 1, "complex": False,
    "task": "classification", "lanes": 1, "steps": 1, "seed": 0,
}  # fmt: skip
ODD = {
    "blocks": 3, "inputs": 3, "outputs": 3, "hidden": 3, "state": 3, "complex": True,
    "task": "regression", "lanes": 4, "steps": 3, "seed": 5,
}  # fmt: skip
MODELS_IN_RTL = settings(
    max_examples=2,
    deadline=None,
    derandomize=True,  # minutes of simulation: the same in every run
    suppress_health_check=[HealthCheck.too_slow],
)


@MODELS_IN_RTL
@given(cases())
@example(ONE_OF_EVERYTHING)
@example(ODD)
def test_small_models_in_amaranth_simulation(case: dict[str, Any]) -> None:
    check(case, ("jax", "rtl"), "amaranth")


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases())
def test_small_models_in_numpy_and_jax(case: dict[str, Any]) -> None:
    check(case, ("jax",), "amaranth")


@pytest.mark.long
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases())
def test_many_small_models_in_verilator(case: dict[str, Any]) -> None:
    check(case, ("jax", "rtl"), "verilator-cpp")


def test_the_papers_size_in_rtl() -> None:
    model = el.HSSM(61, 2, 64, 16, 2, complex=True, key=jax.random.key(0))
    x = samples(model, 1, 20)
    program = el.compile(model, x, lanes=16)
    report = el.verify(program, x, [1], simulator="verilator-cpp", levels=("rtl",))
    assert report.levels["rtl"].mismatches == 0
    # Every gradient word of every tensor is among them.
    assert report.levels["rtl"].compared > 28_000
    assert report.lsb_off == 0
    for cycles in report.cycles.values():
        assert cycles.predicted == cycles.rtl
    used = utilisation(program.artifact.mapped)
    assert used[Section.FORWARD_STEP] >= 0.95
    assert used[Section.ECHO_STEP] >= 0.95
    forward, echo = report.cycles["forward"].rtl, report.cycles["echo"].rtl
    assert echo <= 3.2 * forward


def test_reversible_over_hundreds_of_steps() -> None:
    model = el.HSSM(3, 2, 5, 3, 2, key=jax.random.key(1))
    x = samples(model, 1, 500)
    program = el.compile(model, x, lanes=4)
    result = program.run(x[0], 1)
    free = [words for name, words in result.echo_states.items() if ".free." in name]
    assert len(free) == 4
    assert all(np.array_equal(words, np.zeros_like(words)) for words in free)
    assert not result.overflow
