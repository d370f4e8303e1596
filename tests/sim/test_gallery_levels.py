"""The gallery of user-written Hamiltonians, compiled: integers, reversal, gradients."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hamiltonians import GALLERY

import echoloom as el
from echoloom.frontend.models.hssm import with_statistics
from echoloom.frontend.models.sizes import Task
from echoloom.frontend.models.stack import float64
from echoloom.sim.run_rtl import Simulator

SEQUENCES, STEPS, INPUTS, OUTPUTS, HIDDEN, LANES = 6, 30, 3, 3, 5, 4
REGRESSION = ("bilinear", "duffing", "walls")
# Every run takes four through all levels (tables, pieces, all kinds of coupling, both energies),
# two over 2,000 steps, and measures the gradients of ten; the rest is marked slow.
IN_RTL = ("henon_heiles", "huber", "relativistic", "rotors")
FAR_OUT = ("huber", "rotors")
LEARNING = (*IN_RTL, "bilinear", "clipped", "dense_mass", "gated", "mean_field", "plummer", "toda")
Figures = tuple[float, float]
WORST: Figures = (0.9995, 0.01)  # of all tensors: the cosine, and the error of the norm


pytestmark = pytest.mark.usefixtures("compile_in_haste")


def smooth(count: int, steps: int, seed: int) -> np.ndarray:
    """Noise [count, steps, INPUTS] of unit deviation without its fast parts."""
    window = np.hanning(33) / np.linalg.norm(np.hanning(33))
    noise = np.random.default_rng(seed).normal(size=(count, INPUTS, steps + 32))
    rows = [np.convolve(row, window, "valid") for row in noise.reshape(-1, steps + 32)]
    return np.asarray(rows).reshape(count, INPUTS, steps).swapaxes(1, 2)


@lru_cache(maxsize=len(GALLERY))
def compiled(name: str) -> tuple[el.CompiledProgram, np.ndarray, list[Any]]:
    """One block of the unit on four lanes; the sequences that it is calibrated on; labels."""
    exhibit = GALLERY[name]
    task: Task = "regression" if name in REGRESSION else "classification"
    x = smooth(SEQUENCES, STEPS, 0)
    model = el.HSSM(
        INPUTS, OUTPUTS, HIDDEN, exhibit.positions, 1, unit=exhibit(HIDDEN, jax.random.key(1)),
        task=task, step=0.2, key=jax.random.key(0),
    )  # fmt: skip
    model = with_statistics(model, jnp.asarray(x))
    labels: list[Any] = [index % OUTPUTS for index in range(SEQUENCES)]
    if task == "regression":
        labels = list(np.tanh(smooth(SEQUENCES, STEPS, 1)))
    return el.compile(model, x, labels, target="ecp5-85k", lanes=LANES), x, labels


def labelled(label: Any, steps: int) -> Any:
    """The label, or targets repeated to fill `steps`."""
    return label if np.ndim(label) == 0 else np.resize(label, (steps, OUTPUTS))


def units(*often: str) -> pytest.MarkDecorator:
    """Every unit of the gallery; those that are not named here only in slow runs."""
    names = [pytest.param(n, marks=() if n in often else pytest.mark.long) for n in GALLERY]
    return pytest.mark.parametrize("name", names)


def quality(program: el.CompiledProgram, x: np.ndarray, labels: list[Any]) -> dict[str, Figures]:
    """Every tensor's cosine and norm ratio against float64, all sequences' gradients end to end.

    Not the worst sequence's: the gradient of one scalar may cancel to nothing over a sequence, and
    its relative error there says nothing.
    """
    found: dict[str, list[np.ndarray]] = {}
    wanted: dict[str, list[np.ndarray]] = {}
    exact_model = float64(program.model)
    for own, label in zip(x, labels, strict=True):
        exact = el.bptt_gradient(exact_model, jnp.asarray(own), label)
        for gradient, into in ((program.gradient(own, label), found), (exact, wanted)):
            learned = eqx.filter(gradient, el.trainable(gradient))
            for path, leaf in jax.tree_util.tree_leaves_with_path(learned):
                into.setdefault(jax.tree_util.keystr(path), []).append(np.ravel(leaf))
    figures: dict[str, Figures] = {}
    for name in wanted:
        ours, exact = np.concatenate(found[name]), np.concatenate(wanted[name])
        norms = float(np.linalg.norm(ours)), float(np.linalg.norm(exact))
        figures[name] = float(ours @ exact) / (norms[0] * norms[1]), norms[0] / norms[1]
    return figures


@units(*LEARNING)
def test_gradients_are_those_of_backpropagation(name: str) -> None:
    """Of every tensor, against float64. `gradient` raises if anything overflows."""
    worst_cosine, worst_norm = WORST
    figures = quality(*compiled(name))
    poor = {
        tensor: (cosine, ratio)
        for tensor, (cosine, ratio) in figures.items()
        if not (cosine >= worst_cosine and abs(ratio - 1.0) <= worst_norm)
    }
    assert poor == {}


@units(*IN_RTL)
def test_every_level_gives_the_same_integers(name: str) -> None:
    """NumPy, JAX and the engine's Verilog agree on every integer; cycles are those predicted."""
    program, x, labels = compiled(name)
    simulator: Simulator = "verilator-cpp"
    report = el.verify(program, x[:2], [labels[0], None], simulator, levels=("jax", "rtl"))
    assert report.lsb_off == 0 == report.overflowed
    for level in report.levels.values():
        assert level.mismatches == 0 < level.compared
    for cycles in report.cycles.values():
        assert cycles.predicted == cycles.rtl


@units(*FAR_OUT)
def test_the_free_copy_returns_after_2000_steps(name: str) -> None:
    """Exactly, and far beyond the range of its formats too, where words wrap and tables end."""
    program, x, labels = compiled(name)
    long = np.clip(smooth(1, 2000, 2)[0], x.min(), x.max())
    result = program.run(long, labelled(labels[0], 2000))
    free = [words for key, words in result.echo_states.items() if ".free." in key]
    assert len(free) == 2
    assert all(np.any(words) for words in result.states.values())
    assert not any(np.any(words) for words in free)
