"""Random programs of engines that learn, against the golden twin: in sweeps and over rows."""

from __future__ import annotations

import random

import pytest
from engine_bench import check
from test_engine_random import random_image, random_pass

from echoloom.ir.engine_passes import EnginePass

KINDS = [
    EnginePass.ECHO, EnginePass.SCAN, EnginePass.UPDATE, EnginePass.ADD, EnginePass.UPDATE,
    EnginePass.FORWARD, EnginePass.RESUME,
]  # fmt: skip


@pytest.mark.parametrize(("seed", "stalls"), [(0, False), (1, False), (2, True)])
@pytest.mark.parametrize(("lanes", "drains"), [(1, 1), (3, 2), (4, 4)])
def test_random_program(lanes: int, drains: int, seed: int, stalls: bool) -> None:
    rng = random.Random(f"{lanes} {drains} {seed}")
    image = random_image(rng, lanes, drains, waits=stalls, learns=True)
    passes = [random_pass(rng, image, kind) for kind in KINDS]
    check(image, passes, seed=seed if stalls else None)
