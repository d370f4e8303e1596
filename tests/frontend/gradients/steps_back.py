"""The echo's free copies, a step at a time and as plainly as can be."""

from __future__ import annotations

import jax

from echoloom.frontend.models import parts
from echoloom.frontend.models.coefficients import StackCoefficients

States = tuple[parts.State, ...]


def step_back(
    coefficients: StackCoefficients, states: States, at: jax.Array
) -> tuple[States, jax.Array]:
    """Flipped states a step earlier; the features come out before the states step past them."""
    h, stepped = parts.encode(coefficients.encoder, at), []
    for block, state in zip(coefficients.blocks, states, strict=True):
        u = parts.drive(block, h)
        h = parts.mix(block, state.q, u, h)
        stepped.append(parts.integrate(block, state, u))
    return tuple(stepped), h
