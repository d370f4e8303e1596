"""A function of one entry in `ir.functions`, through every part of the compiler."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import echoloom as el

X = np.random.default_rng(0).normal(size=(3, 8, 2))


class Stretched(el.Hamiltonian):
    """V = sum(q asinh(k q) + 1 / (asinh(q)^2 + 1)) - q . (W u): asinh, its slope, and a pole."""

    stretch: jax.Array
    drive: jax.Array

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        pull = jnp.sum(q * jnp.arcsinh(self.stretch * q))
        return pull + jnp.sum(1.0 / (jnp.arcsinh(q) ** 2 + 1.0)) - q @ (self.drive @ u)


@pytest.fixture(scope="module")
def program() -> el.CompiledProgram:
    unit = Stretched(jnp.array([0.5, 1.0, 2.0]), 0.3 * jnp.ones((3, 4)))
    model = el.HSSM(2, 2, 4, 3, 1, unit=unit, step=0.2, key=jax.random.key(0))
    return el.compile(model, X, lanes=2)


def test_asinh_in_integers(program: el.CompiledProgram) -> None:
    assert "function=asinh" in str(program.ir)
    assert "function=rsqrt" in str(program.ir)  # made of its slope
    wanted = program.model(jnp.asarray(X[0]))
    np.testing.assert_allclose(program.predict(X[0]), wanted, atol=1e-4)


@pytest.mark.long
def test_asinh_at_every_level(program: el.CompiledProgram) -> None:
    report = el.verify(program, X, [0, 1, 1], levels=("jax", "onnx"))
    assert [level.mismatches for level in report.levels.values()] == [0, 0]
    assert max(report.floats.values()) < 1e-9
