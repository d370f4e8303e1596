"""The rules of updates as hand-made programs, on the RTL and its golden twin, with random waits."""

from __future__ import annotations

import numpy as np
import pytest
from engine_bench import Pass, check, image_of, numbers, small
from learning_images import LANDED, NOISE, READY, scaled_rule, sign_rule

from echoloom.hdl.golden import GoldenEngine
from echoloom.ir.contract import Destination, DrainEntry, Image, MacEntry, Register, Space
from echoloom.ir.engine_passes import EnginePass
from echoloom.ir.sections import Section

ROWS = 3
AT = {Register.WEIGHT_ROW: 4, Register.GRADIENT_ROW: 7}


def sums(lanes: int, limit: int, seed: int) -> tuple[tuple[Space, int, int, int], ...]:
    """What the host writes into gradient memory, as an echo would leave it."""
    words = numbers((lanes, ROWS), limit, seed)
    return tuple(
        (Space.GRADIENT, lane, 7 + row, int(words[lane, row]))
        for lane in range(lanes)
        for row in range(ROWS)
    )


def moved(image: Image, weight: list[list[int]]) -> bool:
    """Whether an update has moved words, and only those of its rows."""
    before = np.array(GoldenEngine(image).weight)
    changed = set(np.any(before != np.array(weight), axis=0).nonzero()[0].tolist())
    return bool(changed) and changed <= set(range(4, 4 + ROWS))


@pytest.mark.parametrize(
    ("lanes", "drains", "seed"), [(1, 1, None), (1, 1, 1), (3, 2, 1), (4, 4, None)]
)
def test_signs(lanes: int, drains: int, seed: int | None) -> None:
    image = sign_rule(lanes, drains, step=70_000)
    update = [
        Pass(((),) * ROWS, EnginePass.UPDATE, AT, sums(lanes, 2, number)) for number in range(2)
    ]
    found = check(image, update, seed=seed)
    assert moved(image, found[-1].weight)


@pytest.mark.parametrize(("lanes", "drains", "seed"), [(1, 1, None), (3, 1, 1)])
def test_scaled(lanes: int, drains: int, seed: int | None) -> None:
    image = scaled_rule(lanes, drains, step=-30_000)
    noise = tuple((Space.VECTOR, lane, NOISE, 12_345 * lane) for lane in range(lanes))
    passes = []
    for number, limit in enumerate((1 << 44, 1 << 20)):
        passes += [
            Pass(((),) * ROWS, EnginePass.SCAN, AT, (*noise, *sums(lanes, limit, number))),
            Pass(((),) * ROWS, EnginePass.UPDATE, AT),
        ]
    found = check(image, passes, seed=seed)
    assert [one.peak > 0 for one in found] == [True, True, False, False]
    assert moved(image, found[-1].weight)


def test_an_update_of_no_rows_changes_nothing() -> None:
    image = sign_rule(2, 1, step=1)
    found = check(image, [Pass((), EnginePass.UPDATE, AT, sums(2, 2, 0))])
    assert found[0].cycles == 0
    assert found[0].weight == GoldenEngine(image).weight


def test_a_weight_is_there_for_elements_from_the_latency_of_all_results_on() -> None:
    """Weight 3 becomes 5 * 7; it is multiplied by 7 a cycle too early, and in time."""
    after = READY + LANDED
    macs = [
        MacEntry(0),
        MacEntry(after - 1, slot=1, w_base=3),
        MacEntry(after, slot=2, w_base=3),
    ]
    chunks = [
        DrainEntry(READY, 0, 1, 3, to_weight=True),
        DrainEntry(after + READY, 1, 1, 1),
        DrainEntry(after + READY + 1, 2, 1, 2),
    ]
    image = image_of(
        small(1, 1, weight_depth=16, learns=True),
        {Section.FORWARD_PROLOGUE: (macs, chunks, after + READY + 2 + LANDED)},
        weight=[[5, 0, 0, 1]], vector=[[7]],
    )  # fmt: skip
    (found,) = check(image, [Pass()])
    assert found.vector[0][1:3] == [7, 7 * 35]
    assert found.weight[0][3] == 35


def test_sums_go_on_in_all_sections_of_an_echo_that_adds_and_in_updates() -> None:
    add = [MacEntry(0, destination=Destination.GRADIENT)]
    sections = (Section.ECHO_PROLOGUE, Section.ECHO_STEP, Section.ECHO_EPILOGUE, Section.UPDATE)
    image = image_of(
        small(1, 1, weight_depth=16, learns=True), dict.fromkeys(sections, (add, (), 20)),
        weight=[[2]], vector=[[5]], frame=0,
    )  # fmt: skip
    kinds = (EnginePass.ECHO, EnginePass.ADD, EnginePass.UPDATE, EnginePass.ADD)
    found = check(image, [Pass(((),), kind) for kind in kinds])
    # Every section of the first pass begins anew.
    assert found[-1].gradient[0][0] == 10 + 30 + 10 + 30
