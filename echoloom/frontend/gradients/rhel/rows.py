"""The feed-forward parts of a step for the rows of a chunk at once: `parts`, mapped over time.

`jax.vmap` of them says the same, and more slowly: its products come out with time last, to be
transposed before use. Here time stays first, and the gated unit's two products are one.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from echoloom.frontend.energy.vocabulary import FUNCTIONS
from echoloom.frontend.gradients.rhel.over_time import spread
from echoloom.frontend.models.coefficients import Affine, BlockCoefficients


def affine(coefficients: Affine, x: jax.Array) -> jax.Array:
    """`parts.encode` and `parts.head`: x [K, in] -> [K, out]."""
    return x @ coefficients.weight.T + spread(coefficients.bias, x.shape[0])


def drive(block: BlockCoefficients, x: jax.Array) -> jax.Array:
    """`parts.drive`: residual stream x [K, H] -> drive u [K, H]."""
    steps = x.shape[0]
    return spread(block.scale, steps) * x + spread(block.shift, steps)


def mix(block: BlockCoefficients, q: jax.Array, u: jax.Array, x: jax.Array) -> jax.Array:
    """`parts.mix`: q [K, m], u [K, H], x [K, H] -> [K, H]."""
    through = spread(block.feedthrough, u.shape[0]) * u
    a = FUNCTIONS[block.activation](q @ block.readout.T + through)
    both = jax.tree.map(lambda *pair: jnp.concatenate(pair), block.value, block.gate)
    value, gate = jnp.split(affine(both, a), 2, axis=1)
    return x + value * jax.nn.sigmoid(gate)
