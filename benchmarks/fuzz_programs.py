"""The small models and programs that good files and dialogues are made of."""

from __future__ import annotations

from functools import cache

import jax
import numpy as np

import echoloom as el

# Numbers on a line that somebody may not have thought of.
EDGES = (0, 1, -1, 63, 64, 255, 256, 65_535, 65_536, 2**31, -(2**31), 2**63 - 1, -(2**63))


@cache
def model(unit: str = "linear") -> el.HSSM:
    return el.HSSM(
        inputs=2, outputs=2, hidden=3, state=2, blocks=1, complex=False, unit=unit,
        key=jax.random.key(0),
    )  # fmt: skip


@cache
def program(unit: str = "linear") -> el.CompiledProgram:
    x = np.random.default_rng(0).normal(size=(2, 6, 2))
    return el.compile(model(unit), x, [0, 1], lanes=2)
