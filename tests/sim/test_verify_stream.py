"""A stream in the engine: RTL and golden twin give the pushes' integers and cycles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import tiny

import echoloom as el
from echoloom.backends.engine.requests import PassRequest
from echoloom.frontend.models.sizes import Task
from echoloom.ir.contract import Register
from echoloom.ir.sections import RESUMED
from echoloom.sim import verify_stream as module

SIZES = (0, 1, 4, 0, 2, 1)
STEPS = sum(SIZES)
INITIAL = [(np.full(4, 0.1), np.full(4, -0.2)), (np.zeros(4), np.full(4, 0.3))]


def sequence(steps: int) -> np.ndarray:
    return np.clip(np.random.default_rng(2).normal(size=(steps, 3)), -1.5, 1.5)


def answers(task: Task) -> dict[int, object]:
    """A label, or the targets of a window of three steps, after pushes 2 and 5: at steps 5 and 8,
    which have an output and two, as there is one at every second step."""
    if task == "classification":
        return {2: 1, 5: 0}
    return {2: np.zeros((1, 2)), 5: np.full((2, 2), 0.3)}


@pytest.mark.parametrize("initial", [None, INITIAL])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_pushes_and_windows_on_the_golden_twin(task: Task, initial: object) -> None:
    program, _ = tiny(task)
    report = el.verify_stream(
        program, sequence(STEPS), SIZES, answers(task), window=3, initial=initial,
        levels=("rtl",), simulator="golden",
    )  # fmt: skip
    assert (report.steps, report.pushes, report.gradients) == (STEPS, len(SIZES), 2)
    assert report.cycles == report.predicted
    assert report.compared["rtl"] > 400


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_pushes_and_windows_in_rtl(task: Task) -> None:
    program, _ = tiny(task)
    report = el.verify_stream(
        program, sequence(STEPS), SIZES, answers(task), window=3, simulator="verilator-cpp",
        stall_seed=4, levels=("rtl",),
    )  # fmt: skip
    assert report.cycles == report.predicted


@settings(max_examples=3, deadline=None)
@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=5),
    st.sampled_from(["classification", "regression"]),
)
def test_any_sizes_on_the_golden_twin(sizes: list[int], task: Task) -> None:
    program, _ = tiny(task)
    sizes = [*sizes, 2]
    el.verify_stream(program, sequence(sum(sizes)), sizes, levels=("rtl",), simulator="golden")


def test_every_push_has_its_own_cycles() -> None:
    """A push takes the cycles of its steps and, where there is one, of the epilogue."""
    program, _ = tiny()
    mapped = program.artifact.mapped
    whole = el.verify_stream(program, sequence(4), [4], levels=("rtl",), simulator="golden")
    halves = el.verify_stream(program, sequence(4), [2, 2], levels=("rtl",), simulator="golden")
    assert whole.cycles and halves.cycles
    assert whole.cycles == mapped.cycles(True, 4) + mapped.cycles_of(RESUMED, 4)
    assert halves.cycles == mapped.cycles(True, 4) + 2 * mapped.cycles_of(RESUMED, 2)


def at_rest(request: PassRequest) -> PassRequest:
    return replace(request, kind="forward") if request.kind == "resume" else request


def without_phase(request: PassRequest) -> PassRequest:
    return replace(request, registers={**request.registers, Register.OUTPUT_PHASE: 0})


def unwritten(request: PassRequest) -> PassRequest:
    return replace(request, writes=()) if request.kind == "resume" else request


@pytest.mark.parametrize(
    ("task", "spoil", "sentence"),
    [
        ("classification", at_rest, "cycles of push 0"),
        ("regression", without_phase, "rtl, push 1, steps 3 to 5"),
        ("classification", unwritten, "rtl, push 0, steps 0 to 3"),
    ],
)
def test_a_state_that_is_lost_is_found(
    task: Task,
    spoil: Callable[[PassRequest], PassRequest],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = module.pass_request
    monkeypatch.setattr(module, "pass_request", lambda *args: spoil(real(*args)))
    program, _ = tiny(task)
    with pytest.raises(el.Mismatch, match=sentence):
        el.verify_stream(program, sequence(5), [3, 2], levels=("rtl",), simulator="golden")


def test_what_is_refused() -> None:
    program, _ = tiny()
    with pytest.raises(ValueError, match="make up the sequence of 5 samples, got 4"):
        el.verify_stream(program, sequence(5), [3, 1])
    with pytest.raises(ValueError, match="unknown level 'onnx'"):
        el.verify_stream(program, sequence(5), [5], levels=("onnx",))
    with pytest.raises(ValueError, match="with T >= 1"):
        el.verify_stream(program, sequence(0), [0, 0])
