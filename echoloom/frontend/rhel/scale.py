"""How far the echoes part: one nudge size for a whole sweep, or one that follows the state.

Rounding is least where plus and minus differ by as much as the state itself; a unit that is not
linear asks for less, since its contrast has an error that grows with the difference squared. All
scales are powers of two, so that a change of scale rounds nothing.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from echoloom.frontend.coefficients import BlockCoefficients, StackCoefficients
from echoloom.frontend.hamiltonian import Oscillators
from echoloom.frontend.parts import State
from echoloom.frontend.rhel.echoes import Pair
from echoloom.frontend.rhel.over_time import total

# Of the state's largest element: how far from the free copy echoes are kept at most.
LINEAR_PARTING = 0.25
# At most as much farther after every chunk: how curved a place is shows only from a distance.
GROWTH = 4.0


def power_of_two(ratio: jax.Array) -> jax.Array:
    """The power of two next to ratio, 1 where a ratio of 0, infinity or NaN asks for nothing."""
    usable = jnp.isfinite(ratio) & (ratio > 0.0)
    exponent = jnp.round(jnp.log2(jnp.where(usable, ratio, 1.0))).astype(jnp.int32)
    # ldexp and not exp2, which is not exact on every device.
    return jnp.ldexp(jnp.ones_like(ratio), exponent)


def choose_epsilon(
    coefficients: StackCoefficients, states: tuple[State, ...], weight: jax.Array
) -> jax.Array:
    """The nudge's size for one sequence, a power of two, from what the forward pass left behind.

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


def bounds(block: BlockCoefficients) -> tuple[float, float]:
    """How far from the free copy, of its size, the echoes are put at first and at most.

    Curvature is measured over a chunk, which small steps make too short to show all of it: the
    bound on units that are not linear leaves it less than the float's resolution to the third.
    """
    if isinstance(block.unit, Oscillators):
        return LINEAR_PARTING, LINEAR_PARTING
    epsilon = float(jnp.finfo(block.step.dtype).eps)
    return epsilon ** (1.0 / 3.0), min(LINEAR_PARTING, 2.0 * epsilon ** (1.0 / 6.0))


def renormalise(pair: Pair, free: State, push: jax.Array, most: float = LINEAR_PARTING) -> Pair:
    """`pair` centred on the free copy, its difference scaled to suit the state.

    push [K, m] are the coming nudges at scale 1, `most` is of `bounds`. The paper's echoes keep one
    scale and drift from the free copy as they will; here neither rounding nor curvature can pile up
    over a sequence.

    The difference is a part of the state's size, as large as curvature lets it be. The echoes' mean
    left the free copy during the last chunk by curvature alone: of the difference, by the first
    order of what the contrast loses to the second. So that is kept at the cube root of the float's
    resolution, where rounding and curvature cost about the same.
    """
    half = jax.tree.map(lambda at: 0.5 * (at[0] - at[1]), pair.state)
    bend = jax.tree.map(lambda at, own: 0.5 * (at[0] + at[1]) - own, pair.state, free)
    coming = total(jnp.abs(push))
    # One reduction for all: each is a kernel of its own, and their number is what this costs.
    sizes = jnp.max(jnp.abs(jnp.stack([*half, *bend, *free, coming])), axis=1)
    q_reach, p_reach, q_bend, p_bend, q_size, p_size, nudged = sizes
    epsilon = float(jnp.finfo(coming.dtype).eps)
    # What rounding alone may have moved the mean by says nothing of curvature.
    rounding = push.shape[0] * epsilon
    bent = jnp.maximum(
        (q_bend - rounding * q_size) / q_reach, (p_bend - rounding * p_size) / p_reach
    )
    tolerated = epsilon ** (1.0 / 3.0)
    moved = (q_reach > 0.0) & (p_reach > 0.0)
    fitting = pair.part * jnp.where(bent > 0.0, jnp.minimum(tolerated / bent, GROWTH), GROWTH)
    part = jnp.where(moved, jnp.clip(fitting, epsilon**0.5, most), pair.part)
    wanted = jnp.minimum(q_size * pair.scale / q_reach, p_size / (p_reach / pair.scale + nudged))
    scale = power_of_two(part * wanted)
    ratio = scale / pair.scale
    state = jax.tree.map(
        lambda at, by: jnp.stack([at + ratio * by, at - ratio * by]), free, State(*half)
    )
    return Pair(state, scale, part)
