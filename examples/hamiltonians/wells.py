"""Particles that do not see each other, each in a potential well of its own.

Every unit is pushed by a force W u, which adds -q . (W u) to its potential energy. Nothing damps
a unit, so a well that is harmonic far out would let a resonant input push without end: the traps
are quartic, and their frequency rises with the amplitude.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

import echoloom as el
from hamiltonians.parameters import between, matrix


class Duffing(el.Hamiltonian):
    """The Duffing oscillator, a spring that hardens: V = sum(1/2 a q^2 + 1/4 b q^4)."""

    stiffness: jax.Array  # a [m]
    hardening: jax.Array  # b [m]
    drive: jax.Array  # W [m, H]

    @classmethod
    def new(cls, positions: int, hidden: int, key: jax.Array) -> Duffing:
        """Small random parameters."""
        keys = jax.random.split(key, 3)
        return cls(
            stiffness=between(0.5, 1.5, positions, keys[0]),
            hardening=between(0.1, 0.4, positions, keys[1]),
            drive=matrix(0.3, positions, hidden, keys[2]),
        )

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        """V(q [m], u [H]) -> scalar."""
        well = 0.5 * self.stiffness * q**2 + 0.25 * self.hardening * q**4
        return jnp.sum(well) - q @ (self.drive @ u)


class Landau(el.Hamiltonian):
    """Landau's free energy: V = a/2 sum(q^2) + b/3 sum(q^3) + c/6 sum(q^6).

    One temperature for all coordinates: a, b and c are scalars.
    """

    a: jax.Array
    b: jax.Array
    c: jax.Array
    drive: jax.Array

    @classmethod
    def new(cls, positions: int, hidden: int, key: jax.Array) -> Landau:
        """Above the transition: one minimum, at q = 0."""
        return cls(
            a=jnp.array(1.0),
            b=jnp.array(0.3),
            c=jnp.array(0.1),
            drive=matrix(0.2, positions, hidden, key),
        )

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        """V(q [m], u [H]) -> scalar."""
        energy = (self.a / 2) * jnp.sum(q**2) + (self.b / 3) * jnp.sum(q**3)
        return energy + (self.c / 6) * jnp.sum(q**6) - q @ (self.drive @ u)


class Plummer(el.Hamiltonian):
    """A softened Kepler potential in a trap: V = sum(1/4 k q^4 - g / sqrt(q^2 + 1/4))."""

    trap: jax.Array  # k [m]
    gravity: jax.Array  # g [m]
    drive: jax.Array

    @classmethod
    def new(cls, positions: int, hidden: int, key: jax.Array) -> Plummer:
        """A shallow trap."""
        keys = jax.random.split(key, 3)
        return cls(
            trap=between(0.2, 0.5, positions, keys[0]),
            gravity=between(0.2, 0.5, positions, keys[1]),
            drive=matrix(0.3, positions, hidden, keys[2]),
        )

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        """V(q [m], u [H]) -> scalar."""
        distance = jnp.sqrt(q**2 + 0.25)
        well = 0.25 * self.trap * q**4 - self.gravity / distance
        return jnp.sum(well) - q @ (self.drive @ u)


class LogHalo(el.Hamiltonian):
    """The logarithmic halo of galactic dynamics, in a trap: V = sum(1/4 k q^4 + c log(1 + q^2))."""

    trap: jax.Array  # k [m]
    speed: jax.Array  # c [m], half the circular speed squared
    drive: jax.Array

    @classmethod
    def new(cls, positions: int, hidden: int, key: jax.Array) -> LogHalo:
        """A shallow trap."""
        keys = jax.random.split(key, 3)
        return cls(
            trap=between(0.1, 0.3, positions, keys[0]),
            speed=between(0.3, 0.8, positions, keys[1]),
            drive=matrix(0.3, positions, hidden, keys[2]),
        )

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        """V(q [m], u [H]) -> scalar."""
        well = 0.25 * self.trap * q**4 + self.speed * jnp.log(1.0 + q**2)
        return jnp.sum(well) - q @ (self.drive @ u)


class Tweezer(el.Hamiltonian):
    """An optical tweezer's beam in a trap: V = sum(1/4 k q^4 - g / (1 + q^2))."""

    trap: jax.Array  # k [m]
    power: jax.Array  # g [m]
    drive: jax.Array

    @classmethod
    def new(cls, positions: int, hidden: int, key: jax.Array) -> Tweezer:
        """A shallow trap."""
        keys = jax.random.split(key, 3)
        return cls(
            trap=between(0.2, 0.5, positions, keys[0]),
            power=between(0.2, 0.6, positions, keys[1]),
            drive=matrix(0.3, positions, hidden, keys[2]),
        )

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        """V(q [m], u [H]) -> scalar."""
        well = 0.25 * self.trap * q**4 - self.power / (1.0 + q**2)
        return jnp.sum(well) - q @ (self.drive @ u)


class Morse(el.Hamiltonian):
    """A diatomic molecule's bond in a trap: V = sum(1/4 k q^4 + D (1 - exp(-a q))^2)."""

    trap: jax.Array  # k [m]
    depth: jax.Array  # D [m]
    width: jax.Array  # a [m]
    drive: jax.Array

    @classmethod
    def new(cls, positions: int, hidden: int, key: jax.Array) -> Morse:
        """Bonds that the drive stretches without breaking."""
        keys = jax.random.split(key, 4)
        return cls(
            trap=between(0.2, 0.4, positions, keys[0]),
            depth=between(0.5, 1.0, positions, keys[1]),
            width=between(0.4, 0.6, positions, keys[2]),
            drive=matrix(0.2, positions, hidden, keys[3]),
        )

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        """V(q [m], u [H]) -> scalar."""
        bond = self.depth * (1.0 - jnp.exp(-self.width * q)) ** 2
        return jnp.sum(0.25 * self.trap * q**4 + bond) - q @ (self.drive @ u)
