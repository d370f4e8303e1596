"""el.verify(..., learn=N): the same weights after every update at every level, and what it says of
a training that went wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import pytest
from learning_programs import BATCH, CASES, made

import echoloom as el
from echoloom.backends.compile.learned import lesson_of
from echoloom.backends.engine import learning
from echoloom.backends.engine.learning import LearningPass, LearningPasses
from echoloom.backends.run import jax_updates
from echoloom.backends.run.learning_run import NumpyLearner, learn
from echoloom.ir.contract import Add, Destination, Image, Space
from echoloom.ir.reports import Report
from echoloom.ir.sections import Section
from echoloom.sim.locate_learning import locate_in_batch, with_weights
from echoloom.sim.run_rtl import run_rtl
from echoloom.sim.verify_learning import update_passes

UPDATES = 3


def verify(case: str, **options: Any) -> el.VerifyReport:
    program, x, y = made(case)
    return el.verify(program, x, [*y], **{"simulator": "golden", "learn": UPDATES, **options})


@pytest.mark.parametrize("case", CASES)
def test_all_levels_learn_the_same(case: str) -> None:
    report = verify(case)
    assert {name: level.mismatches for name, level in report.levels.items()} == {"jax": 0, "rtl": 0}
    plan = made(case)[0].learning
    assert plan is not None and report.learning is not None
    weights = sum(t.weight.rows * t.weight.columns for t in plan.tensors)
    assert report.learning.weights == weights
    assert (report.learning.updates, report.learning.batch) == (UPDATES, BATCH)
    assert report.levels["jax"].compared > UPDATES * 2 * weights
    kinds = ["forward", "echo", "add", *(["scan"] if CASES[case][2] == "scaled" else []), "update"]
    assert list(report.cycles) == kinds
    assert all(own.predicted == own.rtl > 0 for own in report.cycles.values())
    assert report.overflowed == 0


def test_another_batch_than_the_rule_says() -> None:
    report = verify("linear", learn=2, batch=4, levels=("rtl",))
    assert report.learning is not None and report.learning.batch == 4
    assert report.levels["rtl"].echo == 8


CPP = "verilator-cpp"


@pytest.mark.parametrize("case", CASES)
def test_the_circuit_learns_the_same_when_it_has_to_wait(case: str) -> None:
    report = verify(case, levels=("rtl",), simulator=CPP, stall_seed=7)
    assert report.levels["rtl"].mismatches == 0 and report.overflowed == 0


@pytest.mark.parametrize(
    ("case", "simulator"),
    [*((case, "golden") for case in CASES), ("nonlinear", CPP), ("regression", CPP)],
)
def test_a_second_training_knows_nothing_of_the_first(case: str, simulator: Any) -> None:
    """Twice, without a reset in between: weights are written, all else is as it was left."""
    program, x, y = made(case)
    lesson = lesson_of(program, x, y, 2)
    expected = [*learn(NumpyLearner(program.artifact), lesson)]
    passes = LearningPasses(program.artifact, program.image)
    parts = [
        part
        for number, (sums, _) in enumerate(expected)
        for part in update_passes(passes, lesson, number, sums.outputs)
    ]
    once = [one.request for one in chain.from_iterable(parts)]
    start = [
        (Space.WEIGHT, lane, address, int(program.artifact.coefficients[t.name].flat[index]))
        for t in passes.plan.tensors
        for index, lane, address in t.weight.elements(program.image.config.lanes)
    ]
    again = replace(once[0], writes=(*start, *once[0].writes))
    results = run_rtl(program.image, [*once, again, *once[1:]], simulator, stall_seed=None)
    assert len(results) == 2 * len(once)
    for first, second in zip(results[: len(once)], results[len(once) :], strict=True):
        for name, value in vars(first).items():
            if name != "stalls":
                assert np.array_equal(getattr(second, name), value), name
    found = passes.updated([*zip(parts[-1], results[-len(parts[-1]) :], strict=True)])
    for name, words in expected[-1][1].weights.items():
        assert np.array_equal(found.weights[name], words), name


# Sabotage: what a host or an engine may get wrong


def expect(case: str, **options: Any) -> str:
    with pytest.raises(el.Mismatch) as caught:
        verify(case, levels=("rtl",), **options)
    assert caught.value.difference.update is not None
    return str(caught.value)


def test_a_wrong_sign_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = learning.steps_at

    def wrong(plan: Any, tensors: Any, update: int) -> list[int]:
        steps = right(plan, tensors, update)
        return [-step if t.name == "b0.readout" else step
                for t, step in zip(tensors, steps, strict=True)]  # fmt: skip

    monkeypatch.setattr(learning, "steps_at", wrong)
    message = expect("linear")
    assert message.startswith("rtl: first difference at update 0, weight b0.readout[0, 0], bit ")


def test_a_skipped_tensor_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = LearningPasses.update

    def forgetful(self: LearningPasses, update: int) -> Iterator[LearningPass]:
        for one in right(self, update):
            if update != 1 or one.tensor != "b0.value.weight":
                yield one

    monkeypatch.setattr(LearningPasses, "update", forgetful)
    assert "at update 1, weight b0.value.weight[0, 0], bit " in expect("linear")


def test_a_stale_gradient_word_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first echo of a batch adds to the sums of the batch before."""
    monkeypatch.setattr(learning, "goes_on", lambda plan: True)
    message = expect("linear")
    assert "at update 1, gradient " in message and ", bit " in message


def test_a_generator_that_is_not_reset_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = LearningPasses._noise
    monkeypatch.setattr(
        LearningPasses, "_noise", lambda self, update: right(self, update) if update == 0 else ()
    )
    message = expect("complex")
    assert message.startswith("rtl: first difference at update 1, weight encoder.weight[")


def test_a_step_that_is_not_halved_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = learning.steps_at
    monkeypatch.setattr(learning, "steps_at", lambda plan, tensors, _: right(plan, tensors, 0))
    assert "at update 2, weight encoder.weight[0, 0], bit " in expect("linear")


def with_drain(image: Image, index: int, **changes: Any) -> Image:
    drain = list(image.drain)
    drain[index] = replace(drain[index], **changes)
    return replace(image, drain=tuple(drain))


@pytest.mark.parametrize("simulator", ["golden", CPP])
def test_a_sign_that_the_engine_gets_wrong_is_found(simulator: str) -> None:
    """It takes the direction from a word of zeros."""
    program, _, _ = made("linear")
    image = program.image
    start = image.sections[Section.UPDATE].drain
    index = next(i for i in range(start, len(image.drain)) if image.drain[i].width == 2)
    zero = program.artifact.mapped.allocation.vectors.places[""].address
    wrong = with_drain(image, index, add=Add.MINUS, base=zero)
    message = expect("linear", image=wrong, simulator=simulator)
    assert message.startswith("rtl: first difference at update 0, weight encoder.weight[0, 0], bit")


@pytest.mark.parametrize("simulator", ["golden", CPP])
def test_a_gradient_word_of_another_row_is_found(simulator: str) -> None:
    program, _, _ = made("regression")
    image, mac = program.image, list(program.image.mac)
    start = image.sections[Section.UPDATE].mac
    index = next(i for i in range(start, len(mac)) if mac[i].load_gradient)
    mac[index] = replace(mac[index], g_base=mac[index].g_base + 1)
    message = expect("regression", image=replace(image, mac=tuple(mac)), simulator=simulator)
    assert "at update 0, weight encoder.weight[" in message


def test_what_is_wrong_inside_a_batch_is_named_by_its_step() -> None:
    """An entry of the echo multiplies by another word: on the weights of update 1's batch too."""
    program, _, _ = made("linear")
    image, mac = program.image, list(program.image.mac)
    place = program.artifact.mapped.allocation.gradient.places["b0.readout"]
    index = next(
        i for i in range(image.sections[Section.ECHO_STEP].mac, len(mac))
        if mac[i].destination is Destination.GRADIENT and mac[i].g_base == place.address
    )  # fmt: skip
    mac[index] = replace(mac[index], y_base=mac[index].y_base + 1)
    message = expect("linear", image=replace(image, mac=tuple(mac)))
    assert message.startswith(
        "rtl: first difference at update 0, step 0, block b0, signal readout (echo_step)["
    )


def test_weights_of_a_later_update_are_put_into_the_image() -> None:
    program, x, y = made("linear")
    lesson = lesson_of(program, x, y, 2)
    expected = [*learn(NumpyLearner(program.artifact), lesson)]
    given = program, lesson, expected, 1, program.image, "golden", None
    assert locate_in_batch(*given) is None
    weights = {**program.artifact.coefficients, **expected[0][1].weights}
    image = with_weights(program, program.image, weights)
    assert image == program.with_weights(expected[0][1].weights).image


def test_a_clamped_word_that_is_not_counted_is_found() -> None:
    """Steps as large as the format's range: words clamp, but the engine says nothing."""
    program, x, y = made("linear")
    plan = program.learning
    assert plan is not None
    wide = replace(plan, rule=replace(plan.rule, step=64.0))
    mapped = replace(program.artifact.mapped, learning=wide)
    program = replace(program, artifact=replace(program.artifact, mapped=mapped))
    given = program, x, [*y]
    report = el.verify(*given, learn=1, simulator="golden")
    assert report.learning is not None and report.learning.clamped > 0
    image = program.image
    for index in range(image.sections[Section.UPDATE].drain, len(image.drain)):
        if image.drain[index].report is Report.CLAMP:
            image = with_drain(image, index, report=Report.QUIET)
    with pytest.raises(el.Mismatch, match=r"at update 0, clamped words of encoder.weight, bit"):
        el.verify(*given, learn=1, simulator="golden", levels=("rtl",), image=image)


@pytest.mark.parametrize(
    ("name", "value", "where"),
    [
        ("MULTIPLIER", 110485, "update 0, weight encoder.weight["),
        ("PEAK_BITS", 22, "update 0, shift encoder.weight, bit 0: "),
        ("_rounded", lambda x, shift: x >> shift, "update 0, weight encoder.weight["),
    ],
)
def test_a_wrong_rule_under_jax_is_found(
    name: str, value: Any, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jax_updates, name, value)
    with pytest.raises(el.Mismatch) as caught:
        verify("complex", levels=("jax",), learn=1)
    assert str(caught.value).startswith(f"jax: first difference at {where}")


# What cannot be verified


def test_what_no_training_has_is_refused() -> None:
    program, x, y = made("linear")
    for given, said in (
        ({"levels": ("jax", "onnx")}, "the level onnx does not learn"),
        ({"labels": None}, "without a label for every sequence"),
        ({"labels": [*y[:-1], None]}, "without a label for every sequence"),
        ({"learn": None, "batch": 4}, "say learn"),
        ({"waves": "w.fst"}, "waves is not for a training"),
        ({"learn": 0}, "updates is 0"),
    ):
        arguments = {"labels": y, "learn": 1, "simulator": "golden", **given}
        with pytest.raises(ValueError, match=said):
            el.verify(program, x, **arguments)
