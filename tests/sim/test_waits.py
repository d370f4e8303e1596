"""Waits change no integer: programs of overlapping steps on the golden engine."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from typing import Any

import pytest
from small_models import tiny

from echoloom.hdl.golden import GoldenEngine
from echoloom.ir.contract import Image
from echoloom.ir.engine_passes import EnginePass
from echoloom.ir.sections import Section


def played(image: Image, steps: int, waits: Mapping[Section, Collection[int]]) -> tuple[Any, ...]:
    """A forward pass and an echo: everything that a host sees but for the order of writes."""
    rng = random.Random(steps)
    frames = [[rng.randrange(-500, 500) for _ in range(image.frame)] for _ in range(steps)]
    engine = GoldenEngine(image)
    kinds = EnginePass.FORWARD, EnginePass.ECHO
    passes = [engine.run(kind, frames=frames, waits=waits) for kind in kinds]
    seen = [(one.outputs, one.flags, one.cycles, one.busy) for one in passes]
    return *seen, engine.vector, engine.gradient


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_results_do_not_depend_on_waits(task: Any) -> None:
    program, _ = tiny(task)
    image = program.image
    assert max(section.overlap for section in image.sections) > 0
    for steps in (1, 2, 5):
        expected = played(image, steps, {})
        for seed in range(4):
            rng = random.Random(seed)
            waits = {s: {i for i in range(9) if rng.random() < (seed + 1) / 4} for s in Section}
            assert played(image, steps, waits) == expected
