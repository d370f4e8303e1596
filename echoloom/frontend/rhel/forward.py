"""The forward pass in chunks: matrix products over a chunk, a loop for the oscillators alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax

from echoloom.frontend.coefficients import StackCoefficients
from echoloom.frontend.hssm import rest
from echoloom.frontend.jaxpr import Split
from echoloom.frontend.parts import State
from echoloom.frontend.rhel import rows
from echoloom.frontend.rhel.chunks import cut, upwards
from echoloom.frontend.rhel.dynamics import driven, prepare, run, run_to_differentiate
from echoloom.frontend.rhel.objective import Objective

States = tuple[State, ...]
# `dynamics.run` or one like it.
Run = Callable[..., tuple[State, jax.Array]]


def advance_chunk(
    coefficients: StackCoefficients,
    splits: tuple[Split, ...],
    states: States,
    x: jax.Array,
    run: Run = run,
) -> tuple[States, jax.Array]:
    """K steps of the whole stack: x [K, inputs] -> the states after, the last outputs [K, H]."""
    h = rows.affine(coefficients.encoder, x)
    after: list[State] = []
    for block, own, state in zip(coefficients.blocks, splits, states, strict=True):
        u = rows.drive(block, h)
        prepared = prepare(own, block.unit, u)
        loop = driven(block, own, prepared.lasting)
        state, q = run(loop, state, prepared.timed, len(u))
        h = rows.mix(block, q, u, h)
        after.append(state)
    return tuple(after), h


def forward(
    coefficients: StackCoefficients,
    splits: tuple[Split, ...],
    objective: Objective,
    x: jax.Array,
    chunk: int,
    rematerialise: bool = False,
    compensated: bool = False,
) -> tuple[States, Any]:
    """The forward pass that forgets: final states, and what the objective collected of x.

    `rematerialise` is for a derivative through time: it keeps the states between chunks, and makes
    all else of a chunk again.
    """

    def body(carry: tuple[States, Any], start: jax.Array | int, length: int) -> tuple[States, Any]:
        states, total = carry
        piece = cut(x, start, length, coefficients.encoder.weight)
        states, h = advance_chunk(coefficients, splits, states, piece, steps)
        return states, objective.collect(coefficients.head, total, h, start)

    steps = run_to_differentiate if rematerialise else partial(run, compensated=compensated)
    if rematerialise:
        # Under a loop the two passes cannot be merged, so nothing need be done against it.
        body = jax.checkpoint(body, prevent_cse=False, static_argnums=(2,))
    empty = objective.empty(coefficients.head)
    return upwards(body, (rest(coefficients), empty), x.shape[0], chunk)
