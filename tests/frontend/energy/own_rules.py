"""Functions with rules of their own that are not their derivatives."""

from __future__ import annotations

import jax
import jax.numpy as jnp


@jax.custom_vjp
def straight_vjp(x: jax.Array) -> jax.Array:
    return x**2


straight_vjp.defvjp(lambda x: (x**2, x), lambda x, g: (g,))


@jax.custom_jvp
def straight_jvp(x: jax.Array) -> jax.Array:
    return x**2


straight_jvp.defjvp(lambda p, t: (p[0] ** 2, t[0]))


@jax.custom_jvp
def still_jvp(k: jax.Array, x: jax.Array) -> jax.Array:
    return k * x**2


still_jvp.defjvp(lambda p, t: (p[0] * p[1] ** 2, 2.0 * p[0] * p[1] * t[1]))


@jax.custom_jvp
def stopped_jvp(x: jax.Array) -> jax.Array:
    return x**3


stopped_jvp.defjvp(lambda p, t: (p[0] ** 3, jax.lax.stop_gradient(3.0 * p[0] ** 2) * t[0]))


@jax.custom_jvp
def moved_jvp(x: jax.Array) -> jax.Array:
    return x**2


moved_jvp.defjvp(lambda p, t: (p[0] ** 2 + 1.0, 2.0 * p[0] * t[0]))


@jax.custom_jvp
def clipped_jvp(x: jax.Array) -> jax.Array:
    return x**2


clipped_jvp.defjvp(lambda p, t: (p[0] ** 2, 2.0 * jnp.clip(p[0], -1.0, 1.0) * t[0]))
