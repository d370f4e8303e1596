"""Refusals that teach: what floats can learn but fabric has no form for, when compiled."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refused_units import Golden, Method, cases, model, refused_by_the_compiler, written

import echoloom as el
from echoloom.frontend.gradients.rhel import rhel_gradient

MASK = np.array([True, True, False])


def helper(x: jax.Array) -> jax.Array:
    return jnp.arctan(x) + jnp.sum(x)


@jax.jit
def jitted_helper(x: jax.Array) -> jax.Array:
    return jnp.arctan(x) + jnp.sum(x)


GOLDENS = [
    Golden(
        "where puts numbers that are not finite in the place of some elements, and no word of the "
        "fabric can hold them; put a finite number there and choose again afterwards, as in "
        "jnp.where(mask, f(jnp.where(mask, q, 0.0)), 0.0).",
        {
            "infinity by a fixed mask": (
                "jnp.where(MASK, q**2, jnp.inf)",
                lambda self, q, u: jnp.sum(jnp.where(MASK, q**2, jnp.inf)),
            ),
        },
    ),
    Golden(
        "sqrt(x) has an argument that is only known to lie in [0, inf], so the energy or its slope "
        "is infinite there and no table can hold it; declare the range with jnp.maximum(x, 0.01) "
        "or jnp.clip, or add a positive number.",
        {"std": ("jnp.std(q)", lambda self, q, u: jnp.std(q))},
    ),
    Golden(
        "a loop (while_loop or fori_loop) has no form in a static schedule, whose length must "
        "not depend on data; write a Python loop with a fixed count, which unrolls while "
        "tracing.",
        {
            "while_loop": (
                "jax.lax.while_loop",
                lambda self, q, u: jax.lax.while_loop(
                    lambda s: jnp.sum(s) > 1.0, lambda s: 0.5 * s, q
                ).sum(),
            ),
        },
    ),
    Golden(
        "a loop (scan or fori_loop) has no form in a static schedule, whose length must not "
        "depend on data; write a Python loop with a fixed count, which unrolls while tracing.",
        {
            "fori_loop": (
                "jax.lax.fori_loop(0, 3, lambda i, s: jnp.sin(s), q)",
                lambda self, q, u: jnp.sum(jax.lax.fori_loop(0, 3, lambda i, s: jnp.sin(s), q)),
            ),
            "scan": (
                "jax.lax.scan(lambda c, x: (c + x**2, x), 0.0, q)[0]",
                lambda self, q, u: jax.lax.scan(lambda c, x: (c + x**2, x), 0.0, q)[0],
            ),
        },
    ),
    Golden(
        "a branch (lax.cond or lax.switch) has no form in a static schedule, which takes the "
        "same cycles for all data; compute both cases and choose by jnp.where.",
        {
            "cond": (
                "jax.lax.cond(u[0] > 0, jnp.sum, jnp.prod, q)",
                lambda self, q, u: jax.lax.cond(u[0] > 0, jnp.sum, jnp.prod, q),
            ),
        },
    ),
    Golden(
        "max searches a whole axis, and fabric compares only two numbers at a time; use "
        "jnp.maximum or jnp.minimum of two slices, or the smooth jnp.logaddexp.",
        {
            "max over an axis": ("jnp.max(q * 2.0)", lambda self, q, u: q @ q + jnp.max(q * 2.0)),
            "a function in JAX's own helper": (
                "jax.nn.logsumexp(q * 1.0)",
                lambda self, q, u: jnp.sum(jax.nn.logsumexp(q * 1.0)),
            ),
        },
    ),
    Golden(
        "min searches a whole axis, and fabric compares only two numbers at a time; use "
        "jnp.maximum or jnp.minimum of two slices, or the smooth jnp.logaddexp.",
        {
            "min over an axis": ("jnp.min(q * 2.0)", lambda self, q, u: q @ q + jnp.min(q * 2.0)),
        },
    ),
    Golden(
        "sort searches a whole axis, and fabric compares only two numbers at a time; use "
        "jnp.maximum or jnp.minimum of two slices, or the smooth jnp.logaddexp.",
        {
            "sort": ("jnp.sort(q)", lambda self, q, u: self.k @ jnp.sort(q)),
        },
    ),
    Golden(
        "argmax yields places instead of numbers, and a place has no slope; weigh all elements "
        "by jnp.where with comparisons.",
        {
            "argmax": ("jnp.argmax(u)", lambda self, q, u: q @ q * q[jnp.argmax(u)]),
        },
    ),
    Golden(
        "an index is computed from run-time data, but every element's way through the circuit "
        "is fixed when it is compiled; index by Python numbers or constant arrays, or weigh all"
        " elements by jnp.where with comparisons.",
        {
            "an index from data": (
                "q[(u[0] > 0).astype(int)]",
                lambda self, q, u: q @ q * q[(u[0] > 0).astype(int)],
            ),
        },
    ),
    Golden(
        "an index is computed from a parameter, but every element's way through the circuit is "
        "fixed when it is compiled; index by Python numbers or constant arrays, or weigh all "
        "elements by jnp.where with comparisons.",
        {
            "an index from a parameter": (
                "q[jnp.argmax(self.k)]",
                lambda self, q, u: q @ q + q[jnp.argmax(self.k)],
            ),
        },
    ),
    Golden(
        "two run-time numbers are compared for equality, which rounded words hardly ever show; "
        "compare with < or >= instead, for instance jnp.abs(x - y) < 0.01.",
        {
            "equality": (
                "q == u[0], 0.0, q**2",
                lambda self, q, u: jnp.sum(jnp.where(q == u[0], 0.0, q**2)),
            ),
        },
    ),
    Golden(
        "a parameter's value chooses between two cases, but the circuit is made for one of "
        "them, and the choice has no gradient; choose by q, u or p, or in plain Python by a "
        "static field.",
        {
            "a choice by a parameter": (
                "jnp.where(self.k > 0.5, q**2, q**4)",
                lambda self, q, u: jnp.sum(jnp.where(self.k > 0.5, q**2, q**4)),
            ),
        },
    ),
    Golden(
        "the exponent of this power is not a fixed number, and only a fixed one unrolls into "
        "products; write jnp.exp(y * jnp.log(x)) for x with a declared range.",
        {
            "a trained exponent": (
                "(1.0 + q**2) ** self.k",
                lambda self, q, u: jnp.sum((1.0 + q**2) ** self.k),
            ),
        },
    ),
    Golden(
        "x ** 0.75 is no product of whole powers and square roots, the powers that fabric has; "
        "use a whole power, jnp.sqrt, or jnp.exp(0.75 * jnp.log(x)) for x with a declared "
        "range.",
        {
            "a fractional exponent": (
                "(1.0 + q**2) ** 0.75",
                lambda self, q, u: jnp.sum((1.0 + q**2) ** 0.75),
            ),
        },
    ),
    Golden(
        "sqrt(x) has an argument that is only known to lie in [-inf, inf], so the energy or its"
        " slope is infinite there and no table can hold it; declare the range with "
        "jnp.maximum(x, 0.01) or jnp.clip, or add a positive number.",
        {
            "sqrt": ("jnp.sqrt(self.k + q)", lambda self, q, u: jnp.sum(jnp.sqrt(self.k + q))),
        },
    ),
    Golden(
        "sqrt(x) has an argument that is only known to lie in [0, inf], so the energy or its "
        "slope is infinite there and no table can hold it; declare the range with "
        "jnp.maximum(x, 0.01) or jnp.clip, or add a positive number.",
        {
            "a norm": ("jnp.linalg.norm(q - 1.0)", lambda self, q, u: jnp.linalg.norm(q - 1.0)),
        },
    ),
    Golden(
        "log(x) has an argument that is only known to lie in [0, inf], so the energy or its "
        "slope is infinite there and no table can hold it; declare the range with "
        "jnp.maximum(x, 0.01) or jnp.clip, or add a positive number.",
        {
            "log": ("jnp.log(q**2)", lambda self, q, u: jnp.sum(jnp.log(q**2))),
        },
    ),
    Golden(
        "1 / x has an argument that is only known to lie in [0, 4], so the energy or its slope "
        "is infinite there and no table can hold it; declare the range with jnp.maximum(x, "
        "0.01) or jnp.clip, or add a positive number.",
        {
            "reciprocal": (
                "1.0 / (self.k + jnp.sin(q))",
                lambda self, q, u: jnp.sum(1.0 / (self.k + jnp.sin(q))),
            ),
        },
    ),
    Golden(
        "1 / sqrt(x) has an argument that is only known to lie in [-0.5, inf], so the energy or"
        " its slope is infinite there and no table can hold it; declare the range with "
        "jnp.maximum(x, 0.01) or jnp.clip, or add a positive number.",
        {
            "rsqrt": (
                "jax.lax.rsqrt(jnp.exp(q) - 0.5)",
                lambda self, q, u: jnp.sum(jax.lax.rsqrt(jnp.exp(q) - 0.5)),
            ),
        },
    ),
    Golden(
        "the operation 'tan' has no form in fabric, which has sums, products and tables of a "
        "few functions; write it with + - * / and asinh, cos, cosh, erf, exp, gelu, gelu_tanh, "
        "log, log_cosh, reciprocal, relu, rsqrt, sigmoid, sin, sinh, softplus, sqrt, tanh, "
        "unit_step, or multiply by a constant matrix.",
        {
            "tan": ("jnp.tan(0.1 * q)", lambda self, q, u: jnp.sum(q**2 + jnp.tan(0.1 * q))),
        },
    ),
    Golden(
        "the operation 'atan' has no form in fabric, which has sums, products and tables of a "
        "few functions; write it with + - * / and asinh, cos, cosh, erf, exp, gelu, gelu_tanh, "
        "log, log_cosh, reciprocal, relu, rsqrt, sigmoid, sin, sinh, softplus, sqrt, tanh, "
        "unit_step, or multiply by a constant matrix.",
        {
            "arctan": ("jnp.arctan(q)", lambda self, q, u: jnp.sum(jnp.arctan(q))),
            "a function in a helper": ("jnp.arctan(x)", lambda self, q, u: jnp.sum(helper(q))),
            "a function in a jitted helper": (
                "jnp.arctan(x)",
                lambda self, q, u: jnp.sum(jitted_helper(q)),
            ),
        },
    ),
    Golden(
        "the operation 'lgamma' has no form in fabric, which has sums, products and tables of a"
        " few functions; write it with + - * / and asinh, cos, cosh, erf, exp, gelu, gelu_tanh, "
        "log, log_cosh, reciprocal, relu, rsqrt, sigmoid, sin, sinh, softplus, sqrt, tanh, "
        "unit_step, or multiply by a constant matrix.",
        {
            "lgamma": (
                "jax.lax.lgamma(1.0 + q**2)",
                lambda self, q, u: jnp.sum(jax.lax.lgamma(1.0 + q**2)),
            ),
        },
    ),
    Golden(
        "a product over an axis has as many factors as elements, and fabric multiplies two at a"
        " time; multiply slices, or write jnp.exp(jnp.sum(jnp.log(x))) for x with a declared "
        "range.",
        {
            "prod": ("jnp.prod(q)", lambda self, q, u: jnp.prod(q)),
        },
    ),
    Golden(
        "a run-time number is rounded to int32, a staircase without slope; stay with real "
        "numbers, and use jnp.where with a comparison to switch.",
        {
            "rounding": (
                "q.astype(jnp.int32)",
                lambda self, q, u: jnp.sum(q**2 + q.astype(jnp.int32)),
            ),
        },
    ),
    Golden(
        "the operation 'floor' has no form in fabric, which has sums, products and tables of a "
        "few functions; write it with + - * / and asinh, cos, cosh, erf, exp, gelu, gelu_tanh, "
        "log, log_cosh, reciprocal, relu, rsqrt, sigmoid, sin, sinh, softplus, sqrt, tanh, "
        "unit_step, or multiply by a constant matrix.",
        {
            "floor": ("jnp.floor(q)", lambda self, q, u: jnp.sum((q - jnp.floor(q)) ** 2)),
        },
    ),
    Golden(
        "complex numbers are computed from run-time values, and fabric has only real words; "
        "hold real and imaginary parts as two positions.",
        {
            "fft": ("jnp.fft.rfft(q)", lambda self, q, u: jnp.sum(jnp.abs(jnp.fft.rfft(q)) ** 2)),
            "complex numbers": ("1j * q", lambda self, q, u: jnp.sum(jnp.real(jnp.exp(1j * q)))),
        },
    ),
]


@pytest.mark.parametrize(("sentence", "expression", "method"), cases(GOLDENS))
def test_an_energy_without_a_form(sentence: str, expression: str, method: Method) -> None:
    assert refused_by_the_compiler(method, __file__, expression) == sentence


def test_floats_learn_what_fabric_cannot() -> None:
    """The model is built and has a gradient, but no program."""
    own = model(written(lambda self, q, u: jnp.sum(jnp.arctan(self.k * q) ** 2)))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(6, 2)))
    assert all(bool(jnp.all(jnp.isfinite(g))) for g in jax.tree.leaves(rhel_gradient(own, x, 1)))
    with pytest.raises(
        ValueError, match=r"^Own\.potential at .*: the operation 'atan' has no form"
    ):
        el.compile(own, np.asarray(x)[None])


def test_an_energy_that_cannot_be_read_is_refused_at_once() -> None:
    """Nobody knows then whether it separates."""
    with pytest.raises(ValueError, match=r"^Own\.energy at .*: the operation 'tan' has no form"):
        model(written(lambda self, q, p, u: jnp.sum(q**2 + p**2) + jnp.sum(jnp.tan(q))))
