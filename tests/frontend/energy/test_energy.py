"""A unit written as one energy(q, p, u) is the unit written as kinetic and potential."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

import echoloom as el
from echoloom.frontend.energy.hamiltonian import Separated
from echoloom.frontend.gradients.bptt import bptt_gradient
from echoloom.frontend.gradients.rhel import rhel_gradient
from echoloom.frontend.models.hssm import with_statistics

HIDDEN, POSITIONS, INPUTS, STEPS = 4, 3, 2, 24


class Apart(el.Hamiltonian):
    """A relativistic particle in a quartic well."""

    mass: jax.Array
    hardening: jax.Array
    drive: jax.Array

    def kinetic(self, p: jax.Array) -> jax.Array:
        return jnp.sum(jnp.sqrt(jnp.exp(self.mass) + p**2))

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        well = 0.5 * q**2 + 0.25 * self.hardening * q**4
        return jnp.sum(well) - q @ jnp.tanh(self.drive @ u)


class AsOne(el.Hamiltonian):
    """The same, its terms mixed up, with a constant that no derivative sees."""

    mass: jax.Array
    hardening: jax.Array
    drive: jax.Array

    def energy(self, q: jax.Array, p: jax.Array, u: jax.Array) -> jax.Array:
        well = 0.5 * q**2 + 0.25 * self.hardening * q**4
        root = jnp.sqrt(jnp.exp(self.mass) + p**2)
        return 3.0 + jnp.sum(root - -well) - q @ jnp.tanh(self.drive @ u)


def model(kind: type[Apart] | type[AsOne], blocks: int = 2) -> el.HSSM:
    keys = jax.random.split(jax.random.key(1), 2)
    unit = kind(
        jnp.linspace(-0.5, 0.5, POSITIONS),
        jax.random.uniform(keys[0], (POSITIONS,), minval=0.2, maxval=0.4),
        0.5 * jax.random.normal(keys[1], (POSITIONS, HIDDEN)),
    )
    new = el.HSSM(INPUTS, 2, HIDDEN, POSITIONS, blocks, unit=unit, step=0.2, key=jax.random.key(0))
    return with_statistics(new, jnp.asarray(samples()))


def samples() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, STEPS, INPUTS))


def assert_close(ours: object, theirs: object, tolerance: float) -> None:
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * float(jnp.abs(b).max()))


def test_in_floats() -> None:
    one, apart = model(AsOne), model(Apart)
    assert isinstance(one.resolve().blocks[0].unit, Separated)
    x = jnp.asarray(samples()[0])
    np.testing.assert_allclose(one(x), apart(x), rtol=1e-12)
    assert_close(rhel_gradient(one, x, 1), rhel_gradient(apart, x, 1), 1e-6)
    assert_close(bptt_gradient(one, x, 1), bptt_gradient(apart, x, 1), 1e-12)
    assert_close(rhel_gradient(one, x, 1, 2.0**-10), bptt_gradient(one, x, 1), 1e-5)


def test_in_integers() -> None:
    one, apart = (el.compile(model(kind), samples(), lanes=2) for kind in (AsOne, Apart))
    ours, theirs = (program.run(samples()[0], 1) for program in (one, apart))
    np.testing.assert_array_equal(ours.outputs, theirs.outputs)
    assert ours.gradients.keys() == theirs.gradients.keys()
    for name, words in theirs.gradients.items():
        np.testing.assert_array_equal(ours.gradients[name], words, err_msg=name)
    found = one.gradient(samples()[0], 1)
    assert_close(found, apart.gradient(samples()[0], 1), 0.0)
    assert all(float(jnp.abs(g).max()) > 0.0 for g in jax.tree.leaves(found.blocks[0].unit))
