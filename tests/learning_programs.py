"""Small programs that learn, shared by the tests of trainings."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import echoloom as el
from echoloom.ir.learning import Rule

COUNT, STEPS, BATCH = 5, 6, 3
RULES: Mapping[str, Rule] = {
    "sign": el.SignUpdate(step=2.0**-6, updates=4, batch=BATCH, halve_at=(2,)),
    "momentum": el.SignUpdate(step=2.0**-6, momentum=True, updates=4, batch=BATCH),
    "scaled": el.ScaledUpdate(step=2.0**-4, updates=4, batch=BATCH, seed=3),
}


class Well(el.Hamiltonian):
    """A user's own unit: oscillators in wells of the fourth power."""

    stiffness: jax.Array
    steepness: jax.Array
    drive: jax.Array

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        wall = 0.5 * jnp.sum(self.stiffness * q**2) + jnp.sum(self.steepness * q**4)
        return wall - q @ (self.drive @ u)


def well() -> Well:
    drive = np.random.default_rng(1).normal(size=(2, 3))
    return Well(jnp.full(2, 0.3), jnp.full(2, 0.02), jnp.asarray(0.5 * drive))


# By what they are: the model's arguments, the engine's lanes, the rule.
CASES: Mapping[str, tuple[dict[str, Any], int, str]] = {
    "linear": ({}, 1, "sign"),
    "complex": ({"complex": True, "blocks": 2}, 4, "scaled"),
    "nonlinear": ({"unit": "nonlinear"}, 3, "momentum"),
    "user": ({"unit": well}, 4, "sign"),
    "regression": ({"task": "regression", "output_step": 2}, 3, "scaled"),
}


@lru_cache
def made(case: str) -> tuple[el.CompiledProgram, np.ndarray, np.ndarray]:
    """A program, sequences [COUNT, STEPS, 2], and labels or targets."""
    arguments, lanes, rule = CASES[case]
    arguments = {"state": 2, "blocks": 1, **arguments}
    if callable(arguments.get("unit")):
        arguments["unit"] = arguments["unit"]()
    model = el.HSSM(2, 3, 3, **arguments, key=jax.random.key(1))
    random = np.random.default_rng(0)
    x = random.uniform(-1.5, 1.5, (COUNT, STEPS, 2))
    y = random.integers(0, 3, COUNT)
    if model.task == "regression":
        y = random.uniform(-0.9, 0.9, (COUNT, STEPS // 2, 3))
    return el.compile(model, x, y, lanes=lanes, learning=RULES[rule]), x, y
