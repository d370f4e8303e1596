"""The forward sweep in chunks: matrix products over a chunk, a loop for the oscillators alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from echoloom.frontend.energy.jaxpr import Split
from echoloom.frontend.gradients.rhel import rows
from echoloom.frontend.gradients.rhel.chunks import cut, upwards
from echoloom.frontend.gradients.rhel.dynamics import driven, prepare, run, run_to_differentiate
from echoloom.frontend.gradients.rhel.objective import Objective
from echoloom.frontend.models.coefficients import StackCoefficients
from echoloom.frontend.models.hssm import rest
from echoloom.frontend.models.parts import State

States = tuple[State, ...]
Positions = tuple[jax.Array, ...]
# By block: how many steps each oscillator [m] stays at rest at first; None without corners.
Rested = tuple[jax.Array | None, ...]
# `dynamics.run` or one like it.
Run = Callable[..., tuple[State, jax.Array]]


def advance_chunk(
    coefficients: StackCoefficients,
    splits: tuple[Split, ...],
    states: States,
    x: jax.Array,
    run: Run = run,
) -> tuple[States, Positions, jax.Array]:
    """K steps of the whole stack: x [K, inputs] -> the states after, the positions [K, m] of every
    block, the last outputs [K, H]."""
    h = rows.affine(coefficients.encoder, x)
    after: list[State] = []
    positions: list[jax.Array] = []
    for block, own, state in zip(coefficients.blocks, splits, states, strict=True):
        u = rows.drive(block, h)
        prepared = prepare(own, block.unit, u)
        loop = driven(block, own, prepared.lasting)
        state, q = run(loop, state, prepared.timed, len(u))
        h = rows.mix(block, q, u, h)
        after.append(state)
        positions.append(q)
    return tuple(after), tuple(positions), h


def forward(
    coefficients: StackCoefficients,
    splits: tuple[Split, ...],
    objective: Objective,
    x: jax.Array,
    chunk: int,
    rematerialise: bool = False,
    compensated: bool = False,
    corners: tuple[bool, ...] = (),
) -> tuple[States, Any, Rested]:
    """The forward sweep that forgets: final states, what the objective collected of x, and how long
    the oscillators of blocks with `corners` rested.

    `rematerialise` is for a derivative through time: it keeps the states between chunks, and makes
    all else of a chunk again.
    """

    def body(
        carry: tuple[States, Any, Rested], start: jax.Array | int, length: int
    ) -> tuple[States, Any, Rested]:
        states, total, rested = carry
        piece = cut(x, start, length, coefficients.encoder.weight)
        states, positions, h = advance_chunk(coefficients, splits, states, piece, steps)
        rested = tuple(
            None if so_far is None else _rested(so_far, q, start)
            for so_far, q in zip(rested, positions, strict=False)
        )
        return states, objective.collect(coefficients.head, total, h, start), rested

    steps = run_to_differentiate if rematerialise else partial(run, compensated=compensated)
    if rematerialise:
        # Under a loop the two sweeps cannot be merged, so nothing need be done against it.
        body = jax.checkpoint(body, prevent_cse=False, static_argnums=(2,))
    empty = objective.empty(coefficients.head)
    states, none = rest(coefficients), jnp.zeros_like
    rested = tuple(
        none(state.q, jnp.int32) if cornered else None
        for state, cornered in zip(states, corners, strict=False)
    )
    return upwards(body, (states, empty, rested), x.shape[0], chunk)


def _rested(so_far: jax.Array, q: jax.Array, start: jax.Array | int) -> jax.Array:
    """The steps at rest [m] up to the end of a chunk of positions q [K, m] from step `start` on."""
    still = jnp.sum(jnp.cumprod(q == 0.0, axis=0), axis=0, dtype=so_far.dtype)
    return jnp.where(so_far == start, so_far + still, so_far)
