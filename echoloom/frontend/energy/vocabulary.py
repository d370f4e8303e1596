"""Named functions that the compiler knows as one call each.

A tracer sees a function as the primitives that it is made of, and GELU would reach it as an error
function, an exponential and a handful of products. Each word here is instead a `jax.jit` call whose
name in the jaxpr is the word's own (`jit[name=echoloom_gelu]`), so a tracer recognises it without
looking inside. A word that learning differentiates has a derivative made of words:

    gelu(x)          jaxpr: custom_jvp_call { jit[name=echoloom_gelu] }
    gelu_slope(x)    jaxpr: jit[name=echoloom_gelu_slope]

so `jax.vjp` of gelu yields `gelu_slope(x) * cotangent` (beside gelu itself, unused there). All
work element by element on any shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

Unary = Callable[[jax.Array], jax.Array]
PREFIX = "echoloom_"
CORNERED_WORD = PREFIX + "unit_step"  # what a jaxpr calls the one word that jumps


def _word(name: str, evaluate: Unary, slope: Unary | None = None) -> Unary:
    """`evaluate` under a name; `slope` is its derivative, None where none is needed."""

    def call(x: jax.Array) -> jax.Array:
        return evaluate(x)

    # A jaxpr shows a jit call under the name of the function it wraps.
    call.__name__ = call.__qualname__ = PREFIX + name
    named = jax.jit(call)
    if slope is None:
        return named

    # The custom derivative goes around the named call, not inside it: differentiating a jit call
    # would differentiate its body and leave a call of that name that returns residuals.
    @jax.custom_jvp
    def word(x: jax.Array) -> jax.Array:
        return named(x)

    @word.defjvp
    def _jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
        (x,), (tangent,) = primals, tangents
        return word(x), slope(x) * tangent

    word.__name__ = name  # type: ignore[attr-defined]
    return word


def _normal(x: jax.Array) -> jax.Array:
    return 0.5 * (1.0 + jax.lax.erf(x * math.sqrt(0.5)))


def _density(x: jax.Array) -> jax.Array:
    return jnp.exp(-0.5 * x * x) * (1.0 / math.sqrt(2.0 * math.pi))


_TANH_SCALE, _TANH_CUBE = math.sqrt(2.0 / math.pi), 0.044715


def _gelu_tanh_slope(x: jax.Array) -> jax.Array:
    t = jnp.tanh(_TANH_SCALE * (x + _TANH_CUBE * x**3))
    inner = _TANH_SCALE * (1.0 + 3.0 * _TANH_CUBE * x * x)
    return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner


def _log_cosh(x: jax.Array) -> jax.Array:
    # log(cosh(x)) itself overflows beyond |x| = 90 in float32.
    size = jnp.abs(x)
    return size + jnp.log1p(jnp.exp(-2.0 * size)) - math.log(2.0)


gelu_slope = _word("gelu_slope", lambda x: _normal(x) + x * _density(x))
# The exact GELU, x * Phi(x), with Phi the normal distribution function.
gelu = _word("gelu", lambda x: x * _normal(x), gelu_slope)
gelu_tanh_slope = _word("gelu_tanh_slope", _gelu_tanh_slope)
# GELU in its tanh form, 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))): jax.nn.gelu's default.
gelu_tanh = _word(
    "gelu_tanh",
    lambda x: 0.5 * x * (1.0 + jnp.tanh(_TANH_SCALE * (x + _TANH_CUBE * x**3))),
    gelu_tanh_slope,
)
log_cosh = _word("log_cosh", _log_cosh, jnp.tanh)
softplus = _word("softplus", lambda x: jnp.logaddexp(x, 0.0), jax.nn.sigmoid)
# 1 where x >= 0, else 0. Its own slope is zero wherever it has one.
unit_step = _word("unit_step", lambda x: (x >= 0).astype(x.dtype), jnp.zeros_like)
# The slope of max(x, 0), by what it is at its corner. JAX has all three: jax.nn.relu's 0, the half
# of jnp.maximum(x, 0.0), and the 1 with which jnp.abs(x) has the slope of x.
SLOPES: dict[float, Unary] = {
    0.0: lambda x: 1.0 - unit_step(-x),
    0.5: lambda x: 0.5 + 0.5 * (unit_step(x) - unit_step(-x)),
    1.0: unit_step,
}
RELUS = {at: _word("relu", lambda x: jnp.maximum(x, 0.0), slope) for at, slope in SLOPES.items()}
relu = RELUS[0.0]


@jax.custom_jvp
def relu_beside(x: jax.Array, side: jax.Array) -> jax.Array:
    """max(x, 0) with a slope that is given, and that nothing differentiates."""
    return relu(x)


@relu_beside.defjvp
def _(primals, tangents):  # type: ignore[no-untyped-def]
    return relu_beside(*primals), primals[1] * tangents[0]


# For x > 0; the compiler asks for a lower bound that it can prove.
reciprocal = _word("reciprocal", lambda x: 1.0 / x, lambda x: -(reciprocal(x) ** 2))
rsqrt = _word("rsqrt", lambda x: 1.0 / jnp.sqrt(x), lambda x: -0.5 * rsqrt(x) ** 3)
sqrt = _word("sqrt", jnp.sqrt, lambda x: 0.5 * rsqrt(x))
log = _word("log", jnp.log, reciprocal)

WORDS: dict[str, Unary] = {
    "gelu": gelu, "gelu_slope": gelu_slope, "gelu_tanh": gelu_tanh,
    "gelu_tanh_slope": gelu_tanh_slope, "log_cosh": log_cosh, "softplus": softplus,
    "unit_step": unit_step, "relu": relu, "reciprocal": reciprocal, "rsqrt": rsqrt,
    "sqrt": sqrt, "log": log,
}  # fmt: skip


def word_of(name: str) -> str | None:
    """The word that a jit call of this name stands for, None for other calls."""
    word = name.removeprefix(PREFIX)
    return word if name.startswith(PREFIX) and word in WORDS else None


# Every function of one variable that an engine evaluates by table, as JAX computes it. Those that
# are not words are JAX's own primitives, whose derivatives are made of functions here too.
FUNCTIONS: dict[str, Unary] = {
    **WORDS,
    "exp": jnp.exp,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "sin": jnp.sin,
    "cos": jnp.cos,
    "sinh": jnp.sinh,
    "cosh": jnp.cosh,
    "erf": jax.lax.erf,
}
