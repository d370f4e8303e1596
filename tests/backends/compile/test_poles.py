"""Functions with a pole: what is proven of an argument belongs to the present parameters."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import echoloom as el

SAMPLES = np.random.default_rng(0).normal(size=(3, 10, 2))


class SoftCore(el.Hamiltonian):
    """V = sum(1/2 k q^2 + g / sqrt(q^2 + exp(floor))) - q . (W u)."""

    spring: jax.Array
    floor: jax.Array
    drive: jax.Array

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        core = 0.1 / jnp.sqrt(q**2 + jnp.exp(self.floor))
        return jnp.sum(0.5 * self.spring * q**2 + core) - q @ (self.drive @ u)


@pytest.fixture(scope="module")
def compiled() -> el.CompiledProgram:
    unit = SoftCore(jnp.ones(3), jnp.zeros(3), 0.3 * jnp.ones((3, 4)))
    model = el.HSSM(2, 2, 4, 3, 1, unit=unit, step=0.2, key=jax.random.key(0))
    return el.compile(model, SAMPLES, lanes=2)


def with_floor(model: el.HSSM, value: float) -> el.HSSM:
    return eqx.tree_at(
        lambda m: m.blocks[0].unit.hamiltonian.floor, model, jnp.full(3, value)
    )  # fmt: skip


def test_parameters_that_keep_the_distance(compiled: el.CompiledProgram) -> None:
    other = compiled.with_parameters(with_floor(compiled.model, -0.5))
    assert (other.predict(SAMPLES[0]) != compiled.predict(SAMPLES[0])).any()


def test_parameters_that_come_too_near(compiled: el.CompiledProgram) -> None:
    with pytest.raises(
        ValueError,
        match=r"^SoftCore.potential at \S+test_poles.py:\d+:\d+: with these parameters the "
        r"argument of \w+ may be as small as 1.13e-07, but "
        r"a segment of its table is [\d.]+ wide; compile the new model instead of reusing formats$",
    ):
        compiled.with_parameters(with_floor(compiled.model, -16.0))


def test_a_model_that_comes_too_near(compiled: el.CompiledProgram) -> None:
    with pytest.raises(
        ValueError,
        match=r"^SoftCore.potential at \S+test_poles.py:\d+:\d+: the argument of \w+ may be as "
        r"small as 1.13e-07, but the 2048",
    ):
        el.compile(with_floor(compiled.model, -16.0), SAMPLES, lanes=2)
