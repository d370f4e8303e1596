"""A potential without u: the unit moves by itself, and the model is still one that learns."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import echoloom as el
from echoloom.backends.run.run_jax import JaxRunner

X, Y = np.random.default_rng(0).normal(size=(3, 7, 2)), np.array([0, 1, 1])


class Alone(el.Hamiltonian):
    """Springs towards 1, or pendulums; no input reaches them."""

    stiffness: jax.Array

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        return 0.5 * jnp.sum(self.stiffness * (q - 1.0) ** 2) + jnp.sum(jnp.cos(q))


class AtRest(el.Hamiltonian):
    """Springs that never leave their rest."""

    stiffness: jax.Array

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        return 0.5 * jnp.sum(self.stiffness * q**2)


@pytest.mark.parametrize("kind", [Alone, AtRest])
def test_the_program_is_the_model(kind: type[Alone] | type[AtRest]) -> None:
    unit = kind(jnp.array([0.5, 1.0]))
    model = el.HSSM(2, 2, 3, 2, 1, unit=unit, step=0.3, key=jax.random.key(0))
    program = el.compile(model, X, lanes=2)
    for x, y in zip(X, Y, strict=True):
        np.testing.assert_allclose(program.predict(x), model(jnp.asarray(x)), atol=2e-5)
        found, wanted = program.gradient(x, y), el.bptt_gradient(model, jnp.asarray(x), y)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-3 * float(jnp.abs(b).max()))
    batch = JaxRunner(program.artifact).run(X, Y)
    for i, (x, y) in enumerate(zip(X, Y, strict=True)):
        alone = program.run(x, y)
        np.testing.assert_array_equal(batch.outputs[i], alone.outputs)
        for name, words in alone.gradients.items():
            np.testing.assert_array_equal(batch.gradients[name][i], words, err_msg=name)
