"""Requantiser against its golden twin: all small values, because random ones hide rounding."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from streaming import stream_through

from echoloom.hdl.requantise import Requantise
from echoloom.ir.arithmetic import Overflow, Rounding
from echoloom.ir.contract import Add

INPUTS = ("value", "shift", "base", "add", "width", "overflow")
OUTPUTS = ("result", "overflowed")


def run(component: Requantise, rows: list[tuple[int, ...]]) -> np.ndarray:
    return np.array(stream_through(component, INPUTS, rows, OUTPUTS, latency=Requantise.latency))


def golden(rows: list[tuple[int, ...]], rounding: Rounding = Rounding.HALF_EVEN) -> np.ndarray:
    values = np.array(rows)
    result = np.zeros((len(rows), 2), dtype=np.int64)
    for add, overflow in product(Add, Overflow):
        chosen = (values[:, 3] == add) & (values[:, 5] == overflow)
        value, shift, base, _, width, _ = values[chosen].T
        result[chosen] = np.stack(
            Requantise.golden(value, shift, base, add, width, overflow, rounding), axis=1
        )
    return result


@pytest.mark.parametrize("rounding", list(Rounding))
def test_every_value_shift_and_overflow_mode(rounding: Rounding) -> None:
    rows = [
        (value, shift, 0, Add.NONE, width, overflow)
        for value in range(-128, 128)
        for shift in [*range(12), 31, 63]
        for width in (2, 5)
        for overflow in Overflow
    ]
    component = Requantise(accumulator=8, word=6, rounding=rounding)
    np.testing.assert_array_equal(run(component, rows), golden(rows, rounding))


def test_every_width_shift_and_value_without_a_base() -> None:
    rows = [
        (value, shift, 0, Add.NONE, width, overflow)
        for value in range(-32, 32)
        for shift in (0, 1, 3)
        for width in range(2, 8)
        for overflow in Overflow
    ]
    component = Requantise(accumulator=6, word=7)
    np.testing.assert_array_equal(run(component, rows), golden(rows))


@pytest.mark.parametrize("add", list(Add))
def test_every_base_and_sign(add: Add) -> None:
    rows = [
        (value, shift, base, add, width, overflow)
        for value in range(-16, 16)
        for shift in (0, 1, 2)
        for base in range(-16, 16)
        for width in (4, 5)
        for overflow in Overflow
    ]
    component = Requantise(accumulator=5, word=5)
    np.testing.assert_array_equal(run(component, rows), golden(rows))


def test_full_size_corners() -> None:
    edges = [-(1 << 53), -(1 << 53) + 1, -(1 << 30), -3, -1, 0, 1, 3, (1 << 30) - 1, (1 << 53) - 1]
    bases = [-(1 << 27) + 1, 0, (1 << 27) - 1]
    rows = [
        (value, shift, base, add, width, overflow)
        for value, shift, base, add in product(edges, range(64), bases, Add)
        for width, overflow in ((28, Overflow.SATURATE), (28, Overflow.WRAP), (18, Overflow.WRAP))
    ]
    component = Requantise(accumulator=54, word=28)
    np.testing.assert_array_equal(run(component, rows), golden(rows))


def test_wrong_rounding_is_noticed() -> None:
    rows = [(value, 1, 0, Add.NONE, 6, Overflow.WRAP) for value in range(-8, 8)]
    right = golden(rows)
    for rounding in set(Rounding) - {Rounding.HALF_EVEN}:
        component = Requantise(accumulator=6, word=6, rounding=rounding)
        assert not np.array_equal(run(component, rows), right), rounding


def test_the_sum_before_narrowing_is_there_two_cycles_earlier() -> None:
    rows = [
        (value, shift, base, add, 4, Overflow.SATURATE)
        for value in (-128, -3, 0, 5, 127)
        for shift in (0, 2)
        for base in (-32, 0, 31)
        for add in Add
    ]
    found = stream_through(
        Requantise(accumulator=8, word=6), INPUTS, rows, ("exact",), latency=Requantise.latency - 2
    )
    wide = [(*row[:4], 12, Overflow.WRAP) for row in rows]
    assert [exact for (exact,) in found] == golden(wide)[:, 0].tolist()
