"""The functions of one variable of `ir/functions.py`, as JAX computes and differentiates them.

A tracer sees a function as the primitives that it is made of, and GELU would reach it as an error
function, an exponential and a handful of products. Each function here is instead one primitive of
its own name, unless JAX has one already whose derivative is made of functions here too. A
derivative is made of such functions as well:

    jax.make_jaxpr(gelu)            { gelu x }
    jax.make_jaxpr(jax.grad(gelu))  { gelu x, gelu_slope x }

All work element by element on any shape, of floating-point numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from echoloom.ir import functions
from echoloom.ir.functions import ELEMENTARY, Function

Unary = Callable[[jax.Array], jax.Array]

JAX = SimpleNamespace(
    erf=jax.lax.erf,
    ndtr=lambda x: 0.5 * (1.0 + jax.lax.erf(x * math.sqrt(0.5))),
    **{name: getattr(jnp, name) for name in ELEMENTARY},
)


def _operation(name: str, function: Function, slope: Unary | None) -> Unary:
    """A function as one primitive; without `slope`, JAX differentiates its formula."""

    def evaluate(x: jax.Array) -> jax.Array:
        return function.formula(JAX, x)

    own = Primitive(name)
    own.def_impl(jax.jit(evaluate))
    own.def_abstract_eval(lambda x: x)
    batching.defvectorized(own)
    mlir.register_lowering(own, mlir.lower_fun(evaluate, multiple_results=False))
    if slope is None:
        ad.defjvp(own, lambda tangent, x: jax.jvp(evaluate, (x,), (tangent,))[1])
    else:
        ad.defjvp(own, lambda tangent, x: slope(x) * tangent)

    def call(x: jax.Array) -> jax.Array:
        return own.bind(jnp.asarray(x))

    call.__name__ = call.__qualname__ = name
    return call


def _of_jax(name: str, function: Function) -> Unary:
    if function.primitive and function.slope is None:
        return getattr(jax.lax, function.primitive)
    slope = function.slope
    return _operation(name, function, slope and (lambda x: slope(_VOCABULARY, x)))


# Every function of one variable that an engine evaluates by table.
FUNCTIONS: dict[str, Unary] = {n: _of_jax(n, f) for n, f in functions.FUNCTIONS.items()}
_VOCABULARY = SimpleNamespace(zeros_like=jnp.zeros_like, **FUNCTIONS)

gelu, gelu_slope, gelu_tanh = (FUNCTIONS[n] for n in ("gelu", "gelu_slope", "gelu_tanh"))
log_cosh, softplus = FUNCTIONS["log_cosh"], FUNCTIONS["softplus"]
relu, unit_step = FUNCTIONS["relu"], FUNCTIONS["unit_step"]

# The slope of max(x, 0), by what it is at its corner. JAX has all three: jax.nn.relu's 0, the half
# of jnp.maximum(x, 0.0), and the 1 with which jnp.abs(x) has the slope of x.
SLOPES: dict[float, Unary] = {
    0.0: lambda x: 1.0 - unit_step(-x),
    0.5: lambda x: 0.5 + 0.5 * (unit_step(x) - unit_step(-x)),
    1.0: unit_step,
}
RELUS = {at: _operation("relu", functions.FUNCTIONS["relu"], slope) for at, slope in SLOPES.items()}


@jax.custom_jvp
def relu_beside(x: jax.Array, side: jax.Array) -> jax.Array:
    """max(x, 0) with a slope that is given, and that nothing differentiates."""
    return relu(x)


@relu_beside.defjvp
def _(primals, tangents):  # type: ignore[no-untyped-def]
    return relu_beside(*primals), primals[1] * tangents[0]
