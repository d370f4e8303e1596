"""Gradients of blocks that rest, or all but rest, while a program is calibrated."""

from __future__ import annotations

import warnings
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hamiltonians import GALLERY

import echoloom as el
from echoloom.backends.compile.lost import Unresolved
from echoloom.frontend.models.hssm import with_statistics

HIDDEN, LABELS = 4, [0, 1, 1]
UNITS = ("linear", "nonlinear", "duffing")
NOISE = 1e-7  # a tensor this much smaller than the largest of its model may be rounding


@pytest.fixture(autouse=True)
def quiet() -> Any:
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Unresolved)
        yield
    jax.config.update("jax_disable_most_optimizations", before)


def stack(unit: str, **arguments: Any) -> el.HSSM:
    exhibit = GALLERY.get(unit)
    return el.HSSM(
        3, 2, HIDDEN, exhibit.positions if exhibit else 2, arguments.pop("blocks", 1), step=0.2,
        unit=exhibit(HIDDEN, jax.random.key(1)) if exhibit else unit, key=jax.random.key(0),
        **arguments,
    )  # fmt: skip


def drive(block: int) -> Any:
    def of(model: el.HSSM) -> jax.Array:
        unit: Any = model.blocks[block].unit
        return getattr(unit, "hamiltonian", unit).drive

    return of


def noise(steps: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, steps, 3))


def errors(model: el.HSSM, samples: np.ndarray) -> dict[str, float]:
    """Every tensor's relative error against float64 BPTT where it is not zero, and not too small
    beside the others; the echo returns."""
    program = el.compile(model, samples, LABELS, lanes=2)
    result = program.run(samples[0], 0)
    free = [words for name, words in result.echo_states.items() if ".free." in name]
    assert free and not any(np.any(words) for words in free) and not result.overflow
    exact = el.bptt_gradient(model, jnp.asarray(samples[0]), 0)
    found = program.gradient(samples[0], 0)
    sizes = {
        jax.tree_util.keystr(path): (np.linalg.norm(a), np.linalg.norm(np.subtract(a, b)))
        for (path, a), b in zip(
            jax.tree_util.tree_leaves_with_path(exact), jax.tree.leaves(found), strict=True
        )
    }
    largest = max(size for size, _ in sizes.values())
    assert all(error < largest * 0.02 for _, error in sizes.values())
    return {
        name: float(error / size) for name, (size, error) in sizes.items() if size > largest * NOISE
    }


def often(*quick: tuple[Any, ...]) -> list[Any]:
    """All combinations of a unit with something; those that are not quick are marked slow."""
    every = [(unit, *rest) for unit in UNITS for rest in {q[1:] for q in quick}]
    return [pytest.param(*e, marks=() if e in quick else pytest.mark.long) for e in sorted(every)]


@pytest.mark.parametrize(
    ("unit", "integrator", "substeps"),
    often(
        ("linear", "leapfrog", 1), ("duffing", "imex", 1), ("nonlinear", "leapfrog", 1),
        ("duffing", "leapfrog", 2), ("linear", "imex", 2),
    ),
)  # fmt: skip
def test_one_step(unit: str, integrator: str, substeps: int) -> None:
    """The position that the echoes compare is 0 in the first step, and so is its range."""
    found = errors(stack(unit, integrator=integrator, substeps=substeps), noise(1))
    assert {n for n in found if n.endswith((".drive", ".step"))} >= {".blocks[0].unit.step"}
    # What the log cosh of a hardly moving unit says of w is below its table's accuracy.
    poor = {n: e for n, e in found.items() if e > 0.03 and not n.endswith("unit.weight")}
    assert poor == {}


@pytest.mark.parametrize(("unit", "steps"), often(("linear", 2), ("duffing", 3)))
def test_a_few_steps(unit: str, steps: int) -> None:
    found = errors(stack(unit), noise(steps))
    assert {n: e for n, e in found.items() if e > 0.04 and not n.endswith("unit.weight")} == {}


@pytest.mark.parametrize("unit", ["linear", "duffing"])
def test_silent_until_the_last_step(unit: str) -> None:
    samples = noise(6)
    samples[:, :-1] = 0.0
    own = eqx.tree_at(lambda m: m.encoder.bias, stack(unit), jnp.zeros(HIDDEN))
    found = errors(own, samples)
    assert {n: e for n, e in found.items() if e > 0.02 and not n.endswith("unit.weight")} == {}


@pytest.mark.parametrize(
    ("unit", "scale"),
    often(("linear", 0.0), ("nonlinear", 1e-8), ("duffing", 1e-8), ("duffing", 1e-20)),
)
def test_a_drive_of_next_to_nothing(unit: str, scale: float) -> None:
    own = eqx.tree_at(drive(0), stack(unit), drive(0)(stack(unit)) * scale)
    found = errors(own, noise(8))
    assert ".blocks[0].unit.hamiltonian.drive" in found or ".blocks[0].unit.drive" in found
    assert {n: e for n, e in found.items() if e > 0.03} == {}


@pytest.mark.parametrize(
    ("unit", "scale", "block"),
    often(("linear", 1e-8, 0), ("duffing", 0.0, 1), ("linear", 0.0, 1), ("duffing", 1e-8, 0)),
)
def test_one_block_of_a_stack_rests(unit: str, scale: float, block: int) -> None:
    """It has a format of its own beside those that move."""
    own = stack(unit, blocks=2)
    own = eqx.tree_at(drive(block), own, drive(block)(own) * scale)
    found = errors(own, noise(8))
    assert {n: e for n, e in found.items() if e > 0.03 and not n.endswith("unit.weight")} == {}


@pytest.mark.parametrize("unit", ["linear", "duffing"])
def test_a_channel_that_is_constant(unit: str) -> None:
    """In real numbers u is nothing; in integers it is rounding, which the state has to hold."""
    samples = np.zeros((3, 6, 3))
    own = with_statistics(stack(unit), jnp.asarray(samples))
    assert not el.compile(own, samples, LABELS, lanes=2).run(samples[0], 0).overflow


def test_what_no_word_resolves_is_said() -> None:
    own = eqx.tree_at(drive(0), stack("nonlinear"), drive(0)(stack("nonlinear")) * 1e-8)
    with pytest.warns(Unresolved, match=r"^the gradient of blocks\[0\]\.unit\.weight.* is lost"):
        el.compile(own, noise(8), LABELS, lanes=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Unresolved)
        el.compile(stack("duffing"), noise(8), LABELS, lanes=2)
