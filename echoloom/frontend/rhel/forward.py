"""The forward pass in chunks: matrix products over a chunk, and a loop for the oscillators alone."""

from __future__ import annotations

from typing import Any

import jax

from echoloom.frontend import parts
from echoloom.frontend.coefficients import StackCoefficients
from echoloom.frontend.hssm import rest
from echoloom.frontend.jaxpr import Split
from echoloom.frontend.parts import State
from echoloom.frontend.rhel.chunks import cut, upwards
from echoloom.frontend.rhel.dynamics import driven, prepare, run
from echoloom.frontend.rhel.objective import Objective

States = tuple[State, ...]


def advance_chunk(
    coefficients: StackCoefficients, splits: tuple[Split, ...], states: States, x: jax.Array
) -> tuple[States, jax.Array]:
    """K steps of the whole stack: x [K, inputs] -> the states after, the last outputs [K, H]."""
    h = jax.vmap(lambda at: parts.encode(coefficients.encoder, at))(x)
    after: list[State] = []
    for block, own, state in zip(coefficients.blocks, splits, states, strict=True):
        u = jax.vmap(lambda at, b=block: parts.drive(b, at))(h)
        prepared = prepare(own, block.unit, u)
        state, q = run(driven(block, own, prepared.lasting), state, prepared.timed)
        h = jax.vmap(lambda *at, b=block: parts.mix(b, *at))(q, u, h)
        after.append(state)
    return tuple(after), h


def forward(
    coefficients: StackCoefficients,
    splits: tuple[Split, ...],
    objective: Objective,
    x: jax.Array,
    chunk: int,
) -> tuple[States, Any]:
    """The forward pass that forgets: final states, and what the objective collected of x."""

    def body(
        carry: tuple[States, Any], start: jax.Array | int, length: int
    ) -> tuple[States, Any]:
        states, total = carry
        piece = cut(x, start, length, coefficients.encoder.weight)
        states, h = advance_chunk(coefficients, splits, states, piece)
        return states, objective.collect(coefficients.head, total, h, start)

    empty = objective.empty(coefficients.head)
    return upwards(body, (rest(coefficients), empty), x.shape[0], chunk)
