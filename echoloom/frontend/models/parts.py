"""One time step, as pure functions of resolved coefficients: what the compiler traces.

Shapes: input x [inputs], residual stream [H], drive u [H], position q and momentum p [m].
"""

from __future__ import annotations

from typing import NamedTuple

import jax

from echoloom.frontend.energy.hamiltonian import Hamiltonian
from echoloom.frontend.energy.vocabulary import FUNCTIONS
from echoloom.frontend.models.coefficients import Affine, BlockCoefficients, StackCoefficients
from echoloom.ir.scheme import Stage, stages_of


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


def rate(unit: Hamiltonian, stage: Stage, at: jax.Array, u: jax.Array) -> jax.Array:
    """What a stage adds per time: the velocity at p, or the force (to take off) at q; all [m]."""
    return velocity(unit, at) if stage.kind == "drift" else force(unit, at, u)


def stages(block: BlockCoefficients) -> tuple[Stage, ...]:
    """What one sample does to a unit, in the forward sweep's order; the echo's is the reverse."""
    return stages_of(block.integrator, block.substeps)


def advance_stage(block: BlockCoefficients, stage: Stage, state: State, u: jax.Array) -> State:
    """A drift of q along the velocity, or a kick of p against the force, by a part of a step.

    Flipping p and making the same stage again goes back to where it came from.
    """
    part = stage.fraction * block.step
    if stage.kind == "drift":
        return State(state.q + part * rate(block.unit, stage, state.p, u), state.p)
    return State(state.q, state.p - part * rate(block.unit, stage, state.q, u))


def integrate(block: BlockCoefficients, state: State, u: jax.Array) -> State:
    """One sample's worth of time: every stage in order, with the same u [H]."""
    for stage in stages(block):
        state = advance_stage(block, stage, state, u)
    return state


def mix(block: BlockCoefficients, q: jax.Array, u: jax.Array, x: jax.Array) -> jax.Array:
    """Readout, the block's GELU, gated linear unit and skip: q [m], u [H], x [H] -> [H]."""
    a = FUNCTIONS[block.activation](block.readout @ q + block.feedthrough * u)
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
        state = integrate(block, state, u)
        h = mix(block, state.q, u, h)
        after.append(state)
    return tuple(after), h
