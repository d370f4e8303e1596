"""Named calls, their values and their derivatives."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import erf

from echoloom.frontend.vocabulary import gelu, gelu_slope

X = jnp.linspace(-12.0, 12.0, 2001)


def equations(jaxpr, inside: tuple[str, ...] = ()) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every primitive with the named calls around it, outermost first."""
    for equation in jaxpr.eqns:
        name = equation.params.get("name", "")
        yield (equation.primitive.name, inside)
        for value in equation.params.values():
            for inner in (value, getattr(value, "jaxpr", None)):
                if hasattr(inner, "eqns"):
                    yield from equations(inner, (*inside, name))


def test_gelu_is_the_exact_one():
    x = np.asarray(X)
    np.testing.assert_allclose(gelu(X), x * 0.5 * (1 + erf(x / np.sqrt(2))), rtol=1e-14, atol=1e-16)


def test_slope_is_the_derivative():
    plain = jax.vmap(jax.grad(lambda x: 0.5 * x * (1 + jax.lax.erf(x / jnp.sqrt(2.0)))))(X)
    np.testing.assert_allclose(gelu_slope(X), plain, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(jax.vmap(jax.grad(gelu))(X), gelu_slope(X))


def test_tracer_sees_named_calls():
    forward = list(equations(jax.make_jaxpr(gelu)(X).jaxpr))
    assert forward[0] == ("custom_jvp_call", ())
    assert all("echoloom_gelu" in inside for name, inside in forward if name == "erf")

    backward = jax.make_jaxpr(lambda x, g: jax.vjp(gelu, x)[1](g))(X, X)
    top = [
        (equation.primitive.name, equation.params.get("name"))
        for equation in backward.jaxpr.eqns
        if equation.primitive.name != "custom_jvp_call"  # gelu itself, whose value is not used
    ]
    assert top == [("jit", "echoloom_gelu_slope"), ("mul", None)]
    erfs = [inside for name, inside in equations(backward.jaxpr) if name == "erf"]
    assert erfs
    assert all({"echoloom_gelu", "echoloom_gelu_slope"} & set(inside) for inside in erfs)


def test_names_survive_vmap_and_scan():
    def total(x):
        return jax.lax.scan(lambda c, at: (c + jnp.sum(gelu(at)), None), 0.0, x)[0]

    found = {inside[-1] for name, inside in equations(jax.make_jaxpr(jax.grad(total))(X).jaxpr)
             if name == "erf"}  # fmt: skip
    assert found <= {"echoloom_gelu", "echoloom_gelu_slope"}
    assert "echoloom_gelu_slope" in found
