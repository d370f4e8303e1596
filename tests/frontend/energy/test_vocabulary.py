"""Named calls, their values and their derivatives."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from echoloom.frontend.energy import trace
from echoloom.frontend.energy.canonical import facts, plan, refusals, rules
from echoloom.frontend.energy.canonical.builder import Builder, Names, NoForm, Untraceable
from echoloom.frontend.energy.trace.rules import INSTRUCTIONS
from echoloom.frontend.energy.vocabulary import FUNCTIONS, gelu, gelu_slope
from echoloom.ir.functions import FUNCTIONS as TABLES
from echoloom.ir.functions import OPERATIONS
from echoloom.ir.ops import Op, Table

X = jnp.linspace(-12.0, 12.0, 2001)


def operations(jaxpr: Any) -> Iterator[str]:
    """Every primitive, those inside of others too."""
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for value in equation.params.values():
            for inner in (value, getattr(value, "jaxpr", None)):
                if hasattr(inner, "eqns"):
                    yield from operations(inner)


def test_gelu_is_the_exact_one():
    x = np.asarray(X)
    np.testing.assert_allclose(gelu(X), x * 0.5 * (1 + erf(x / np.sqrt(2))), rtol=1e-14, atol=1e-16)


def test_slope_is_the_derivative():
    plain = jax.vmap(jax.grad(lambda x: 0.5 * x * (1 + jax.lax.erf(x / jnp.sqrt(2.0)))))(X)
    np.testing.assert_allclose(gelu_slope(X), plain, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(jax.vmap(jax.grad(gelu))(X), gelu_slope(X))


def test_a_tracer_sees_functions_as_one_operation_each():
    assert list(operations(jax.make_jaxpr(gelu)(X).jaxpr)) == ["gelu"]
    backward = jax.make_jaxpr(lambda x, g: jax.vjp(gelu, x)[1](g))(X, X)
    assert list(operations(backward.jaxpr)) == ["gelu", "gelu_slope", "mul"]


def test_functions_stay_whole_under_vmap_and_scan():
    def total(x):
        return jax.lax.scan(lambda c, at: (c + jnp.sum(gelu(at)), None), 0.0, x)[0]

    rows = jax.make_jaxpr(jax.vmap(jax.grad(total)))(X.reshape(-1, 3))
    assert {"gelu", "gelu_slope"} <= set(operations(rows.jaxpr))
    assert "erf" not in set(operations(rows.jaxpr))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_types_of_floats_stay(name: str) -> None:
    for dtype in (jnp.float32, jnp.float64):
        x = jnp.full(3, 0.5, dtype)
        for function in (FUNCTIONS[name], jax.jit(FUNCTIONS[name]), jax.vmap(FUNCTIONS[name])):
            assert function(x).dtype == dtype


# What docs/models.md, "Adding a function or a primitive", asks for.


def test_every_operation_is_a_function_of_one_entry() -> None:
    assert list(FUNCTIONS) == list(TABLES)
    assert set(OPERATIONS.values()) == set(TABLES)
    assert set(OPERATIONS) <= set(rules.PRIMITIVES)
    assert set(OPERATIONS) <= set(INSTRUCTIONS)


def test_every_kind_of_step_has_a_rule() -> None:
    assert set(plan.STEP_VALUES) == set(plan.Kind)


def test_no_primitive_is_both_possible_and_refused() -> None:
    assert not set(rules.PRIMITIVES) & set(refusals.REFUSED)


def domain(name: str) -> np.ndarray:
    x = np.concatenate([np.linspace(-6.0, 6.0, 1201), [-1e-9, 1e-9, 15.0, 30.0]])
    return np.abs(x[x != 0.0]) if TABLES[name].positive else x


@pytest.mark.parametrize("name", FUNCTIONS)
def test_jax_and_numpy_compute_the_same(name: str) -> None:
    x = domain(name)
    found, wanted = np.asarray(FUNCTIONS[name](jnp.asarray(x))), TABLES[name].evaluate(x)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-13)


def functions_used(traced: trace.Traced) -> set[str]:
    return {i.attr.function for i in traced.graph.instrs if isinstance(i.attr, Table)}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_slopes_are_made_of_the_vocabulary(name: str) -> None:
    """Traced, the function is its own table, and its derivative, which a graph can say, is right.

    A derivative of the derivative is asked for only where an energy can have the function, whose
    contrast is already a first one.
    """
    function = FUNCTIONS[name]
    own = trace.trace(lambda x: {"y": function(x)}, x=np.zeros(3))
    assert functions_used(own) == {name}
    if TABLES[name].is_slope:
        return

    def slope(x: jax.Array) -> dict[str, jax.Array]:
        return {"g": jax.grad(lambda at: jnp.sum(function(at)))(x)}

    found = trace.trace(slope, x=np.zeros(3))
    assert functions_used(found) <= set(TABLES)
    assert all(i.op in Op for i in found.graph.instrs)
    x = np.linspace(0.1, 3.0, 30)
    for at in (x,) if TABLES[name].positive else (x, -x):
        step = 1e-5
        ahead, back = (TABLES[name].evaluate(at + d) for d in (step, -step))
        np.testing.assert_allclose(
            slope(jnp.asarray(at))["g"], (ahead - back) / (2 * step), rtol=1e-6, atol=1e-9
        )


def words_of_rules() -> set[str]:
    """Every word that the source of the canonical rules asks a builder for."""
    folder = Path(rules.__file__).parent
    text = "".join(file.read_text() for file in folder.glob("*.py"))
    return set(re.findall(r'\b(?:b\.word|_word)\("(\w+)"', text))


def test_the_rules_use_words_that_exist() -> None:
    assert len(words_of_rules()) > 7
    assert words_of_rules() <= set(FUNCTIONS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_can_be_written(name: str) -> None:
    """An energy that calls it reaches its table, by a rule of its own or as a word."""
    b = Builder("Unit", {}, Names([]))
    known = facts.Facts(lo=0.5, hi=2.0)
    x = b.input("q", (2,), known)
    assert b.steps[b.word(name, x).index - b.inputs].word == name
    if TABLES[name].positive:
        with pytest.raises(NoForm, match="declare the range"):
            b.word(name, b.input("u", (2,), facts.Facts()))
    assert issubclass(NoForm, Untraceable)


def test_the_page_for_users_names_every_function() -> None:
    page = (Path(__file__).parents[3] / "docs" / "models.md").read_text()
    table = page.partition("## The vocabulary")[2].partition("##")[0]
    shown = set(re.findall(r"`(\w+)`", table))
    assert {name for name, function in TABLES.items() if not function.is_slope} <= shown
