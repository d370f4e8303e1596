"""The echoes of one block over a chunk: nudged before every step, and what their stages saw.

Two ways to carry them: as a `Pair`, the paper's plus and minus, or as the adjoint, what they differ
by.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from echoloom.frontend.energy.jaxpr import is_affine
from echoloom.frontend.gradients.rhel.dynamics import Passage, apart, together, traverse
from echoloom.frontend.models import parts
from echoloom.frontend.models.coefficients import BlockCoefficients
from echoloom.frontend.models.parts import State
from echoloom.ir.scheme import Stage

Timed = tuple[jax.Array, ...]


class Pair(NamedTuple):
    """The paper's plus and minus: q and p [2, m], plus first, nudged by +-scale."""

    state: State
    scale: jax.Array


# The adjoint state, q and p [m], is what plus and minus differ by over twice their scale.
Echo = Pair | State


def _steps_back(
    back: Callable[[State, Any], State], start: State, pushes: jax.Array, along: Any
) -> tuple[State, State]:
    """The state after K steps `back`, last one first, each along its own of `along` and after its
    nudge of p; and the nudged states [K, ...]."""

    def step(at: State, now: tuple[jax.Array, Any]) -> tuple[State, jax.Array]:
        at = State(at.q, at.p + now[0])
        return back(at, now[1]), together(at)

    end, nudged = jax.lax.scan(step, start, (pushes, along), reverse=True)
    return end, apart(nudged)


def echo_pair(
    block: BlockCoefficients, pair: Pair, push: jax.Array, timed: Timed
) -> tuple[Pair, State]:
    """K steps of plus and minus, last one first, each after its nudge of +-push [K, m].

    Returns the last states, and the nudged ones [K, 2, m].
    """

    def back(at: State, values: Any) -> State:
        return jax.vmap(lambda own: traverse(block, own, values)[0])(at)

    nudges = jnp.stack([push, -push], axis=1)
    state, nudged = _steps_back(back, pair.state, nudges, timed)
    return Pair(state, pair.scale), nudged


def passages(block: BlockCoefficients, states: State, timed: Timed) -> Passage:
    """What the stages saw of states [K, 2, m] before each step: [K, 2, m] a stage.

    Made again for the whole chunk at once, which is cheaper than to bring it out of the loop.
    """
    copies = jax.vmap(lambda own, values: traverse(block, own, values)[1], (0, None))
    return jax.vmap(copies)(states, timed)


def echo_adjoint(
    block: BlockCoefficients,
    adjoint: State,
    scale: jax.Array | None,
    push: jax.Array,
    free: State,
    timed: Timed,
    rests: jax.Array | None = None,
) -> tuple[State, State]:
    """K steps of the adjoint along the free copy's states [K, m], nudged by push [K, m].

    With a scale, plus and minus are set to free +- scale * adjoint before every stage, and their
    own rates say where they go. Without one (None) they are in the limit: the linearised stage,
    with `rests` as in `traverse`.
    Returns the last adjoint, and the nudged ones [K, m].
    """
    if scale is None:
        return _linearised(block, adjoint, push, free, timed, rests)
    seen = jax.vmap(lambda own, values: traverse(block, own, values)[1])(free, timed)

    def back(at: State, now: tuple[Passage, Timed]) -> State:
        return _between(block, scale, at, *now)[0]

    return _steps_back(back, adjoint, push, (seen, timed))


def _between(
    block: BlockCoefficients, scale: jax.Array, at: State, centres: Passage, values: Timed
) -> tuple[State, Passage]:
    """One sample's stages of the adjoint, by the rates of plus and minus; what the stages saw.

    Their difference itself is carried, and not two states of which it is a small part: what is
    rounded is a stage's change of it.
    """
    seen: list[jax.Array] = []
    for stage, centre in zip(reversed(parts.stages(block)), centres, strict=True):
        part = stage.fraction * block.step
        own = at.p if stage.kind == "drift" else at.q
        seen.append(own)
        change = part * _change(block, stage, scale, centre, own, values)
        at = State(at.q + change, at.p) if stage.kind == "drift" else State(at.q, at.p - change)
    return at, tuple(seen)


def _change(
    block: BlockCoefficients,
    stage: Stage,
    scale: jax.Array,
    centre: jax.Array,
    way: jax.Array,
    values: Timed,
) -> jax.Array:
    """By how much the rates of plus and minus differ, over twice the scale."""

    def rate(at: jax.Array) -> jax.Array:
        return parts.rate(block.unit, stage, at, values)  # type: ignore[arg-type]

    if is_affine(rate, centre):
        # The same at any scale, so nothing need be subtracted.
        return jax.jvp(rate, (centre,), (way,))[1]
    return (rate(centre + scale * way) - rate(centre - scale * way)) / (2.0 * scale)


def _linearised(
    block: BlockCoefficients,
    adjoint: State,
    push: jax.Array,
    free: State,
    timed: Timed,
    rests: jax.Array | None,
) -> tuple[State, State]:
    def sample(own: State, values: Timed, still: jax.Array | None) -> State:
        return traverse(block, own, values, still)[0]  # type: ignore[arg-type]

    # Linearised for the whole chunk at once: the loop is left with the products.
    linear = jax.vmap(
        lambda own, values, still: jax.linearize(lambda s: sample(s, values, still), own)[1]
    )(free, timed, rests)
    return _steps_back(lambda at, tangent: tangent(at), adjoint, push, linear)


def adjoint_passages(
    block: BlockCoefficients,
    scale: jax.Array | None,
    free: State,
    nudged: State,
    timed: Timed,
    rests: jax.Array | None = None,
) -> tuple[Passage, Passage]:
    """What the stages saw of the free copy and of the adjoint, [K, m] a stage each."""

    def sample(
        own: State, change: State, values: Timed, still: jax.Array | None
    ) -> tuple[Passage, Passage]:
        if scale is None:
            return jax.jvp(lambda s: traverse(block, s, values, still)[1], (own,), (change,))  # type: ignore[arg-type]
        centres = traverse(block, own, values)[1]  # type: ignore[arg-type]
        return centres, _between(block, scale, change, centres, values)[1]

    return jax.vmap(sample)(free, nudged, timed, rests)
