"""Named functions that the compiler knows as one call each.

A tracer sees a function as the primitives that it is made of, and GELU would reach it as an error
function, an exponential and a handful of products. Each function here is instead a `jax.jit` call
whose name in the jaxpr is the function's own (`jit[name=gelu]`), so a tracer recognises it without
looking inside. A function that learning differentiates has a derivative that is itself a word:

    gelu(x)          jaxpr: custom_jvp_call { jit[name=gelu] }
    gelu_slope(x)    jaxpr: jit[name=gelu_slope]

so `jax.vjp` of gelu yields `gelu_slope(x) * cotangent` (beside gelu itself, unused there). Both
work element by element on any shape.
`gelu_slope` may be differentiated again, but that leaves the vocabulary.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp


def _gelu(x: jax.Array) -> jax.Array:
    return 0.5 * x * (1.0 + jax.lax.erf(x * math.sqrt(0.5)))


# A jaxpr shows a jit call under the name of the function it wraps.
_gelu.__name__ = _gelu.__qualname__ = "gelu"
_gelu_call = jax.jit(_gelu)


# The custom derivative goes around the named call, not inside it: differentiating a jit call would
# differentiate its body and leave a call named gelu that returns residuals.
@jax.custom_jvp
def gelu(x: jax.Array) -> jax.Array:
    """The exact GELU, x * Phi(x), with Phi the normal distribution function."""
    return _gelu_call(x)


@jax.jit
def gelu_slope(x: jax.Array) -> jax.Array:
    """The derivative of `gelu`: Phi(x) + x * phi(x), with phi the normal density."""
    density = jnp.exp(-0.5 * x * x) * (1.0 / math.sqrt(2.0 * math.pi))
    return 0.5 * (1.0 + jax.lax.erf(x * math.sqrt(0.5))) + x * density


@gelu.defjvp
def _gelu_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    (x,), (tangent,) = primals, tangents
    return gelu(x), gelu_slope(x) * tangent
