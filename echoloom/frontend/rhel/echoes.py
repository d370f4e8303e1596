"""The echoes of one block over a chunk: nudged before every step, and what their stages saw.

Two ways to carry them. A `Pair` is the paper's plus and minus, nudged along the loss gradient by
+-scale. A `Difference` is their difference over twice the scale in the limit of a small one: it
follows the linearised step.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from echoloom.frontend.coefficients import BlockCoefficients
from echoloom.frontend.parts import State
from echoloom.frontend.rhel.dynamics import Passage, traverse

Timed = tuple[jax.Array, ...]


class Pair(NamedTuple):
    """Plus and minus: q and p [2, m], plus first; their difference is 2 * scale * the adjoint.

    part: how far from the free copy they were last put, of its size.
    """

    state: State
    scale: jax.Array
    part: jax.Array


class Difference(NamedTuple):
    """The adjoint state itself: q and p [m]."""

    state: State


Echo = Pair | Difference


def echo_pair(
    block: BlockCoefficients, pair: Pair, push: jax.Array, timed: Timed
) -> tuple[Pair, State]:
    """K steps of plus and minus, last one first, each after its nudge of +-push [K, m].

    Returns the last states, and the nudged ones [K, 2, m].
    """
    nudges = jnp.stack([push, -push], axis=1)

    def step(at: State, now: tuple[jax.Array, Timed]) -> tuple[State, State]:
        nudge, values = now
        at = State(at.q, at.p + nudge)
        after = jax.vmap(lambda own: traverse(block, own, values)[0])(at)  # type: ignore[arg-type]
        return after, at

    state, nudged = jax.lax.scan(step, pair.state, (nudges, timed), reverse=True)
    return Pair(state, pair.scale, pair.part), nudged


def passages(block: BlockCoefficients, states: State, timed: Timed) -> Passage:
    """What the stages saw of states [K, 2, m] before each step: [K, 2, m] a stage.

    Made again for the whole chunk at once, which is cheaper than to bring it out of the loop.
    """
    copies = jax.vmap(lambda own, values: traverse(block, own, values)[1], (0, None))
    return jax.vmap(copies)(states, timed)


def echo_difference(
    block: BlockCoefficients, difference: Difference, push: jax.Array, free: State, timed: Timed
) -> tuple[Difference, State]:
    """K steps of the difference along the free copy's states [K, m], nudged by push [K, m].

    Returns the last difference, and the nudged ones [K, m].
    """

    def sample(own: State, values: Timed) -> State:
        return traverse(block, own, values)[0]  # type: ignore[arg-type]

    # Linearised for the whole chunk at once: the loop is left with the products.
    linear = jax.vmap(lambda own, values: jax.linearize(lambda s: sample(s, values), own)[1])(
        free, timed
    )

    def step(at: State, now) -> tuple[State, State]:  # type: ignore[no-untyped-def]
        nudge, tangent = now
        at = State(at.q, at.p + nudge)
        return tangent(at), at

    state, nudged = jax.lax.scan(step, difference.state, (push, linear), reverse=True)
    return Difference(state), nudged


def linear_passages(
    block: BlockCoefficients, free: State, nudged: State, timed: Timed
) -> tuple[Passage, Passage]:
    """What the stages saw of the free copy and of the difference, [K, m] a stage each."""

    def sample(own: State, change: State, values: Timed) -> tuple[Passage, Passage]:
        return jax.jvp(lambda s: traverse(block, s, values)[1], (own,), (change,))  # type: ignore[arg-type]

    return jax.vmap(sample)(free, nudged, timed)
