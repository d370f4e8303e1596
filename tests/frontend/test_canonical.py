"""Canonical energies equal the ones written: random expressions, shapes, facts, parities."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echoloom.frontend.canonical import builder, canonicalise
from echoloom.frontend.canonical.facts import Facts
from echoloom.frontend.canonical.plan import RULES, Energy, Plan
from echoloom.frontend.hamiltonian import Hamiltonian
from echoloom.frontend.vocabulary import WORDS
from echoloom.ir.parity import Parity

M, H = 4, 3
Expression = Callable[[Any, dict[str, jax.Array]], jax.Array]
SETTINGS = settings(max_examples=60, deadline=None, derandomize=True)


class Written(Hamiltonian):
    """An energy given as a function of the unit and its inputs."""

    a: jax.Array  # [M]
    w: jax.Array  # [M, H]
    s: jax.Array  # scalar
    k: jax.Array  # [2, 2, H]
    potential_of: Expression = eqx.field(static=True)
    kinetic_of: Expression = eqx.field(static=True)

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        return self.potential_of(self, {"q": q, "u": u})

    def kinetic(self, p: jax.Array) -> jax.Array:
        return self.kinetic_of(self, {"p": p})


def square(unit: Any, at: dict[str, jax.Array]) -> jax.Array:
    return 0.5 * jnp.sum(at["p"] ** 2)


def written(potential: Expression, kinetic: Expression = square, seed: int = 0) -> Written:
    rng = np.random.default_rng(seed)
    arrays = [rng.uniform(0.3, 1.2, shape) for shape in ((M,), (M, H), (), (2, 2, H))]
    return Written(*map(jnp.asarray, arrays), potential, kinetic)


def points(seed: int) -> dict[str, jax.Array]:
    rng = np.random.default_rng(seed)
    return {n: jnp.asarray(rng.normal(size=s)) for n, s in (("q", M), ("u", H), ("p", M))}


def assert_same(unit: Written, seeds: range = range(3)) -> Plan:
    """Values and the derivatives by q, u, p and every leaf."""
    plan = canonicalise(unit, M, H)

    def pair(method: str, names: tuple[str, ...]) -> None:
        def ours(own: Any, *at: jax.Array) -> jax.Array:
            return getattr(plan.fold(own), method)(*at)

        def theirs(own: Any, *at: jax.Array) -> jax.Array:
            return getattr(own, method)(*at)

        inputs = tuple(range(len(names) + 1))
        for seed in seeds:
            at = [points(seed)[n] for n in names]
            found, wanted = (jax.value_and_grad(f, inputs)(unit, *at) for f in (ours, theirs))
            largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(wanted))
            for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * max(largest, 1.0))

    pair("potential", ("q", "u"))
    pair("kinetic", ("p",))
    return plan


# Expressions: a tree yields a vector [M], from vectors [M] by the vocabulary.

LEAVES: dict[str, Expression] = {
    "q": lambda unit, at: at["q"],
    "w u": lambda unit, at: unit.w @ at["u"],
    "a": lambda unit, at: unit.a,
    "s": lambda unit, at: jnp.broadcast_to(unit.s, (M,)),
    "exp(a) q": lambda unit, at: jnp.exp(unit.a) * at["q"],
    "constants": lambda unit, at: jnp.array([0.5, -1.0, 0.0, 2.0]),
    "one": lambda unit, at: jnp.ones(M),
}
UNARY: dict[str, Callable[[jax.Array], jax.Array]] = {
    "neg": lambda x: -x,
    "half": lambda x: 0.5 * x,
    "offset": lambda x: x - 0.7,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "sin": jnp.sin,
    "cos": jnp.cos,
    "erf": jax.lax.erf,
    "exp": lambda x: jnp.exp(jnp.tanh(x)),
    "exp2": lambda x: jnp.exp2(jnp.sin(x)),
    "expm1": lambda x: jnp.expm1(0.5 * jnp.cos(x)),
    "power of two": lambda x: 2.0 ** jnp.tanh(x),
    "sinh": lambda x: jnp.sinh(jnp.tanh(x)),
    "cosh": lambda x: jnp.cosh(jnp.sin(x)),
    "log cosh": lambda x: jnp.log(jnp.cosh(jnp.tanh(x))),
    "softplus": jax.nn.softplus,
    "log(1 + exp)": lambda x: jnp.log(1.0 + jnp.exp(jnp.tanh(x))),
    "log1p(exp)": lambda x: jnp.log1p(jnp.exp(jnp.tanh(x))),
    "log1p": lambda x: jnp.log1p(x**2),
    "sqrt": lambda x: jnp.sqrt(1.0 + x**2),
    "rsqrt": lambda x: jax.lax.rsqrt(2.0 + jnp.sin(x)),
    "reciprocal": lambda x: 1.0 / (1.5 + jnp.cos(x)),
    "log": lambda x: jnp.log(0.5 + jax.nn.sigmoid(x)),
    "square": jnp.square,
    "cube": lambda x: jnp.tanh(x) ** 3,
    "inverse square": lambda x: (1.0 + x**2) ** -2,
    "1.5": lambda x: (1.0 + jnp.tanh(x) ** 2) ** 1.5,
    "abs": lambda x: jnp.abs(x - 0.1234),
    "relu": lambda x: jax.nn.relu(x - 0.1234),
    "gelu": WORDS["gelu"],
    "clip": lambda x: jnp.clip(x, -0.4321, 0.5432),
    "roll": lambda x: jnp.roll(x, 1),
    "reverse": lambda x: x[::-1],
    "cumsum": jnp.cumsum,
    "mean": lambda x: x - jnp.mean(x),
    "gather": lambda x: x[jnp.array([3, 0, 0, 2])],
    "masked": lambda x: jnp.where(jnp.array([True, False, True, True]), x, 2.0 * x),
}
BINARY: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: jnp.tanh(x) * jnp.tanh(y),
    "/": lambda x, y: jnp.tanh(x) / (1.5 + jnp.sin(y)),
    "max": lambda x, y: jnp.maximum(x, y + 0.0123),
    "min": lambda x, y: jnp.minimum(x, y - 0.0123),
    "logaddexp": jnp.logaddexp,
    "where >": lambda x, y: jnp.where(x > y + 0.0123, x, 0.5 * y),
    "where <=": lambda x, y: jnp.where(x <= y + 0.0123, y, 1.0),
    "and": lambda x, y: jnp.where((x >= 0.0123) & ~(y < 0.0123), x, y),
    "or": lambda x, y: jnp.where((x > 0.0123) | (y > 0.4321), x, 0.0),
    "dot": lambda x, y: x * jnp.dot(jnp.tanh(x), jnp.tanh(y)),
    "outer": lambda x, y: jnp.sum(jnp.tanh(x)[:, None] * jnp.cos(y)[None, :], axis=1),
    "einsum": lambda x, y: jnp.einsum("i,j,i->j", jnp.tanh(x), jnp.tanh(y), jnp.cos(x)),
    "concatenate": lambda x, y: jnp.concatenate([x[:2], y[2:]]),
}


def joined(children: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    def unary(name: str, x: Expression) -> Expression:
        return lambda unit, at: UNARY[name](x(unit, at))

    def binary(name: str, x: Expression, y: Expression) -> Expression:
        return lambda unit, at: BINARY[name](x(unit, at), y(unit, at))

    return st.one_of(
        st.builds(unary, st.sampled_from(sorted(UNARY)), children),
        st.builds(binary, st.sampled_from(sorted(BINARY)), children, children),
    )


trees = st.recursive(st.sampled_from(sorted(LEAVES)).map(LEAVES.__getitem__), joined, max_leaves=6)


def summed(tree: Expression) -> Expression:
    """A scalar that q surely takes part in."""
    return lambda unit, at: jnp.sum(tree(unit, at)) + 0.5 * jnp.sum(unit.a * at["q"] ** 2)


@SETTINGS
@given(trees)
def test_random_potentials(tree: Expression) -> None:
    assert_same(written(summed(tree)))


@pytest.mark.parametrize("name", UNARY)
def test_every_function_of_one_argument(name: str) -> None:
    assert_same(written(summed(lambda unit, at: UNARY[name](at["q"] + unit.w @ at["u"]))))


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("right", ["u", "a", "constants"])
def test_every_function_of_two(name: str, right: str) -> None:
    def tree(unit: Any, at: dict[str, jax.Array]) -> jax.Array:
        y = LEAVES["w u" if right == "u" else right](unit, at)
        return BINARY[name](at["q"], y) + BINARY[name](y, at["q"])

    assert_same(written(summed(tree)))


SHAPES: dict[str, Expression] = {
    "scalars": lambda unit, at: unit.s * at["q"][0] * at["u"][-1],
    "length one": lambda unit, at: jnp.sum(at["q"][:1] * at["u"] * unit.s),
    "a matrix that is not square": lambda unit, at: at["q"] @ (unit.w @ jnp.tanh(at["u"])),
    "its transpose": lambda unit, at: jnp.sum(jnp.tanh(unit.w.T @ at["q"]) * at["u"]),
    "two dimensions": lambda unit, at: jnp.sum(at["q"].reshape(2, 2).T @ unit.w.T[:2, :2]),
    "three dimensions": lambda unit, at: jnp.sum(jnp.cos(at["q"].reshape(2, 1, 2)) ** 2),
    "(n, 1) with (1, n)": lambda unit, at: jnp.sum(
        jnp.sin(at["q"][:, None] - at["q"][None, :]) ** 2
    ),
    "(n, 1) with (m,)": lambda unit, at: jnp.sum(jnp.tanh(at["q"][:, None] * at["u"] + unit.w)),
    "a batched product": lambda unit, at: jnp.sum(
        jnp.matmul(unit.k.T, jnp.tanh(at["q"].reshape(2, 2)))
    ),
    "a product of run-time matrices": lambda unit, at: jnp.sum(
        jnp.tanh(at["q"].reshape(2, 2) @ jnp.outer(at["q"][:2], at["u"]))
    ),
    "run-time batches": lambda unit, at: jnp.sum(
        jnp.einsum("bi,bi->b", at["q"].reshape(2, 2), jnp.outer(at["u"][:2], at["q"][:2])) ** 2
    ),
    "three run-time factors": lambda unit, at: jnp.einsum(
        "ijk,i,j,k->", unit.k, at["q"][:2], at["q"][2:], at["u"]
    ),
    "an integer index": lambda unit, at: at["q"][2] ** 2 * at["u"][1],
    "strides": lambda unit, at: jnp.sum(at["q"][::-2] * at["q"][::2]),
    "constants on both ends": lambda unit, at: jnp.sum(
        jnp.diff(jnp.concatenate([jnp.array([1.0]), at["q"], jnp.array([-2.0])])) ** 2
    ),
    "parameters on an end": lambda unit, at: jnp.sum(
        jnp.diff(jnp.concatenate([unit.a, at["q"]])) ** 4
    ),
    "pad": lambda unit, at: jnp.sum(jnp.cos(jnp.pad(at["q"], (1, 2), constant_values=0.3))),
    "pad at the edge": lambda unit, at: jnp.sum(jnp.pad(at["q"], 1, mode="wrap") ** 3),
    "diff": lambda unit, at: jnp.sum(jnp.diff(at["q"], n=2) ** 2),
    "cumsum": lambda unit, at: jnp.sum(jnp.cumsum(at["q"].reshape(2, 2), axis=1) ** 2),
    "a constant mask": lambda unit, at: jnp.sum(
        jnp.where(np.arange(M) % 2 == 0, at["q"] ** 2, unit.a * at["q"])
    ),
    "a mask with a parameter": lambda unit, at: jnp.sum(
        jnp.where(np.arange(M) < 2, unit.a, at["q"])
    ),
    "a run-time mask, broadcast": lambda unit, at: jnp.sum(
        jnp.where((at["q"] > 0.1)[:, None], unit.w, at["u"] * unit.s)
    ),
    "masks of masks": lambda unit, at: jnp.sum(
        jnp.where((at["q"] > 0) & np.array([True, False, True, False]), at["q"], 0.1)
    ),
    "masks that were chosen": lambda unit, at: jnp.sum(
        jnp.where(jnp.where(at["q"] > 0, at["u"][0] > 0, at["u"][1] > 0), at["q"] ** 2, 0.3)
    ),
    "counts": lambda unit, at: jnp.sum(at["q"] > 0) * at["u"][0] + jnp.sum(at["q"]),
    "gather": lambda unit, at: jnp.sum(at["q"][np.array([[0, 3], [1, 1]])] ** 2 * unit.s),
    "take": lambda unit, at: jnp.sum(jnp.take(jnp.outer(at["q"], at["u"]), 2, axis=1) ** 2),
    "add at": lambda unit, at: jnp.sum(unit.a.at[np.array([1, 1, 3])].add(at["u"]) * at["q"] ** 2),
    "set at": lambda unit, at: jnp.sum(at["q"].at[1:3].set(at["u"][:2]) ** 2),
    "set to a large parameter": lambda unit, at: jnp.sum(
        (1e9 * unit.a).at[0].add(at["q"][0]) * 1e-9
    ),
    "dynamic slice": lambda unit, at: jnp.sum(jax.lax.dynamic_slice(at["q"], (1,), (2,)) ** 2),
    "split": lambda unit, at: jnp.prod(jnp.stack([1.0]))
    * jnp.dot(*jnp.split(at["q"], 2)),
    "stack": lambda unit, at: jnp.sum(jnp.stack([at["q"], unit.a, 2.0 * at["q"]]) ** 2),
    "tile": lambda unit, at: jnp.sum(jnp.tile(at["q"], 2) * jnp.arange(2.0 * M)),
    "repeat": lambda unit, at: jnp.sum(jnp.repeat(at["u"], 2) ** 2 * jnp.arange(2.0 * H)),
    "an empty vector": lambda unit, at: jnp.sum(jnp.diff(at["q"][:1]) ** 2),
    "vmap": lambda unit, at: jnp.sum(jax.vmap(lambda x: jnp.tanh(x * at["u"]) @ at["u"])(at["q"])),
    "a slope": lambda unit, at: jnp.sum(jax.grad(lambda x: jnp.sum(jnp.sin(x) * unit.a))(at["q"])),
    "a clip by parameters": lambda unit, at: jnp.sum(jnp.clip(at["q"], unit.s - 1.0, None)),
    "clamp": lambda unit, at: jnp.sum(jax.lax.clamp(-0.5, at["q"], 0.5 + unit.a)),
    "clamped numbers": lambda unit, at: jnp.sum(jax.lax.clamp(jnp.zeros(M), 0.2 * jnp.ones(M),
                                                              at["q"])),
    "casts": lambda unit, at: jnp.sum((at["q"] > 0).astype(float) * at["q"].astype(jnp.float64)),
    "zeroth power": lambda unit, at: jnp.sum(at["q"] ** 0 * at["q"] ** 1),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name: str) -> None:
    tree = SHAPES[name]
    assert_same(written(lambda unit, at: tree(unit, at) + jnp.sum(at["q"] ** 2)))


# What is known of a value: recorded while the plan is made, and held against values seen.


def recorded(unit: Written, monkeypatch: pytest.MonkeyPatch) -> tuple[Plan, list[list[Facts]]]:
    """The plan, and the facts of all steps of the potential and the kinetic energy."""
    kept: list[list[Facts]] = []
    original = builder.Builder.input

    def watched(self: builder.Builder, *arguments: Any) -> builder.Run:
        if not self.inputs:
            kept.append(self.facts)
        return original(self, *arguments)

    monkeypatch.setattr(builder.Builder, "input", watched)
    unpruned = lambda b, result: Energy(b.inputs, tuple(b.steps), result)  # noqa: E731
    monkeypatch.setattr("echoloom.frontend.canonical.pruned", unpruned)
    plan = canonicalise(unit, M, H)
    monkeypatch.undo()
    return plan, kept


def values(energy: Energy, coefficients: Any, *inputs: jax.Array) -> list[np.ndarray]:
    found: list[Any] = list(inputs)
    for step in energy.steps:
        w = coefficients[step.coefficient] if step.coefficient else None
        found.append(RULES[step.kind](step, w, [found[a] for a in step.args]))
    return [np.asarray(v) for v in found]


def all_coefficients(plan: Plan, unit: Written, energy: Energy) -> Any:
    kept = plan.fold(unit).coefficients
    assert {s.coefficient for s in energy.steps if s.coefficient} <= set(kept)
    return kept


@SETTINGS
@given(trees)
def test_intervals_hold_every_value(tree: Expression) -> None:
    with pytest.MonkeyPatch.context() as patch:
        unit = written(summed(tree))
        plan, kept = recorded(unit, patch)
    energy = plan.potential
    coefficients = all_coefficients(plan, unit, energy)
    for seed in range(5):
        at = [(1.0 + 3.0 * seed) * points(seed)[n] for n in ("q", "u")]
        for fact, value in zip(kept[0], values(energy, coefficients, *at), strict=True):
            slack = 1e-12 * (1.0 + float(np.abs(value).max()))
            assert fact.lo - slack <= value.min() and value.max() <= fact.hi + slack, fact


@SETTINGS
@given(trees)
def test_parities_are_seen(tree: Expression) -> None:
    """A tree of p plus an even part, without a check that it is even."""

    def kinetic(unit: Any, at: dict[str, jax.Array]) -> jax.Array:
        return jnp.sum(tree(unit, {"q": at["p"], "u": jnp.ones(H)})) + jnp.sum(at["p"] ** 2)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("echoloom.frontend.canonical.check_even", lambda b, result: None)
        unit = written(summed(LEAVES["q"]), kinetic)
        plan, kept = recorded(unit, patch)
    energy, p = plan.kinetic, points(0)["p"]
    coefficients = all_coefficients(plan, unit, energy)
    ahead, back = (values(energy, coefficients, at) for at in (p, -p))
    for fact, x, y in zip(kept[1], ahead, back, strict=True):
        slack = 1e-12 * (1.0 + float(np.abs(x).max()))
        if Parity.EVEN in fact.parity:
            np.testing.assert_allclose(x, y, rtol=1e-12, atol=slack)
        if Parity.ODD in fact.parity:
            np.testing.assert_allclose(x, -y, rtol=1e-12, atol=slack)
        assert "p" in fact.inputs or np.array_equal(x, y)


# One energy, taken apart.


class Whole(Hamiltonian):
    """A sum of terms of p and of terms of q and u, nested and with signs."""

    terms: tuple[int, ...] = eqx.field(static=True)
    a: jax.Array
    w: jax.Array

    def energy(self, q: jax.Array, p: jax.Array, u: jax.Array) -> jax.Array:
        of_p = [
            jnp.sum(self.a * p**2), jnp.sum(jnp.sqrt(1.0 + p**2)), -jnp.sum(jnp.cos(p)),
            jnp.sum(p**4) / 8.0,
        ]  # fmt: skip
        of_q = [q @ (self.w @ u), jnp.sum(jnp.cos(q)), jnp.sum(q**4), jnp.sum(jnp.tanh(q + u[0]))]
        total = jnp.sum(0.5 * self.a * (q**2 + p**2) - 0.1)
        for n in self.terms:
            pair = jnp.stack([of_p[n % 4], of_q[n // 4 % 4]])
            total = 2.0 * total - pair[0] + (pair @ jnp.array([0.5, 1.5]) - of_p[n % 4]) * self.a[0]
        return total


@SETTINGS
@given(st.lists(st.integers(0, 15), max_size=3))
def test_separation_keeps_every_term(terms: list[int]) -> None:
    rng = np.random.default_rng(0)
    unit = Whole(
        tuple(terms), jnp.asarray(rng.uniform(0.3, 1.0, M)), jnp.asarray(rng.normal(size=(M, H)))
    )
    plan = canonicalise(unit, M, H)
    at = points(1)

    def ours(own: Whole, q: jax.Array, p: jax.Array, u: jax.Array) -> jax.Array:
        folded = plan.fold(own)
        return folded.kinetic(p) + folded.potential(q, u)

    def theirs(own: Whole, q: jax.Array, p: jax.Array, u: jax.Array) -> jax.Array:
        return own.energy(q, p, u)

    inputs = (at["q"], at["p"], at["u"])
    found, wanted = (jax.grad(f, (0, 1, 2, 3))(unit, *inputs) for f in (ours, theirs))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_steps_carry_the_place_they_come_from() -> None:
    plan = canonicalise(written(summed(LEAVES["q"])), M, H)
    assert all("test_canonical.py" in step.where for step in plan.potential.steps)
    assert dataclasses.fields(plan)
