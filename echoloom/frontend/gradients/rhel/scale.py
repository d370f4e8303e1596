"""How far the echoes part: one nudge size for a whole sweep, or one that follows the state.

Rounding is least where plus and minus differ by as much as the state itself; a unit that is not
linear asks for less, since its contrast has an error that grows with the difference squared. All
scales are powers of two, so that a change of scale rounds nothing.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from echoloom.frontend.energy.hamiltonian import Oscillators
from echoloom.frontend.gradients.rhel.over_time import total as over
from echoloom.frontend.models.coefficients import StackCoefficients
from echoloom.frontend.models.parts import State

# Measured: it suits short steps and long ones, in float32 and in float64.
PARTING = 0.4


def power_of_two(ratio: jax.Array) -> jax.Array:
    """The power of two next to ratio, 1 where a ratio of 0, infinity or NaN asks for nothing."""
    usable = jnp.isfinite(ratio) & (ratio > 0.0)
    exponent = jnp.round(jnp.log2(jnp.where(usable, ratio, 1.0))).astype(jnp.int32)
    # ldexp and not exp2, which is not exact on every device.
    return jnp.ldexp(jnp.ones_like(ratio), exponent)


def choose_epsilon(
    coefficients: StackCoefficients, states: tuple[State, ...], weight: jax.Array
) -> jax.Array:
    """The nudge's size for one sequence, a power of two, from what the forward sweep left behind.

    states are the final ones; weight [H] is the loss gradient's magnitude at the last block's
    output, summed over time. Rounding is least where the echoes part by as much as the state
    itself, epsilon * h * weight = |p|, whatever the loss and the step: a fixed epsilon drowns in
    rounding once a label is confident, or h is 1e-4. The linear unit's contrast is exact at any
    epsilon, so that is the choice if all units are linear; measured, 2^+-4 around it costs nothing.
    In any other unit the contrast's own error grows with epsilon squared, so the echoes part by the
    cube root of the float's resolution instead, where the two errors meet.
    """
    reach = [
        jnp.max(jnp.abs(state.p)) / jnp.max(block.step)
        for block, state in zip(coefficients.blocks, states, strict=True)
    ]
    ratio = jnp.max(jnp.stack(reach)) / jnp.max(weight)
    if not all(isinstance(block.unit, Oscillators) for block in coefficients.blocks):
        ratio = ratio * jnp.finfo(ratio.dtype).eps ** (1.0 / 3.0)
    return power_of_two(ratio)


def renormalise(adjoint: State, free: State, push: jax.Array) -> jax.Array:
    """The scale, a power of two, by which plus and minus are free [K, m] +- scale * adjoint [m].

    push [K, m] are the coming nudges at scale 1. The largest distance is a part of the largest
    state, the float's resolution to the power PARTING: in a curved unit the force between the
    echoes is off by a part of it squared, which adds up over the sequence, and rounded by a part of
    the resolution over it.
    """
    coming = over(jnp.abs(push))
    # One reduction for all: each is a kernel of its own, and their number is what this costs.
    reach = jnp.max(jnp.abs(jnp.stack([*adjoint, coming])), axis=1)
    size = jnp.max(jnp.abs(jnp.stack(free)), axis=(1, 2))
    parting = jnp.finfo(coming.dtype).eps ** PARTING
    return power_of_two(parting * jnp.min(size / (reach[:2] + jnp.array([0, 1]) * reach[2])))
