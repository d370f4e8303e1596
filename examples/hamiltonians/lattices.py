"""Coupled particles: chains, rings, lattices, and all with all.

Every unit but the rotors is pushed by a force W u, which adds -q . (W u) to its potential energy.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

import echoloom as el
from hamiltonians.parameters import between, matrix, symmetric


class Pendulums(el.Hamiltonian):
    """Pendulums coupled by torsion springs: V = sum(1 - cos q) + 1/2 q . K q."""

    coupling: jax.Array  # K [m, m]
    drive: jax.Array  # W [m, H]

    @classmethod
    def new(cls, positions: int, hidden: int, key: jax.Array) -> Pendulums:
        """Every spring a little different."""
        keys = jax.random.split(key, 2)
        return cls(
            coupling=symmetric(0.4, 0.2, positions, keys[0]),
            drive=matrix(0.3, positions, hidden, keys[1]),
        )

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        """V(q [m], u [H]) -> scalar."""
        springs = 0.5 * q @ (self.coupling @ q)
        return jnp.sum(1.0 - jnp.cos(q)) + springs - q @ (self.drive @ u)


class FPUT(el.Hamiltonian):
    """The Fermi-Pasta-Ulam-Tsingou chain between two fixed ends, with both nonlinearities.

    V = sum(1/2 k r^2 + alpha/3 r^3 + beta/4 r^4) over the m + 1 springs' extensions r.
    """

    springs: jax.Array  # k [m + 1]
    alpha: jax.Array  # scalar
    beta: jax.Array  # scalar
    drive: jax.Array

    @classmethod
    def new(cls, positions: int, hidden: int, key: jax.Array) -> FPUT:
        """alpha^2 < 4 beta min(k): every spring has one rest length."""
        keys = jax.random.split(key, 2)
        return cls(
            springs=between(0.8, 1.2, positions + 1, keys[0]),
            alpha=jnp.array(0.25),
            beta=jnp.array(0.1),
            drive=matrix(0.2, positions, hidden, keys[1]),
        )

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        """V(q [m], u [H]) -> scalar."""
        r = jnp.concatenate([q[:1], q[1:] - q[:-1], -q[-1:]])
        energy = 0.5 * jnp.sum(self.springs * r**2)
        energy += self.alpha / 3 * jnp.sum(r**3) + self.beta / 4 * jnp.sum(r**4)
        return energy - q @ (self.drive @ u)


class Toda(el.Hamiltonian):
    """Toda's ring in a trap: V = g sum(exp(q_i - q_i+1)) + 1/4 sum(k q^4).

    The springs' linear terms cancel around the ring.
    """

    strength: jax.Array  # g, scalar
    trap: jax.Array  # k [m]
    drive: jax.Array

    @classmethod
    def new(cls, positions: int, hidden: int, key: jax.Array) -> Toda:
        """The trap holds the ring's centre of mass, which nothing else does."""
        keys = jax.random.split(key, 2)
        return cls(
            strength=jnp.array(0.3),
            trap=between(0.2, 0.4, positions, keys[0]),
            drive=matrix(0.15, positions, hidden, keys[1]),
        )

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        """V(q [m], u [H]) -> scalar."""
        springs = self.strength * jnp.sum(jnp.exp(q - jnp.roll(q, -1)))
        return springs + 0.25 * jnp.sum(self.trap * q**4) - q @ (self.drive @ u)


class HenonHeiles(el.Hamiltonian):
    """Stars in a galactic plane (Henon and Heiles), positions in pairs (x, y).

    V = sum(1/2 (x^2 + y^2) + lambda (x^2 y - y^3 / 3) + mu/4 (x^2 + y^2)^2); the last term closes
    the three openings through which a star would escape.
    """

    mixing: jax.Array  # lambda [m / 2]
    wall: jax.Array  # mu [m / 2]
    drive: jax.Array

    @classmethod
    def new(cls, positions: int, hidden: int, key: jax.Array) -> HenonHeiles:
        """positions must be even."""
        keys = jax.random.split(key, 3)
        return cls(
            mixing=between(0.2, 0.5, positions // 2, keys[0]),
            wall=between(0.2, 0.4, positions // 2, keys[1]),
            drive=matrix(0.3, positions, hidden, keys[2]),
        )

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        """V(q [m], u [H]) -> scalar."""
        stars = q.reshape(-1, 2)
        x, y = stars[:, 0], stars[:, 1]
        square = x**2 + y**2
        cubic = self.mixing * (x**2 * y - y**3 / 3)
        return jnp.sum(square / 2 + cubic + self.wall / 4 * square**2) - q @ (self.drive @ u)


class SineGordon(el.Hamiltonian):
    """The sine-Gordon field on a lattice of rows x columns with periodic edges, in a trap.

    V = sum(1 - cos f) + 1/2 sum(k f^2) + a/2 sum(steps down^2) + b/2 sum(steps right^2).
    """

    trap: jax.Array  # k [rows, columns]
    down: jax.Array  # a, scalar
    right: jax.Array  # b, scalar
    drive: jax.Array
    rows: int = eqx.field(static=True)

    @classmethod
    def new(cls, positions: int, hidden: int, key: jax.Array, rows: int = 2) -> SineGordon:
        """positions must be a multiple of rows."""
        keys = jax.random.split(key, 2)
        return cls(
            trap=between(0.1, 0.3, positions, keys[0]).reshape(rows, -1),
            down=jnp.array(0.3),
            right=jnp.array(0.5),
            drive=matrix(0.3, positions, hidden, keys[1]),
            rows=rows,
        )

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        """V(q [m], u [H]) -> scalar."""
        field = q.reshape(self.rows, -1)
        across = field.T
        energy = jnp.sum(1.0 - jnp.cos(field) + 0.5 * self.trap * field**2)
        energy += 0.5 * self.down * jnp.sum((field - jnp.roll(field, 1, axis=0)) ** 2)
        energy += 0.5 * self.right * jnp.sum((across - jnp.roll(across, 1, axis=0)) ** 2)
        return energy - q @ (self.drive @ u)


class MeanField(el.Hamiltonian):
    """Springs to the common mean (Desai and Zwanzig), with compliances exp(c) that stay positive.

    V = sum(1/2 q^2 / exp(c) + b/4 q^4) + j/2 sum((q - mean q)^2).
    """

    log_compliance: jax.Array  # c [m]
    hardening: jax.Array  # b [m]
    cohesion: jax.Array  # j, scalar
    drive: jax.Array

    @classmethod
    def new(cls, positions: int, hidden: int, key: jax.Array) -> MeanField:
        """Compliances around one."""
        keys = jax.random.split(key, 3)
        return cls(
            log_compliance=between(-0.5, 0.5, positions, keys[0]),
            hardening=between(0.1, 0.3, positions, keys[1]),
            cohesion=jnp.array(0.5),
            drive=matrix(0.3, positions, hidden, keys[2]),
        )

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        """V(q [m], u [H]) -> scalar."""
        well = 0.5 * q**2 / jnp.exp(self.log_compliance) + 0.25 * self.hardening * q**4
        spread = jnp.sum((q - jnp.mean(q)) ** 2)
        return jnp.sum(well) + 0.5 * self.cohesion * spread - q @ (self.drive @ u)


class Rotors(el.Hamiltonian):
    """Rotors that all see each other (the Hamiltonian mean-field model), on torsion wires.

    V = 1/2 sum(k q^2) + 1/(2 m) sum over pairs of J (1 - cos(q_i - q_j)) - sum(sin(q) W u): the
    drive is a field across the rotors' rest direction.
    """

    wire: jax.Array  # k [m]
    exchange: jax.Array  # J [m, m]
    drive: jax.Array

    @classmethod
    def new(cls, positions: int, hidden: int, key: jax.Array) -> Rotors:
        """Ferromagnetic, every pair a little different."""
        keys = jax.random.split(key, 3)
        return cls(
            wire=between(0.3, 0.6, positions, keys[0]),
            exchange=0.5 + symmetric(0.0, 0.3, positions, keys[1]),
            drive=matrix(0.3, positions, hidden, keys[2]),
        )

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        """V(q [m], u [H]) -> scalar."""
        angles = q[:, None] - q[None, :]
        pairs = self.exchange * (1.0 - jnp.cos(angles))
        energy = 0.5 * jnp.sum(self.wire * q**2) + 0.5 * jnp.sum(jnp.mean(pairs, axis=1))
        return energy - jnp.dot(jnp.sin(q), self.drive @ u)
