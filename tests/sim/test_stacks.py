"""Stacks of the paper's units, and of different units, at every level."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jax
import numpy as np
import pytest
from hamiltonians import GALLERY

import echoloom as el
from echoloom.backends.compile.figures import worst_of
from echoloom.backends.gradients.quality import gradient_quality

HIDDEN, STEPS = 5, 20

STACKS: dict[str, dict[str, Any]] = {
    "complex linear": {"blocks": 2, "unit": "linear", "complex": True, "state": 3},
    "nonlinear": {"blocks": 2, "unit": "nonlinear", "state": 5, "step": 0.2},
    "mixed": {
        "blocks": 3,
        "unit": ["linear", "nonlinear", GALLERY["pendulums"](HIDDEN, jax.random.key(1))],
        "state": [4, 6, GALLERY["pendulums"].positions],
        "step": [None, 0.3, 0.2],
    },
    "substeps and IMEX": {
        "blocks": 2,
        "unit": ["linear", "nonlinear"],
        "state": [4, 5],
        "integrator": ["imex", "leapfrog"],
        "substeps": [2, 3],
        "step": [0.4, 0.2],
    },
    "nonlinear IMEX regression": {
        "blocks": 1,
        "unit": "nonlinear",
        "state": 5,
        "step": 0.2,
        "integrator": "imex",
        "task": "regression",
        "output_step": 2,
    },
}


@lru_cache(maxsize=len(STACKS))
def compiled(name: str) -> tuple[el.CompiledProgram, np.ndarray, list[Any]]:
    """The stack on four lanes, the sequences that it is calibrated on, and labels or targets."""
    options = {"task": "classification", **STACKS[name]}
    model = el.HSSM(3, 3, HIDDEN, key=jax.random.key(0), **options)
    random = np.random.default_rng(0)
    x = np.cumsum(random.normal(size=(6, STEPS, 3)), axis=1)
    x /= x.std()
    labels: list[Any] = [index % 3 for index in range(len(x))]
    if options["task"] == "regression":
        labels = list(random.uniform(-0.9, 0.9, (len(x), STEPS // options["output_step"], 3)))
    return el.compile(model, x, labels, lanes=4), x, labels


@pytest.mark.parametrize("name", STACKS)
def test_gradients_of_every_tensor(name: str) -> None:
    program, x, labels = compiled(name)
    quality = gradient_quality(program, list(x[:3]), labels[1:3] + labels[:1])
    assert len(quality) == sum(jax.tree.leaves(el.trainable(program.model)))
    worst = worst_of(quality)
    assert worst.cosine > 0.9999
    assert abs(worst.norm_ratio - 1.0) < 0.02


@pytest.mark.parametrize("name", STACKS)
def test_the_free_copy_returns_after_2000_steps(name: str) -> None:
    program, x, _ = compiled(name)
    there_and_back = np.concatenate([x[0], x[0, ::-1]])
    long = np.tile(there_and_back, (2000 // len(there_and_back) + 1, 1))[:2000]
    steps = 2000 // program.model.output_step
    label = 1 if program.model.task == "classification" else np.zeros((steps, 3))
    result = program.run(long, label)
    for state, value in result.echo_states.items():
        if ".free." in state:
            assert not value.any(), state
    moved = max(int(np.abs(v).max()) for n, v in result.echo_states.items() if ".plus." in n)
    assert moved > 0


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in ("mixed", "substeps and IMEX") else pytest.mark.long)
        for name in STACKS
    ],
)
def test_all_levels_give_the_same_integers(name: str) -> None:
    program, x, labels = compiled(name)
    report = el.verify(program, x[:2], [labels[1], None], levels=("jax", "rtl"))
    assert all(level.mismatches == 0 for level in report.levels.values())
    assert {"jax", "rtl"} <= set(report.levels)
    assert report.lsb_off == 0
    assert all(cycles.rtl == cycles.predicted for cycles in report.cycles.values())
