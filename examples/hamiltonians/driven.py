"""Units whose input does more than push: it gates, stiffens and couples."""

from __future__ import annotations

import jax
import jax.numpy as jnp

import echoloom as el
from hamiltonians.parameters import between, matrix


class Gated(el.Hamiltonian):
    """An oscillator with a gate on its drive and a spring that the input tightens.

    V = sum(1/2 softplus(A u) q^2 + b/4 q^4 - c q sigmoid(G u) tanh(W u)).
    """

    spring: jax.Array  # A [m, H]
    gate: jax.Array  # G [m, H]
    drive: jax.Array  # W [m, H]
    hardening: jax.Array  # b [m]
    gain: jax.Array  # c [m]

    @classmethod
    def new(cls, positions: int, hidden: int, key: jax.Array) -> Gated:
        """Springs around log 2, gates half open."""
        keys = jax.random.split(key, 5)
        return cls(
            spring=matrix(0.5, positions, hidden, keys[0]),
            gate=matrix(0.7, positions, hidden, keys[1]),
            drive=matrix(0.7, positions, hidden, keys[2]),
            hardening=between(0.2, 0.4, positions, keys[3]),
            gain=between(0.6, 1.2, positions, keys[4]),
        )

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        """V(q [m], u [H]) -> scalar."""
        well = 0.5 * jax.nn.softplus(self.spring @ u) * q**2 + 0.25 * self.hardening * q**4
        push = self.gain * jax.nn.sigmoid(self.gate @ u) * jnp.tanh(self.drive @ u)
        return jnp.sum(well - q * push)


class Bilinear(el.Hamiltonian):
    """Couplings that the input switches: V = sum(1/2 q^2 + b/4 q^4) + 1/2 sum K_ijk q_i q_j u_k.

    The push W u is there too: without it q = 0 would stay at rest.
    """

    coupling: jax.Array  # K [m, m, H]
    hardening: jax.Array  # b [m]
    drive: jax.Array  # W [m, H]

    @classmethod
    def new(cls, positions: int, hidden: int, key: jax.Array) -> Bilinear:
        """Couplings that seldom overcome the springs of one."""
        keys = jax.random.split(key, 3)
        couplings = matrix(0.2, positions * positions, hidden, keys[0])
        return cls(
            coupling=couplings.reshape(positions, positions, hidden),
            hardening=between(0.1, 0.2, positions, keys[1]),
            drive=matrix(0.2, positions, hidden, keys[2]),
        )

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        """V(q [m], u [H]) -> scalar."""
        well = jnp.sum(0.5 * q**2 + 0.25 * self.hardening * q**4)
        mixed = jnp.einsum("ijk,i,j,k->", self.coupling, q, q, u)
        return well + 0.5 * mixed - q @ (self.drive @ u)


class Perceptron(el.Hamiltonian):
    """A potential that is itself a network of one hidden layer, as Hamiltonian networks have it.

    V = 1/2 sum(k q^2) + sum(softplus(c) softplus(W [q; u] + b)); the gains softplus(c) > 0 keep V
    convex in q, and so bounded below.
    """

    trap: jax.Array  # k [m]
    weight: jax.Array  # W [H, m + H]
    bias: jax.Array  # b [H]
    raw_gain: jax.Array  # c [H]

    @classmethod
    def new(cls, positions: int, hidden: int, key: jax.Array) -> Perceptron:
        """As many hidden cells as inputs."""
        keys = jax.random.split(key, 4)
        return cls(
            trap=between(0.3, 0.6, positions, keys[0]),
            weight=matrix(1.0, hidden, positions + hidden, keys[1]),
            bias=between(-0.5, 0.5, hidden, keys[2]),
            raw_gain=between(0.5, 1.5, hidden, keys[3]),
        )

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        """V(q [m], u [H]) -> scalar."""
        cells = jax.nn.softplus(self.weight @ jnp.concatenate([q, u]) + self.bias)
        return 0.5 * jnp.sum(self.trap * q**2) + jax.nn.softplus(self.raw_gain) @ cells
