"""Targets become words from float64, whatever JAX's default float type is."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from tiny_programs import samples, small_model

import echoloom as el
from echoloom.backends.compile import program as compiled_program


def test_targets_are_not_rounded_to_float32_first(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model(task="regression")
    x = samples()
    program = el.compile(model, x, lanes=2)
    targets = np.random.default_rng(1).uniform(-0.9, 0.9, (len(x[0]), model.outputs))
    seen: list[Any] = []
    run = compiled_program.numpy_run

    def spied(artifact: Any, x: Any, y: Any, **more: Any) -> Any:
        seen.append(y)
        return run(artifact, x, y, **more)

    monkeypatch.setattr(compiled_program, "numpy_run", spied)
    with jax.enable_x64(False):
        program.run(x[0], targets)
    np.testing.assert_array_equal(seen[0], targets)
