"""The rules of updates as hand-made programs, on the RTL and its golden twin, with random waits."""

from __future__ import annotations

import numpy as np
import pytest
from engine_bench import Pass, check, numbers
from learning_images import NOISE, scaled_rule, sign_rule

from echoloom.hdl.golden import GoldenEngine
from echoloom.ir.contract import Image, Register, Space
from echoloom.ir.engine_passes import EnginePass

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
