"""Units with terms of very different size: they compile at any step, and learn."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hamiltonians import GALLERY

import echoloom as el
from echoloom.backends.compile.lost import Unresolved
from echoloom.backends.compile.refusals import Unfit
from echoloom.ir.widths import Widths

HIDDEN = 4
X = np.random.default_rng(0).normal(size=(2, 8, 3))
QUICK = {
    ("duffing", 0.01), ("landau", 1e-3), ("backlash", 1e-4), ("relativistic", 1e-4), ("gated", 1e-3)
}  # fmt: skip


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Unresolved)
        yield
    jax.config.update("jax_disable_most_optimizations", before)


class Quartic(el.Hamiltonian):
    """V = 1/2 q^2 + 0.05 q^4 + coupling - q . (W u)."""

    K: jax.Array
    W: jax.Array

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        well = jnp.sum(0.5 * q**2 + 0.05 * q**4)
        return well + 0.5 * q @ self.K @ q - q @ (self.W @ u)


def quartic(step: float, **arguments: Any) -> el.HSSM:
    unit = Quartic(0.1 * jnp.ones((3, 3)), 0.5 * jnp.ones((3, HIDDEN)))
    return el.HSSM(
        3, 2, HIDDEN, 3, 1, unit=unit, step=step, key=jax.random.key(0), **arguments
    )  # fmt: skip


def returns(program: el.CompiledProgram) -> None:
    result = program.run(X[0], 0)
    free = [words for name, words in result.echo_states.items() if ".free." in name]
    assert len(free) == 2 and not any(np.any(words) for words in free)
    assert not result.overflow


def worst(program: el.CompiledProgram) -> float:
    """The largest relative error of any tensor against float64 BPTT."""
    exact = jax.tree.leaves(el.bptt_gradient(program.model, jnp.asarray(X[0]), 0))
    found = jax.tree.leaves(program.gradient(X[0], 0))
    return max(
        float(np.linalg.norm(np.subtract(a, b)) / np.linalg.norm(a))
        for a, b in zip(exact, found, strict=True)
        if np.any(a)
    )


@pytest.mark.parametrize(
    ("name", "step"),
    [
        pytest.param(n, s, marks=() if (n, s) in QUICK else pytest.mark.long)
        for n in GALLERY
        for s in (0.1, 0.01, 1e-3, 1e-4)
    ],
)
def test_the_gallery_compiles_at_any_step(name: str, step: float) -> None:
    exhibit = GALLERY[name]
    unit = exhibit(HIDDEN, jax.random.key(1))
    model = el.HSSM(
        3, 2, HIDDEN, exhibit.positions, 1, unit=unit, step=step, key=jax.random.key(0)
    )  # fmt: skip
    returns(el.compile(model, X, [0, 1], lanes=4))


@pytest.mark.parametrize("step", [0.01, 1e-4])
def test_gradients_of_a_quartic_well(step: float) -> None:
    program = el.compile(quartic(step), X, [0, 1], lanes=2)
    returns(program)
    assert worst(program) < 0.01


def test_substeps_cut_the_same_operand_both_ways() -> None:
    program = el.compile(quartic(0.1, substeps=2), X, [0, 1], lanes=2)
    returns(program)
    assert worst(program) < 0.01


def test_rtl_gives_the_same_integers() -> None:
    program = el.compile(quartic(0.01), X, [0, 1], lanes=2)
    report = el.verify(program, X[:1, :1], [1], simulator="amaranth")
    assert report.lsb_off == 0
    assert all(level.mismatches == 0 < level.compared for level in report.levels.values())


def test_what_does_not_fit_is_said_of_the_users_unit() -> None:
    with pytest.raises(Unfit) as caught:
        el.compile(quartic(0.1), X, [0, 1], lanes=2, widths=Widths(accumulator=47))
    said = str(caught.value)
    assert "b0." not in said and ".t" not in said and "forward_step" not in said
    assert said.endswith("use a larger step, signals of a larger scale, or wider words")
