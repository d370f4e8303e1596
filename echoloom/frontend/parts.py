"""One time step, as pure functions of resolved coefficients: what the compiler traces.

Shapes: input x [inputs], residual stream [H], drive u [H], position q and momentum p [m].
"""

from __future__ import annotations

from typing import NamedTuple

import jax

from echoloom.frontend.coefficients import Affine, BlockCoefficients, StackCoefficients
from echoloom.frontend.hamiltonian import Hamiltonian
from echoloom.frontend.vocabulary import gelu


class State(NamedTuple):
    """One copy of one block's state: position q [m] and momentum p [m]."""

    q: jax.Array
    p: jax.Array


def encode(encoder: Affine, x: jax.Array) -> jax.Array:
    """The stack's input: x [inputs] -> [H]."""
    return encoder.weight @ x + encoder.bias


def drive(block: BlockCoefficients, x: jax.Array) -> jax.Array:
    """The affine norm: residual stream x [H] -> drive u [H]."""
    return block.scale * x + block.shift


def velocity(unit: Hamiltonian, p: jax.Array) -> jax.Array:
    """dT/dp at p [m] -> [m]."""
    return jax.grad(unit.kinetic)(p)


def force(unit: Hamiltonian, q: jax.Array, u: jax.Array) -> jax.Array:
    """dV/dq at q [m], u [H] -> [m]. (The push on p is its negative.)"""
    return jax.grad(unit.potential)(q, u)


def drift(block: BlockCoefficients, state: State) -> State:
    """Half a step of q along the velocity."""
    return State(state.q + (0.5 * block.step) * velocity(block.unit, state.p), state.p)


def kick(block: BlockCoefficients, state: State, u: jax.Array) -> State:
    """A whole step of p against the force at the present q."""
    return State(state.q, state.p - block.step * force(block.unit, state.q, u))


def leapfrog(block: BlockCoefficients, state: State, u: jax.Array) -> State:
    """Drift, kick, drift: the self-adjoint step (arXiv 2506.05259, its leapfrog integrator).

    Flipping p and stepping again with the same u goes back to where it came from.
    """
    return drift(block, kick(block, drift(block, state), u))


def mix(block: BlockCoefficients, q: jax.Array, u: jax.Array, x: jax.Array) -> jax.Array:
    """Readout, GELU, gated linear unit and skip: q [m], u [H], x [H] -> [H]."""
    a = gelu(block.readout @ q + block.feedthrough * u)
    value = block.value.weight @ a + block.value.bias
    gate = block.gate.weight @ a + block.gate.bias
    return x + value * jax.nn.sigmoid(gate)


def head(coefficients: Affine, h: jax.Array) -> jax.Array:
    """The last affine map: h [H] -> [outputs]; regression takes tanh of it."""
    return coefficients.weight @ h + coefficients.bias


def advance(
    coefficients: StackCoefficients, states: tuple[State, ...], x: jax.Array
) -> tuple[tuple[State, ...], jax.Array]:
    """One step of the whole stack: (states, x [inputs]) -> (states, last block's output [H])."""
    h = encode(coefficients.encoder, x)
    after: list[State] = []
    for block, state in zip(coefficients.blocks, states, strict=True):
        u = drive(block, h)
        state = leapfrog(block, state, u)
        h = mix(block, state.q, u, h)
        after.append(state)
    return tuple(after), h
