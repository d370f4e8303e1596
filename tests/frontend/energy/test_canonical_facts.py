"""What is known of canonical values holds, and an energy that is taken apart keeps its terms."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from written_energies import (
    LEAVES,
    SETTINGS,
    Expression,
    H,
    M,
    Written,
    points,
    summed,
    trees,
    written,
)  # fmt: skip

from echoloom.frontend.energy.canonical import builder, canonicalise
from echoloom.frontend.energy.canonical.facts import Facts
from echoloom.frontend.energy.canonical.plan import STEP_VALUES, Energy, Plan
from echoloom.frontend.energy.hamiltonian import Hamiltonian
from echoloom.ir.parity import Parity

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
    monkeypatch.setattr("echoloom.frontend.energy.canonical.pruned", unpruned)
    plan = canonicalise(unit, M, H)
    monkeypatch.undo()
    return plan, kept


def values(energy: Energy, coefficients: Any, *inputs: jax.Array) -> list[np.ndarray]:
    found: list[Any] = list(inputs)
    for step in energy.steps:
        w = coefficients[step.coefficient] if step.coefficient else None
        found.append(STEP_VALUES[step.kind](step, w, [found[a] for a in step.args]))
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
        patch.setattr("echoloom.frontend.energy.canonical.check_even", lambda b, result: None)
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
            total += of_q[n % 4] - of_p[n // 4 % 4]
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
    plan = canonicalise(written(lambda unit, at: jnp.sum(unit.a * at["q"] ** 2)), M, H)
    assert all("test_canonical_facts.py:" in step.where for step in plan.potential.steps)
