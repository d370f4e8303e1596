"""Kinetic energies other than 1/2 p^2; each is even in p. The wells are those of Duffing."""

from __future__ import annotations

import jax
import jax.numpy as jnp

import echoloom as el
from hamiltonians.parameters import between, matrix
from hamiltonians.wells import Duffing


class Relativistic(el.Hamiltonian):
    """Particles that come near the speed of light: T = sum(sqrt(m^2 + p^2)), V of Duffing."""

    mass: jax.Array  # m [m], not zero
    well: Duffing

    @classmethod
    def new(cls, positions: int, hidden: int, key: jax.Array) -> Relativistic:
        """Light enough that the speed limit shows."""
        keys = jax.random.split(key, 2)
        return cls(
            mass=between(0.8, 1.5, positions, keys[0]),
            well=Duffing.new(positions, hidden, keys[1]),
        )

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        """V(q [m], u [H]) -> scalar."""
        return self.well.potential(q, u)

    def kinetic(self, p: jax.Array) -> jax.Array:
        """T(p [m]) -> scalar."""
        return jnp.sum(jnp.sqrt(self.mass**2 + p**2))


class DenseMass(el.Hamiltonian):
    """Generalised coordinates with an inverse mass matrix M = L L^T: T = 1/2 p . M p, V of Duffing.

    M is positive whatever L is.
    """

    factor: jax.Array  # L [m, m]
    well: Duffing

    @classmethod
    def new(cls, positions: int, hidden: int, key: jax.Array) -> DenseMass:
        """M near the identity."""
        keys = jax.random.split(key, 2)
        return cls(
            factor=0.9 * jnp.eye(positions) + matrix(0.2, positions, positions, keys[0]),
            well=Duffing.new(positions, hidden, keys[1]),
        )

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        """V(q [m], u [H]) -> scalar."""
        return self.well.potential(q, u)

    def kinetic(self, p: jax.Array) -> jax.Array:
        """T(p [m]) -> scalar."""
        inverse_mass = self.factor @ self.factor.T
        return 0.5 * p @ (inverse_mass @ p)


class SaturatingVelocity(el.Hamiltonian):
    """Velocities tanh p that saturate: T = sum(log cosh p), V = 1/2 sum(k q^2) - q . (W u)."""

    stiffness: jax.Array  # k [m]
    drive: jax.Array  # W [m, H]

    @classmethod
    def new(cls, positions: int, hidden: int, key: jax.Array) -> SaturatingVelocity:
        """Springs of about one."""
        keys = jax.random.split(key, 2)
        return cls(
            stiffness=between(0.5, 1.5, positions, keys[0]),
            drive=matrix(0.5, positions, hidden, keys[1]),
        )

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        """V(q [m], u [H]) -> scalar."""
        return 0.5 * jnp.sum(self.stiffness * q**2) - q @ (self.drive @ u)

    def kinetic(self, p: jax.Array) -> jax.Array:
        """T(p [m]) -> scalar."""
        return jnp.sum(jnp.log(jnp.cosh(p)))
