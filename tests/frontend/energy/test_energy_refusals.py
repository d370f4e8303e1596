"""Refusals that teach: methods that fail, or give something that is not an energy."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refused_units import Golden, Method, cases, model, refused_by_the_compiler, written


def failing_helper(q: jax.Array, u: jax.Array) -> jax.Array:
    return jnp.concatenate([q, u]) @ q


GOLDENS = [
    Golden(
        "the energy does not depend on p, so q would never change; add a term of p, such as 0.5"
        " * jnp.sum(p**2).",
        {
            "no p in T": ("lambda self", lambda self, p: jnp.sum(self.k)),
            "no p in an energy": ("lambda self", lambda self, q, p, u: jnp.sum(q**2)),
        },
    ),
    Golden(
        "the energy does not depend on q, so no force would ever act; add a term of q, such as "
        "0.5 * jnp.sum(q**2).",
        {
            "no q in V": ("lambda self", lambda self, q, u: jnp.sum(u**2)),
        },
    ),
    Golden(
        "it gives float64[3], but an energy is one real number, whose slopes are the motion; "
        "add up its parts with jnp.sum, for it must take q [3] and u [2] to one real number.",
        {
            "a vector": ("lambda self", lambda self, q, u: self.k * q**2),
        },
    ),
    Golden(
        "it gives float64[], float64[], but an energy is one real number, whose slopes are the "
        "motion; add up its parts with jnp.sum, for it must take q [3] and u [2] to one real "
        "number.",
        {
            "a pair": ("lambda self", lambda self, q, u: (jnp.sum(q), jnp.sum(u))),
        },
    ),
    Golden(
        "it gives complex128[], but an energy is one real number, whose slopes are the motion; "
        "add up its parts with jnp.sum, for it must take q [3] and u [2] to one real number.",
        {
            "a complex energy": ("lambda self", lambda self, q, u: jnp.sum(jnp.exp(1j * q))),
        },
    ),
    Golden(
        "it fails with TypeError: dot_general requires contracting dimensions to have the same "
        "shape, got (3,) and (2,); it must take q [3] and u [2] to one real number.",
        {
            "shapes that do not fit": ("q @ u", lambda self, q, u: jnp.sum(self.k * q) + q @ u),
        },
    ),
    Golden(
        "it fails with TypeError: dot_general requires contracting dimensions to have the same "
        "shape, got (5,) and (3,); it must take q [3] and u [2] to one real number.",
        {
            "a helper that fails": ("", lambda self, q, u: failing_helper(q, u)),
        },
    ),
    Golden(
        "Python asks here whether a run-time number is true (if, while, and, or, not, assert), "
        "but a circuit takes one path for all numbers; write jnp.where(condition, a, b), with &"
        " | ~ between comparisons.",
        {
            "if": ("q[0] > 0", lambda self, q, u: jnp.sum(q**2) if q[0] > 0 else jnp.sum(q**4)),
        },
    ),
    Golden(
        "a function of NumPy gets a run-time array here, which it cannot follow; use the "
        "function of the same name in jax.numpy.",
        {
            "a NumPy function": ("np.tanh(q)", lambda self, q, u: jnp.sum(np.tanh(q))),
        },
    ),
    Golden(
        "a run-time number is needed here as a number of Python's, but it is not known before "
        "the run; stay with jax.numpy's functions, and take shapes, counts and indices from "
        "static fields.",
        {
            "a Python number": (
                "math.cos(u[0])",
                lambda self, q, u: jnp.sum(q**2) * math.cos(u[0]),
            ),
        },
    ),
    Golden(
        "a run-time condition as an index picks a number of elements that depends on data, but "
        "a circuit's vectors have fixed lengths; keep every element and write "
        "jnp.where(condition, x, 0.0).",
        {
            "a condition as index": ("q[q > 0] ** 2", lambda self, q, u: jnp.sum(q[q > 0] ** 2)),
        },
    ),
    Golden(
        "it divides by a parameter that is zero; write the parameter as jax.nn.softplus(raw) or"
        " jnp.exp(raw), which is never zero.",
        {
            "division by a zero parameter": (
                "q**2 / (self.k - self.k[0])",
                lambda self, q, u: jnp.sum(q**2 / (self.k - self.k[0])),
            ),
        },
    ),
    Golden(
        "a number that it computes from parameters is nan, which no word of the fabric can "
        "hold; keep every number finite, for instance with jax.nn.softplus(raw) under a log or "
        "a root.",
        {
            "a log of a negative parameter": (
                "jnp.log(-self.k) * q**2",
                lambda self, q, u: jnp.sum(jnp.log(-self.k) * q**2),
            ),
        },
    ),
    Golden(
        "a number that it holds is inf, which no word of the fabric can hold; keep every number"
        " finite, for instance with jax.nn.softplus(raw) under a log or a root.",
        {
            "an infinite wall": (
                "jnp.where(q > 1, jnp.inf, q**2)",
                lambda self, q, u: jnp.sum(jnp.where(q > 1, jnp.inf, q**2)),
            ),
        },
    ),
]


@pytest.mark.parametrize(("sentence", "expression", "method"), cases(GOLDENS))
def test_a_method_that_is_no_energy(sentence: str, expression: str, method: Method) -> None:
    assert refused_by_the_compiler(method, __file__, expression) == sentence
    with pytest.raises(ValueError) as caught:
        model(written(method))
    assert str(caught.value).endswith(sentence)
