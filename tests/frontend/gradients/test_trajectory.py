"""What rounding does to a course, seen before a gradient is trusted."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import echoloom as el


class DoubleWell(el.Hamiltonian):
    """A driven particle between two wells: chaotic within a few hundred steps."""

    drive: jax.Array

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        return 0.25 * jnp.sum((q**2 - 1.0) ** 2) - q @ (self.drive @ u)


def tone(steps: int, inputs: int = 5) -> jax.Array:
    """A slow sine a channel, [steps, inputs]."""
    return jnp.sin(jnp.arange(steps)[:, None] * (0.1 + 0.05 * jnp.arange(inputs)))


def wells(make_model) -> el.HSSM:
    return make_model(unit=DoubleWell(0.3 * jnp.ones((4, 7))), step=0.3, blocks=1)


def single(model: el.HSSM) -> el.HSSM:
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float32), model)


def test_a_steady_course(make_model):
    found = el.trajectory_check(single(make_model()), tone(2000).astype(jnp.float32))
    assert found.dtype == "float32" and found.steps == 2000
    assert 0.0 < found.parted < 1e-4 and 0.0 < found.returned < 1e-4
    assert found.trusted and not found.chaotic
    assert found.verdict.startswith("steady: over 2,000 steps float32 and float64 part by ")


def test_a_chaotic_course_is_called_so(make_model):
    model = wells(make_model)
    found = el.trajectory_check(single(model), tone(3000))
    assert found.parted > 0.1 and found.returned > 0.1
    assert found.chaotic and not found.trusted
    assert found.verdict.startswith("chaotic: ") and "follow the rounding" in found.verdict
    assert "\n" not in found.verdict


def test_chaos_shows_before_it_has_grown(make_model):
    """Short enough for a gradient, and still named: rounding grows faster than it adds up."""
    found = el.trajectory_check(single(wells(make_model)), tone(300))
    assert found.chaotic and found.trusted
    assert found.verdict.startswith("chaotic, and short enough: ")


def test_more_digits_can_be_trusted_longer(make_model):
    """A float64 model is judged by its own way back, not by what float32 would make of it."""
    model = wells(make_model)
    found = el.trajectory_check(model, tone(700))
    assert found.dtype == "float64"
    assert found.chaotic and found.trusted
    assert not el.trajectory_check(single(model), tone(700)).trusted


@pytest.mark.parametrize("steps", [1, 127, 129])
def test_any_length(make_model, steps):
    found = el.trajectory_check(make_model(), np.asarray(tone(steps)), chunk=64)
    assert found.trusted and not found.chaotic


def test_refusals(make_model):
    with pytest.raises(ValueError, match="input: its shape is"):
        el.trajectory_check(make_model(), tone(10, inputs=3))
