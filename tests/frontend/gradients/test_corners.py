"""Corners that are met exactly: at rest, in silent channels, between equal neighbours."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cornered_units import AT_ZERO, cornered
from gradient_errors import errors
from hamiltonians import GALLERY

import echoloom as el
from echoloom.frontend.energy.canonical import canonicalise
from echoloom.frontend.gradients.rhel.dynamics import has_corners

PIECEWISE = ("backlash", "clipped", "huber", "walls")


class Bent(el.Hamiltonian):
    """f of a position, of the drive, and of neighbours."""

    k: jax.Array
    name: str = eqx.field(static=True)

    def potential(self, q, u):
        f = AT_ZERO[self.name]
        in_q = f(self.k * q) + f(q - jnp.roll(q, 1))
        return jnp.sum(in_q) + jnp.sum(q) * jnp.sum(f(u)) + jnp.sum(f(q) ** 2 * self.k)


def slopes(unit, q, u):
    """dV/dq, dV/du and dV/dk."""
    return jax.grad(lambda own, *at: own.potential(*at), argnums=(1, 2, 0))(unit, q, u)


@pytest.mark.parametrize("name", AT_ZERO)
def test_every_slope_at_a_corner_is_jaxs(name):
    """Of force, input gradient and contrast; on, and next to, the corner."""
    unit = Bent(jnp.array([0.5, 0.25, 2.0]), name)
    canonical = canonicalise(unit, positions=3, hidden=2)
    for q in (jnp.zeros(3), jnp.array([1.0, 0.0, -1.0]) / 16):
        for u in (jnp.zeros(2), jnp.array([0.0, -0.5])):
            wanted = slopes(unit, q, u)
            folded, back = jax.vjp(canonical.fold, unit)
            *found, in_folded = slopes(folded, q, u)
            found.append(back(in_folded)[0].k)
            for ours, exact in zip(found, (*wanted[:2], wanted[2].k), strict=True):
                np.testing.assert_allclose(ours, exact, atol=1e-15)


def tangent(unit, q, u, way):
    """The force's change along a way, as JAX has it."""
    return jax.jvp(lambda at: jax.grad(unit.potential)(at, u), (q,), (way,))[1]


@pytest.mark.parametrize("name", AT_ZERO)
def test_on_the_sides_of_another_place_an_energy_goes_straight_on(name):
    unit = Bent(jnp.array([0.5, 0.25, 2.0]), name)
    folded = canonicalise(unit, positions=3, hidden=2).fold(unit)
    u, way = jnp.array([0.25, -0.5]), 1e-3 * jnp.array([3.0, -5.0, 1.0])
    for q in (jnp.zeros(3), jnp.array([0.125, 0.0, -0.125])):
        sides = folded.sides(q, u)
        assert folded.potential(q, u, sides) == folded.potential(q, u)
        above, below = (jax.grad(folded.potential)(q + s * way, u, sides) for s in (1.0, -1.0))
        # Up to the third order of what is curved.
        np.testing.assert_allclose((above - below) / 2, tangent(unit, q, u, way), 1e-4, 1e-7)


CASES = [
    pytest.param("fixed", 0, False, {}, id="at rest"),
    pytest.param("fixed", 6, False, {}, id="longer than a chunk"),
    pytest.param("difference", 3, True, {"integrator": "imex"}, id="imex and a silent channel"),
    pytest.param("renormalised", 0, False, {"substeps": 2}, id="substeps"),
]


@pytest.mark.parametrize(("mode", "rests", "silent", "options"), CASES)
def test_every_echo_is_backpropagation(mode, rests, silent, options):
    """In float64, to rounding, in every mode, in chunks that end before the rest does."""
    model, x = cornered(rests, silent, **options)
    X, y = jnp.asarray(x), jnp.array([0, 1, 0])
    value, wanted = el.bptt_value_and_grad(model)(model, X, y)
    same, found = el.rhel_value_and_grad(model, echoes=mode, chunk=4)(model, X, y)
    assert abs(same - value) < 1e-14
    assert {name: e for name, e in errors(found, wanted).items() if not e < 1e-11} == {}


@pytest.mark.parametrize("name", GALLERY)
def test_only_corners_are_taken_for_corners(name):
    """Smooth energies keep the echoes that a mode asks for, whatever JAX makes them of."""
    exhibit = GALLERY[name]
    unit = exhibit(4, jax.random.key(0))
    model = el.HSSM(2, 2, 4, exhibit.positions, 1, unit=unit, key=jax.random.key(1))
    (block,) = model.resolve().blocks
    assert has_corners(block) == (name in PIECEWISE)
