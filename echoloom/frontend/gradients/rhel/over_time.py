"""A function of one step mapped over a chunk, its gradients summed over time as matrix products.

`jax.vmap` makes matrix products of what a step does with a matrix. What it does with a vector (a
bias, a norm's scale) leaves a sum over time for its gradient, and on CPUs such a sum of columns
takes ten times as long as the matrix products beside it; a product with ones does not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def total(rows: jax.Array) -> jax.Array:
    """The sum over time of rows [K, ...]."""
    flat = rows.reshape(rows.shape[0], -1)
    return (jnp.ones(rows.shape[0], rows.dtype) @ flat).reshape(rows.shape[1:])


def spread(value: jax.Array, steps: int) -> jax.Array:
    """`value` at every step, [K, *value.shape]; its gradient is a `total`."""

    @jax.custom_vjp
    def at_all(own: jax.Array) -> jax.Array:
        return jnp.broadcast_to(own, (steps, *own.shape))

    at_all.defvjp(lambda own: (at_all(own), None), lambda _, g: (total(g),))
    return at_all(value)


def over_time(function: Callable[..., Any]) -> Callable[..., Any]:
    """f(coefficients, *rows) for rows [K, ...], from f of one step.

    Every array of the pytree `coefficients` is the same at every step.
    """

    def mapped(coefficients: Any, *rows: Any) -> Any:
        steps = jax.tree.leaves(rows)[0].shape[0]

        def is_spread(leaf: jax.Array) -> bool:
            return leaf.ndim < 2 and jnp.issubdtype(leaf.dtype, jnp.floating)

        at_all = jax.tree.map(lambda a: spread(a, steps) if is_spread(a) else a, coefficients)
        axes = jax.tree.map(lambda a: 0 if is_spread(a) else None, coefficients)
        return jax.vmap(function, in_axes=(axes, *[0] * len(rows)))(at_all, *rows)

    return mapped
