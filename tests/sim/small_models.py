"""Small compiled models that the end-to-end tests share."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jax
import numpy as np

import echoloom as el
from echoloom.frontend.models.sizes import Task


def samples(model: el.HSSM, count: int, steps: int, seed: int = 0) -> np.ndarray:
    """Random sequences [count, steps, inputs] of unit deviation."""
    return np.random.default_rng(seed).normal(size=(count, steps, model.inputs))


def target_of(model: el.HSSM, steps: int, seed: int = 0) -> Any:
    """A label, or regression targets, for one sequence."""
    random = np.random.default_rng(seed)
    if model.task == "classification":
        return int(random.integers(model.outputs))
    return random.uniform(-0.9, 0.9, (steps // model.output_step, model.outputs))


@lru_cache(maxsize=4)
def tiny(task: Task = "classification") -> tuple[el.CompiledProgram, np.ndarray]:
    """Two blocks of two complex oscillators on two lanes, and three sequences of six steps."""
    step = 1 if task == "classification" else 2
    model = el.HSSM(3, 2, 4, 2, 2, complex=True, task=task, output_step=step, key=jax.random.key(0))
    x = samples(model, 3, 6)
    return el.compile(model, x, lanes=2, drains=1), x
