"""el.verify(..., learn=N): the same weights after every update at every level, and what it says of
a training that went wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from learning_programs import BATCH, CASES, made

import echoloom as el
from echoloom.backends.engine import learning
from echoloom.backends.engine.learning import LearningPass, LearningPasses

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
