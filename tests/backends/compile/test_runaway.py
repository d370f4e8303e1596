"""Models that run away on their samples are refused before anything is quantised."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import echoloom as el
from echoloom.backends.compile.stages import ranges, real_program, traced
from echoloom.frontend.models import parts
from echoloom.frontend.models.hssm import rest
from echoloom.ir.passes.recorder import LIMIT, Runaway

HIDDEN, STEPS = 3, 60
SENTENCE = re.compile(
    rf"block 1 runs away: at step (?P<step>\d+) of {STEPS} of samples\[2\] (?P<state>[qp])"
    r"\[(?P<position>\d)\] reaches (?P<size>\S+) \(the largest before was (?P<before>\S+)\), which "
    r"no format can hold; use a smaller step, a potential that confines q on every side, or inputs "
    r"of a smaller scale"
)


class Pit(el.Hamiltonian):
    """A quartic of either sign: a hill of negative k has no bottom to come to rest on."""

    k: jax.Array
    drive: jax.Array

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        return jnp.sum(0.5 * q**2 + 0.25 * self.k * q**4) - q @ (self.drive @ u)


class Cliff(Pit):
    """Exponentially steep."""

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        return jnp.sum(-self.k * jnp.exp(q)) - q @ (self.drive @ u)


class Rim(Pit):
    """A well with a hill around it, beyond which it goes down for ever."""

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        return jnp.sum(0.5 * q**2 - 0.05 * q**4) - q @ (self.drive @ u)


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield


def model(kind: type[Pit], k: float, step: float, **arguments: Any) -> el.HSSM:
    """A linear block, and one that may run away."""
    unit = kind(jnp.array([1.0, k]), jnp.ones((2, HIDDEN)))
    return el.HSSM(
        2, 2, HIDDEN, 2, 2, unit=["linear", unit], step=[0.2, step], key=jax.random.key(0),
        **arguments,
    )  # fmt: skip


def samples(scale: float) -> np.ndarray:
    """Three sequences, of which only the last is large."""
    x = scale * np.random.default_rng(0).normal(size=(3, STEPS, 2))
    x[:2] *= 0.01
    return x


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize(
    ("kind", "k", "step", "scale"),
    [(Pit, -1.0, 0.2, 1.0), (Pit, 1.0, 0.9, 20.0), (Cliff, 1.0, 0.5, 1.0)],
    ids=["no bottom", "a step too long", "a cliff"],
)
def test_it_is_refused_in_one_sentence(
    kind: type[Pit], k: float, step: float, scale: float, task: str
) -> None:
    with pytest.raises(ValueError) as caught:
        el.compile(model(kind, k, step, task=task), samples(scale), lanes=2)
    found = SENTENCE.fullmatch(str(caught.value))
    assert found is not None, caught.value
    assert float(found["before"]) < LIMIT <= float(found["size"])


def test_the_step_is_the_first_that_leaves() -> None:
    """Against a plain loop in floats."""
    own = model(Pit, -1.0, 0.2)
    with pytest.raises(ValueError) as caught:
        el.compile(own, samples(1.0), lanes=2)
    found = SENTENCE.fullmatch(str(caught.value))
    assert found is not None
    coefficients = own.resolve()
    states = before = rest(coefficients)
    for at in jnp.asarray(samples(1.0)[2, : int(found["step"])]):
        before = states
        states, _ = parts.advance(coefficients, states, at)
    position = int(found["position"])
    for state, wanted in ((states, found["size"]), (before, found["before"])):
        value = abs(getattr(state[1], found["state"]))
        assert f"{float(value[position] if state is states else value.max()):.3g}" == wanted


def test_an_echo_that_is_pushed_out_names_its_copy() -> None:
    """Free it stays in a shallow well, over whose rim a large nudge throws it."""
    own = model(Rim, 1.0, 0.2)
    source = traced(own, samples(0.05))
    ranges(source, real_program(source, (2.0**-20,) * 2))
    with pytest.raises(Runaway, match=r"^the echo's (plus|minus) copy of block 1 runs away") as out:
        ranges(source, real_program(source, (2.0**-20, 2.0**12)))
    assert out.value.echo
    assert el.compile(own, samples(0.05), lanes=2).epsilons[1] < 2.0**12


def test_a_well_that_holds_is_compiled() -> None:
    assert el.compile(model(Pit, 1.0, 0.2), samples(1.0), lanes=2).ir.bodies
