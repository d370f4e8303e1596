"""A hundred thousand samples in chunks of random sizes: one run, NumPy, JAX and RTL."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import echoloom as el
from echoloom.frontend.models.sizes import Task

STEPS = 100_000


@pytest.mark.long
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_hundred_thousand_samples(task: Task) -> None:
    every = 3 if task == "regression" else 1
    model = el.HSSM(1, 2, 2, 2, 1, task=task, output_step=every, key=jax.random.key(0))
    k = np.arange(STEPS)
    x = (np.sin(0.7 * k) * np.cos(0.011 * k))[:, None]
    program = el.compile(model, x[None, :2000], lanes=2)
    random, sizes = np.random.default_rng(1), list[int]()
    while (left := STEPS - sum(sizes)) > 0:
        sizes.append(min(left, int(2.0 ** random.uniform(-1, 11))))
    assert {0, 1} <= set(sizes) and len(sizes) > 200
    report = el.verify_stream(program, x, sizes, simulator="verilator-cpp")
    assert (report.steps, report.pushes) == (STEPS, len(sizes))
    assert report.cycles == report.predicted
    assert report.compared["rtl"] == report.compared["jax"] > 4000
