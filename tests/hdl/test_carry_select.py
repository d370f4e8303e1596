"""Carry-select sums against plain addition: all pairs of small widths, corners of large ones."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import pytest
from amaranth.sim import Simulator

from echoloom.hdl.carry_select import CarrySelectSum


def sums(width: int, terms: Sequence[tuple[int, int, int]], split: int = 2) -> list[int]:
    component, found = CarrySelectSum(width, split), []

    async def bench(context):
        for a, b, carry in terms:
            context.set(component.a, a)
            context.set(component.b, b)
            context.set(component.carry, carry)
            await context.delay(1e-9)
            found.append(context.get(component.total))

    simulator = Simulator(component)
    simulator.add_testbench(bench)
    simulator.run()
    return found


@pytest.mark.parametrize("split", [2, 6])
@pytest.mark.parametrize("width", [2, 3, 4, 5])
def test_every_sum_of_small_words(width: int, split: int) -> None:
    words = range(-(1 << width - 1), 1 << width - 1)
    terms = list(product(words, words, (0, 1)))
    assert sums(width, terms, split) == [sum(term) for term in terms]


@pytest.mark.parametrize("width", [36, 55, 63])
def test_carries_across_the_middle_and_at_the_ends(width: int) -> None:
    half = width // 2
    near = {s * (1 << bit) + d for bit in (0, half, half - 1, width - 2) for d in (-1, 0, 1)
            for s in (-1, 1)}  # fmt: skip
    words = sorted(near | {-(1 << width - 1), (1 << width - 1) - 1})
    terms = list(product(words, words, (0, 1)))
    assert sums(width, terms) == [sum(term) for term in terms]
