"""Refusals that teach: what has no echo on any machine, or is no energy, is refused when the
model is built, with the user's line, the reason and what to write instead."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from own_rules import clipped_jvp, moved_jvp, still_jvp, stopped_jvp, straight_jvp, straight_vjp
from refused_units import (
    POSITIONS,
    Golden,
    Method,
    Plain,
    cases,
    made,
    model,
    refusal,
    refusal_at,
    refused_by_the_compiler,
    written,
)  # fmt: skip

from echoloom.frontend.energy.hamiltonian import Hamiltonian
from echoloom.frontend.models.check import check

GOLDENS = [
    Golden(
        "one term has p and q together, so H is not separable into T(p) + V(q, u), and the "
        "leapfrog step could not be run backwards; write a T of p alone plus a V of q and u "
        "alone.",
        {
            "q and p in one term": (
                "q @ p + jnp.sum(q**2)",
                lambda self, q, p, u: jnp.sum(p**2) + q @ p + jnp.sum(q**2),
            ),
            "a sum of q and p squared": (
                "(q - p) ** 2",
                lambda self, q, p, u: 0.5 * jnp.sum((q - p) ** 2),
            ),
        },
    ),
    Golden(
        "one term has p and u together, so H is not separable into T(p) + V(q, u), and the "
        "leapfrog step could not be run backwards; write a T of p alone plus a V of q and u "
        "alone.",
        {
            "u and p in one term": (
                "jnp.sum(p**2) * u[0]",
                lambda self, q, p, u: jnp.sum(q**2) + jnp.sum(p**2) * u[0],
            ),
        },
    ),
    Golden(
        "T is not even in p as far as can be proven on its graph, so turning the momentum round"
        " would not turn the motion round, and there is no echo; use even powers, products of "
        "two odd functions, cos or log cosh of p.",
        {
            "an odd part of T": ("jnp.sum(p)", lambda self, p: 0.5 * jnp.sum(p**2) + jnp.sum(p)),
            "a cubic T": ("p**3", lambda self, p: jnp.sum(p**3)),
            "an odd function in T": ("jnp.tanh(p)", lambda self, p: jnp.sum(p**2 + jnp.tanh(p))),
            "an odd part of T in an energy": (
                "p[0]",
                lambda self, q, p, u: jnp.sum(q**2) + jnp.sum(p**4) - 0.1 * p[0],
            ),
        },
    ),
    Golden(
        "T has a corner in p (abs, max, min or where), so the velocity jumps and is not odd in "
        "integers; write it smoothly, such as jnp.sqrt(p**2 + 0.01).",
        {
            "abs in T": ("jnp.abs(p)", lambda self, p: jnp.sum(jnp.abs(p))),
            "max in T": ("jnp.maximum(p**2, 1.0)", lambda self, p: jnp.sum(jnp.maximum(p**2, 1.0))),
            "where in T": (
                "p > 0, p**2, 2.0 * p**2",
                lambda self, p: jnp.sum(jnp.where(p > 0, p**2, 2.0 * p**2)),
            ),
        },
    ),
    Golden(
        "stop_gradient cuts a part out of the force, which must be the whole slope of the "
        "potential for an echo to find its way back; leave it out, or stop a parameter alone, "
        "as in jax.lax.stop_gradient(self.k) * q.",
        {
            "stop_gradient": (
                "jax.lax.stop_gradient(q)",
                lambda self, q, u: jnp.sum(q**2 * jax.lax.stop_gradient(q)),
            ),
        },
    ),
    Golden(
        "a function with a backward rule of its own (jax.custom_vjp) cannot be differentiated "
        "forwards, as the echo's gradient has to be; write the function in plain operations, which "
        "are differentiated as they are, or give it a rule by jax.custom_jvp.",
        {
            "custom_vjp": ("straight_vjp(q)", lambda self, q, u: jnp.sum(straight_vjp(q))),
        },
    ),
    Golden(
        "the rule of this function's own (jax.custom_jvp) is not the derivative of its operations, "
        "so the force would not be the slope of the energy and the echo's gradient would be wrong; "
        "write the function in plain operations, which are differentiated as they are.",
        {
            "custom_jvp": ("straight_jvp(q)", lambda self, q, u: jnp.sum(straight_jvp(q))),
            "of a parameter": (
                "still_jvp(self.k, q)",
                lambda self, q, u: jnp.sum(still_jvp(self.k, q)),
            ),
            "of the second derivative": (
                "stopped_jvp(q)",
                lambda self, q, u: jnp.sum(stopped_jvp(q)),
            ),
            "of the value": ("moved_jvp(q)", lambda self, q, u: jnp.sum(jnp.sin(moved_jvp(q)))),
            "beyond 1": ("clipped_jvp(q)", lambda self, q, u: jnp.sum(clipped_jvp(q))),
        },
    ),
    Golden(
        "random numbers are drawn inside the energy, but an echo has to meet the very same "
        "forces again; draw them once outside and keep them in a field, or feed noise as an "
        "input.",
        {
            "random numbers": (
                "jax.random.key(0)",
                lambda self, q, u: q @ q + q @ jax.random.normal(jax.random.key(0), (3,)),
            ),
        },
    ),
]


@pytest.mark.parametrize(("sentence", "expression", "method"), cases(GOLDENS))
def test_an_energy_without_an_echo(sentence: str, expression: str, method: Method) -> None:
    assert refused_by_the_compiler(method, __file__, expression) == sentence
    with pytest.raises(ValueError) as caught:
        model(written(method))
    assert str(caught.value).endswith(sentence)


FRICTION = (
    " would take energy out of the motion, and what is lost leaves no echo to learn from; leave it "
    "out and confine the motion by the potential, for instance with + 0.1 * jnp.sum(q**4)."
)
DERIVED = (
    " of one's own would never be used, because it is derived from {0}, or the echo's gradient "
    "would belong to another motion; write {0} of which it is the derivative."
)


class Sticky(Plain):
    def friction(self, p: jax.Array) -> jax.Array:
        return 0.1 * p


class Lossy(Plain):
    def dissipation(self, q: jax.Array, p: jax.Array) -> jax.Array:
        return 0.1 * p


class Damped(Plain):
    damping: jax.Array


class Dragged(Plain):
    drag = 0.1


class Heavy(Plain):
    def kinetic(self, q: jax.Array, p: jax.Array) -> jax.Array:  # type: ignore[override]
        return jnp.sum(p**2 * (1.0 + q**2))


class Deaf(Plain):
    def potential(self, q: jax.Array) -> jax.Array:  # type: ignore[override]
        return jnp.sum(q**2)


class Pushed(Plain):
    def force(self, q: jax.Array, u: jax.Array) -> jax.Array:
        return -self.k * q


class Moved(Plain):
    def velocity(self, p: jax.Array) -> jax.Array:
        return p


class Nothing(Hamiltonian):
    k: jax.Array


@pytest.mark.parametrize(
    ("unit", "member", "expression", "sentence"),
    [
        (made(Sticky), "friction", "def friction", "friction" + FRICTION),
        (made(Lossy), "dissipation", "def dissipation", "dissipation" + FRICTION),
        (Damped(jnp.ones(3), jnp.ones((3, 2)), jnp.ones(3)), "damping", "damping: jax.Array",
         "damping" + FRICTION),
        (made(Dragged), "drag", "drag = 0.1", "drag" + FRICTION),
        (made(Pushed), "force", "def force", "a force" + DERIVED.format("the potential")),
        (made(Moved), "velocity", "def velocity",
         "a velocity" + DERIVED.format("the kinetic energy")),
        (made(Heavy), "kinetic", "def kinetic",
         "it must take p and nothing else (missing a required argument: 'p'), so that H separates "
         "into T(p) + V(q, u); write kinetic(self, p)."),
        (made(Deaf), "potential", "def potential",
         "it must take q, u and nothing else (too many positional arguments), so that H separates "
         "into T(p) + V(q, u); write potential(self, q, u)."),
        (Nothing(jnp.ones(3)), "potential", "class Nothing",
         "the class has neither a potential nor an energy; write potential(self, q, u) -> one "
         "number."),
    ],
)  # fmt: skip
def test_a_class_that_is_no_energy(
    unit: Hamiltonian, member: str, expression: str, sentence: str
) -> None:
    subject = f"{type(unit).__name__}.{member}"
    assert refusal_at(lambda: model(unit), subject, __file__, expression) == sentence


IMPLICIT = "the implicit LinOSS-IM step loses information"
DAMPED = "D-LinOSS's damping loses information"


@pytest.mark.parametrize(
    ("name", "reason"), [("im", IMPLICIT), ("linoss-im", IMPLICIT), ("d-linoss", DAMPED)]
)
def test_an_integrator_without_an_echo(name: str, reason: str) -> None:
    refusal(
        lambda: model("linear", integrator=name),
        f"HSSM: integrator is '{name}', but {reason} going forward, so there is no echo to "
        "retrace: use 'leapfrog' or 'imex'.",
    )


class Counted(Plain):
    count: Any


@pytest.mark.parametrize(
    ("leaf", "kind"),
    [(jnp.arange(3), "a JAX array of int64"), (jnp.ones(3, bool), "a JAX array of bool"),
     (jnp.ones(3, complex), "a JAX array of complex128"), (np.ones(3), "a NumPy array of float64"),
     (np.float32(1.0), "a NumPy array of float32")],
)  # fmt: skip
def test_arrays_that_cannot_learn(leaf: object, kind: str) -> None:
    refusal(
        lambda: model(Counted(jnp.ones(3), jnp.ones((3, 2)), leaf)),
        f"HSSM: Counted.count is {kind}, but a Hamiltonian's arrays are real JAX arrays, which "
        "learn: make one by jnp.asarray(x, float), or keep numbers that do not learn as a tuple in "
        "a static field.",
    )


def test_a_leaf_that_jax_cannot_keep() -> None:
    refusal(
        lambda: model(Counted(jnp.ones(3), jnp.ones((3, 2)), {1, 2})),
        "HSSM: Counted.count is a set, which has no hash, so JAX cannot keep it beside the arrays: "
        "make it a tuple, a number, text or a function.",
    )


@pytest.mark.parametrize(
    ("unit", "arguments", "name", "value", "sentence"),
    [
        ("linear", {"step": 0.5}, "stiffness", 16.0,
         "check: blocks[0] has an oscillator with step**2 * stiffness = 4 at [1], but the leapfrog "
         "step is stable only below 4."),
        ("linear", {"step": 0.5, "integrator": "imex"}, "stiffness", 17.0,
         "check: blocks[0] has an oscillator with step**2 * stiffness = 4.25 at [1], but the imex "
         "step is stable only below 4."),
        ("nonlinear", {}, "weight", 0.0,
         "check: blocks[0].unit.weight is 0 at [1], but the energy divides by every weight: none "
         "may be 0."),
        ("nonlinear", {}, "bias", np.nan,
         "check: parameter blocks[0].unit.bias is nan at [1]; every parameter must be finite."),
        ("custom", {}, "hamiltonian.k", np.inf,
         "check: parameter blocks[0].unit.hamiltonian.k is inf at [1]; every parameter must be "
         "finite."),
    ],
)  # fmt: skip
def test_numbers_that_cannot_run(
    unit: str, arguments: dict[str, Any], name: str, value: float, sentence: str
) -> None:
    own = model(made(Plain) if unit == "custom" else unit, **arguments)

    def where(m: Any) -> jax.Array:
        found = m.blocks[0].unit
        for part in name.split("."):
            found = getattr(found, part)
        return found

    own = eqx.tree_at(where, own, replace_fn=lambda a: a.at[1].set(value))
    refusal(lambda: check(own), sentence)


def test_a_model_is_built_inside_traced_functions() -> None:
    """An ensemble's numbers are not known under vmap; fixed ones are, and are still checked."""

    def build(k: jax.Array) -> jax.Array:
        unit = eqx.tree_at(lambda own: own.k, made(Plain), k)
        return model(unit).resolve().blocks[0].unit.k  # type: ignore[attr-defined]

    assert jax.vmap(build)(jnp.ones((2, POSITIONS))).shape == (2, POSITIONS)
    good, bad = made(Plain), made(Sticky)
    assert jax.jit(lambda: model(good)(jnp.ones((4, 2))))().shape == (2,)
    with pytest.raises(ValueError, match="friction would take energy"):
        jax.jit(lambda: model(bad)(jnp.ones((4, 2))))()
