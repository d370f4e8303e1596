"""What a recorder makes of rows that are several sets of the same samples, and of whole chunks."""

from __future__ import annotations

import numpy as np
from ir_models import Sizes, build

from echoloom.ir.passes.recorder import LIMIT, Chunk, Recorder
from echoloom.ir.sections import Section

STEPS, COUNT = 4, 2


def recorder(told: list[int]) -> Recorder:
    return Recorder(build(Sizes()).held, STEPS, COUNT, told.append)


def test_a_row_is_a_sample_of_its_set() -> None:
    """Row 3 of two sets of two samples is sample 1."""
    watching = recorder([])
    for key, at in watching.states.items():
        sizes = np.zeros((2 * COUNT, 2))
        sizes[3, 1] = np.inf
        said = str(watching.runaway(key, 0, sizes))
        step = STEPS if key[0] is Section.ECHO_STEP else 1
        assert f"at step {step} of {STEPS} of samples[1] {at.letter.value}[1] reaches inf" in said


def chunk(size: float, reached: list[float]) -> Chunk:
    section = Section.ECHO_STEP
    return Chunk(section, 2, 2, {"v": size}, {"v": (size**2, 4)}, {"q": reached}, {0: size})


def test_chunks_are_joined_and_one_that_leaves_counts_for_nothing() -> None:
    told: list[int] = []
    watching, key = recorder(told), (Section.ECHO_STEP, "v")
    assert watching.chunk(chunk(3.0, [1.0, 2.0])) and watching.chunk(chunk(2.0, [2.0, 1.5]))
    for leaving in (LIMIT, np.inf, np.nan):
        assert not watching.chunk(chunk(9.0, [1.0, leaving]))
    assert watching.values[key] == 3.0 and watching.squares[key] == (13.0, 8)
    assert watching.before[Section.ECHO_STEP, "q"] == 1.5 and watching.differences[0] == 3.0
    assert told == [4, 4]
