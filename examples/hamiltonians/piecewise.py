"""Potentials in pieces that meet with equal slopes, so that the force is continuous.

Every unit is pushed by a force W u, which adds -q . (W u) to its potential energy, and sits in a
quartic trap, whose frequency rises with the amplitude: no input stays in resonance with it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

import echoloom as el
from hamiltonians.parameters import between, matrix


class Backlash(el.Hamiltonian):
    """A quartic trap, and a spring behind a gap: V = sum(1/4 a q^4 + 1/2 k max(|q| - g, 0)^2)."""

    trap: jax.Array  # a [m]
    stop: jax.Array  # k [m]
    gap: jax.Array  # g [m]
    drive: jax.Array  # W [m, H]

    @classmethod
    def new(cls, positions: int, hidden: int, key: jax.Array) -> Backlash:
        """Gaps that are crossed now and then."""
        keys = jax.random.split(key, 4)
        return cls(
            trap=between(0.2, 0.4, positions, keys[0]),
            stop=between(0.5, 1.0, positions, keys[1]),
            gap=between(0.3, 0.6, positions, keys[2]),
            drive=matrix(0.3, positions, hidden, keys[3]),
        )

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        """V(q [m], u [H]) -> scalar."""
        beyond = jnp.maximum(jnp.abs(q) - self.gap, 0.0)
        well = 0.25 * self.trap * q**4 + 0.5 * self.stop * beyond**2
        return jnp.sum(well) - q @ (self.drive @ u)


class Walls(el.Hamiltonian):
    """A particle between two soft walls, at -1/2 and 1/2, of different stiffness.

    V = sum(1/4 a q^4 + 1/2 l min(q + 1/2, 0)^2 + 1/2 r max(q - 1/2, 0)^2).
    """

    trap: jax.Array  # a [m]
    left: jax.Array  # l [m]
    right: jax.Array  # r [m]
    drive: jax.Array

    @classmethod
    def new(cls, positions: int, hidden: int, key: jax.Array) -> Walls:
        """Walls that are met now and then."""
        keys = jax.random.split(key, 4)
        return cls(
            trap=between(0.2, 0.4, positions, keys[0]),
            left=between(0.3, 0.6, positions, keys[1]),
            right=between(0.8, 1.2, positions, keys[2]),
            drive=matrix(0.3, positions, hidden, keys[3]),
        )

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        """V(q [m], u [H]) -> scalar."""
        left, right = jnp.minimum(q + 0.5, 0.0), jnp.maximum(q - 0.5, 0.0)
        walls = 0.5 * self.left * left**2 + 0.5 * self.right * right**2
        return jnp.sum(0.25 * self.trap * q**4 + walls) - q @ (self.drive @ u)


class Huber(el.Hamiltonian):
    """A spring whose force saturates at |q| = g: V = sum(1/4 a q^4 + k huber(q, g)).

    huber(q, g) is 1/2 q^2 inside and g |q| - 1/2 g^2 outside.
    """

    trap: jax.Array  # a [m]
    spring: jax.Array  # k [m]
    limit: jax.Array  # g [m]
    drive: jax.Array

    @classmethod
    def new(cls, positions: int, hidden: int, key: jax.Array) -> Huber:
        """Limits that are crossed now and then."""
        keys = jax.random.split(key, 4)
        return cls(
            trap=between(0.2, 0.4, positions, keys[0]),
            spring=between(0.5, 1.0, positions, keys[1]),
            limit=between(0.3, 0.6, positions, keys[2]),
            drive=matrix(0.3, positions, hidden, keys[3]),
        )

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        """V(q [m], u [H]) -> scalar."""
        size = jnp.abs(q)
        outside = self.limit * size - 0.5 * self.limit**2
        huber = jnp.where(size < self.limit, 0.5 * q**2, outside)
        well = 0.25 * self.trap * q**4 + self.spring * huber
        return jnp.sum(well) - q @ (self.drive @ u)


class Clipped(el.Hamiltonian):
    """A spring with a force of clip(q, -1/2, 1/2): V = sum(1/4 a q^4 + k c (q - c/2)), c the clip.

    The drive is clipped too: it adds -q . clip(W u, -1, 1).
    """

    trap: jax.Array  # a [m]
    spring: jax.Array  # k [m]
    drive: jax.Array

    @classmethod
    def new(cls, positions: int, hidden: int, key: jax.Array) -> Clipped:
        """Limits that are crossed now and then."""
        keys = jax.random.split(key, 3)
        return cls(
            trap=between(0.2, 0.4, positions, keys[0]),
            spring=between(0.5, 1.0, positions, keys[1]),
            drive=matrix(0.5, positions, hidden, keys[2]),
        )

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        """V(q [m], u [H]) -> scalar."""
        c = jnp.clip(q, -0.5, 0.5)
        well = 0.25 * self.trap * q**4 + self.spring * c * (q - 0.5 * c)
        return jnp.sum(well) - q @ jnp.clip(self.drive @ u, -1.0, 1.0)
