"""Initial parameters that the gallery's units share."""

from __future__ import annotations

import math

import jax


def between(low: float, high: float, positions: int, key: jax.Array) -> jax.Array:
    """[positions] uniform numbers: every coordinate a little different from the next."""
    return jax.random.uniform(key, (positions,), minval=low, maxval=high)


def matrix(scale: float, rows: int, columns: int, key: jax.Array) -> jax.Array:
    """[rows, columns] normal numbers; a unit vector's image has elements of about `scale`."""
    return scale * jax.random.normal(key, (rows, columns)) / math.sqrt(columns)


def symmetric(diagonal: float, scale: float, positions: int, key: jax.Array) -> jax.Array:
    """[positions, positions], symmetric: `diagonal` on the diagonal, noise of `scale` around it."""
    noise = matrix(scale, positions, positions, key)
    return diagonal * jax.numpy.eye(positions) + 0.5 * (noise + noise.T)
