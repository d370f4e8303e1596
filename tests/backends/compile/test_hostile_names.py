"""A unit's fields may be called anything: also what the compiler calls its own values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import echoloom as el
from echoloom.ir.parser import parse

# Every word that the compiler puts into names of its own, and what people call their fields.
WORDS = (
    "folded", "constant", "constants", "folded_", "addend", "narrow", "number", "exact", "rounded",
    "free", "plus", "minus", "first", "second", "unit", "block", "step", "q", "p", "u", "x", "g",
    "t0", "w0", "b0", "identity", "error", "mean", "contrast", "echoloom_tanh",
)  # fmt: skip
POSITIONS, HIDDEN, STEPS = 2, 3, 6
LITERAL = np.array([0.9, 0.4])


class Inner(eqx.Module):
    """A field that is a module; its own field has a telling name too."""

    constant: jax.Array


class Holder(eqx.Module):
    addend: jax.Array
    folded: jax.Array


def springs(names: tuple[str, str, str], wrap: str) -> el.Hamiltonian:
    """exp(a) LITERAL q^2 / 2 + log cosh(b q + b) - q . (w u), with a, b, w under these names.

    a is folded, LITERAL is a fixed array, b is both a factor and an addend. `wrap` is how a field
    holds its array.
    """
    put: dict[str, Callable[[Any], Any]] = {
        "array": lambda v: v, "list": lambda v: [v], "dict": lambda v: {"narrow": v},
        "module": Inner, "two": lambda v: Holder(v, 0.5 * v),
    }  # fmt: skip
    take: dict[str, Callable[[Any], Any]] = {
        "array": lambda v: v, "list": lambda v: v[0], "dict": lambda v: v["narrow"],
        "module": lambda v: v.constant, "two": lambda v: v.addend + v.folded,
    }  # fmt: skip

    def potential(self: Any, q: jax.Array, u: jax.Array) -> jax.Array:
        a, b, w = (take[wrap](getattr(self, name)) for name in names)
        curved = jnp.sum(jnp.logaddexp(b * q + b, -b * q - b))
        return 0.5 * jnp.sum(jnp.exp(a) * LITERAL * q**2) + curved - q @ (w @ u)

    annotations = dict.fromkeys(names, jax.Array)
    body = {"__annotations__": annotations, "potential": potential, "__module__": __name__}
    kind = type("Springs", (el.Hamiltonian,), body)
    random = np.random.default_rng(1)
    arrays = (
        random.normal(size=POSITIONS), random.normal(size=POSITIONS),
        random.normal(size=(POSITIONS, HIDDEN)),
    )  # fmt: skip
    return kind(*(put[wrap](jnp.asarray(a)) for a in arrays))


def check_is_the_model(unit: el.Hamiltonian) -> None:
    """Logits and gradients of the integers against the float model's and BPTT's."""
    model = el.HSSM(
        2, 2, HIDDEN, POSITIONS, 1, unit=unit, step=0.3, key=jax.random.key(0)
    )  # fmt: skip
    x = np.random.default_rng(2).normal(size=(2, STEPS, 2))
    program = el.compile(model, x, lanes=2)
    assert np.allclose(program.predict(x[0]), model(jnp.asarray(x[0])), atol=1e-4)
    learned = jax.tree.leaves(program.gradient(x[0], 1).blocks[0].unit)
    exact = jax.tree.leaves(el.bptt_gradient(model, jnp.asarray(x[0]), 1).blocks[0].unit)
    assert len(learned) == len(exact)
    for ours, theirs in zip(learned, exact, strict=True):
        assert np.linalg.norm(theirs) > 0.0
        assert np.linalg.norm(ours - theirs) < 1e-2 * np.linalg.norm(theirs)
    again = program.with_parameters(model)
    assert again.run(x[0], 1).gradients.keys() == program.run(x[0], 1).gradients.keys()
    for name, words in program.run(x[0], 1).gradients.items():
        assert np.array_equal(again.run(x[0], 1).gradients[name], words), name


@pytest.mark.core
@pytest.mark.parametrize(
    ("names", "wrap"),
    [
        (("folded", "constant", "drive"), "list"),  # folded.0 and constant.0 twice
        (("stiffness", "constants", "narrow"), "array"),  # begins like a fixed number's name
        (("stiffness", "constant", "addend"), "module"),  # constant.constant
        (("folded", "folded_", "constant_"), "two"),  # folded.addend
        (("plus", "free", "minus"), "dict"),
    ],
)
def test_a_name_says_nothing(names: tuple[str, str, str], wrap: str) -> None:
    check_is_the_model(springs(names, wrap))


@settings(max_examples=4, deadline=None, derandomize=True, database=None)
@given(
    st.lists(st.sampled_from(WORDS), min_size=3, max_size=3, unique=True),
    st.sampled_from(["array", "list", "dict", "module", "two"]),
)
def test_no_name_says_anything(names: list[str], wrap: str) -> None:
    check_is_the_model(springs((names[0], names[1], names[2]), wrap))


@jax.jit
def softplus(x: jax.Array) -> jax.Array:
    """Not the function of that name."""
    return x**2


class Functions(el.Hamiltonian):
    drive: jax.Array

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        return jnp.sum(echoloom_gelu(q)) + 0.3 * jnp.sum(softplus(q)) - q @ (self.drive @ u)


def _cos(x: jax.Array) -> jax.Array:
    return jnp.cos(x)


_cos.__name__ = _cos.__qualname__ = "echoloom_gelu"
echoloom_gelu = jax.jit(_cos)


@pytest.mark.core
def test_a_function_is_what_it_does() -> None:
    """Jitted functions of the user's called like words that the compiler has tables for."""
    drive = np.random.default_rng(1).normal(size=(POSITIONS, HIDDEN))
    check_is_the_model(Functions(jnp.asarray(drive)))


def test_formats_are_shared_by_place_and_not_by_name() -> None:
    """Fields `plus` and `free` of very different size keep formats of their own."""
    names = (
        "b0.minus.second.q", "b0.plus.first.q", "b1.plus.first.q",
        "b0.contrast.block.unit.plus.second.w", "b0.contrast.block.unit.free.second.w",
    )  # fmt: skip
    code = "".join(f"  %{name} = constant() {{value=0.0}} : real[1]\n" for name in names)
    instrs = parse(f"program p\nforward_step:\n{code}").bodies[0].instrs
    assert [i.kin for i in instrs] == [(0, "first.q"), (0, "first.q"), (1, "first.q"), *names[3:]]
