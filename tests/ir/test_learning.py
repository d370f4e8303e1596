"""Rules of learning: what they are asked for, what they refuse, and the order of batches."""

from __future__ import annotations

import numpy as np
import pytest

import echoloom as el
from echoloom.ir.learning import batch_order, rule_of, rule_settings


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"step": 0.0}, "SignUpdate: step is 0.0, but it must be a number > 0"),
        ({"step": True}, "SignUpdate: step is True, but it must be a number > 0"),
        ({"batch": 0}, "SignUpdate: batch is 0, but it must be a whole number >= 1"),
        ({"updates": 2.5}, "SignUpdate: updates is 2.5, but it must be a whole number >= 1"),
        ({"margin": -1}, "SignUpdate: margin is -1, but it must be a whole number >= 0"),
        ({"halve_at": (4, 4)}, "halve_at is (4, 4), but it must be in rising order"),
        ({"halve_at": (0,)}, "halve_at is (0,), but it must be a tuple of whole numbers >= 1"),
        ({"learn": ()}, "learn is (), but it must be None or a tuple of at least one name"),
        ({"learn": (1,)}, "learn is (1,), but it must be None or a tuple of coefficients' names"),
        ({"momentum": 1}, "SignUpdate: momentum is 1, but it must be True or False"),
    ],
)
def test_a_rule_refuses(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError) as refusal:
        el.SignUpdate(**arguments)  # type: ignore[arg-type]
    assert said in str(refusal.value)


def test_a_seed_is_a_whole_number() -> None:
    with pytest.raises(ValueError, match="ScaledUpdate: seed is -1"):
        el.ScaledUpdate(seed=-1)


def test_steps_are_halved_at_their_updates() -> None:
    rule = el.SignUpdate(halve_at=[2, 5])  # type: ignore[arg-type]
    assert [rule.halvings(update) for update in range(7)] == [0, 0, 1, 1, 1, 2, 2]


@pytest.mark.parametrize(
    "rule",
    [
        el.SignUpdate(momentum=True, halve_at=(3, 7), learn=("head", "b0.readout")),
        el.ScaledUpdate(seed=5, batch=np.int64(4)),  # type: ignore[arg-type]
    ],
)
def test_settings_say_all_of_a_rule(rule: el.SignUpdate | el.ScaledUpdate) -> None:
    assert rule_of(rule_settings(rule)) == rule


def test_every_sequence_comes_once_an_epoch() -> None:
    order = batch_order(6, 4, 6)
    assert order.shape == (6, 4)
    for epoch in order.reshape(-1, 6):
        assert sorted(epoch) == list(range(6))
    assert not np.array_equal(order, batch_order(6, 4, 6, seed=1))
    np.testing.assert_array_equal(order[:2], batch_order(6, 4, 2))
