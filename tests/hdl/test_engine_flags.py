"""Overflow flags: which value raises which, and which lanes count."""

from __future__ import annotations

import pytest
from engine_bench import Pass, check, image_of, small

from echoloom.ir.arithmetic import Overflow, round_shift
from echoloom.ir.contract import Destination, DrainEntry, MacEntry, Narrow, Timing, XMode
from echoloom.ir.flags import Flag
from echoloom.ir.sections import Section

SIZES = [(1, 1), (2, 1), (2, 2), (3, 2), (5, 1), (5, 2), (5, 3), (5, 5)]
TIMING = Timing()


@pytest.mark.parametrize(
    ("factor", "overflow", "flag"),
    [
        (126, Overflow.WRAP, Flag(0)),
        (127, Overflow.WRAP, Flag(0)),
        (128, Overflow.WRAP, Flag.STATE),
        (-127, Overflow.WRAP, Flag(0)),
        (-128, Overflow.WRAP, Flag.STATE),
        (127, Overflow.SATURATE, Flag(0)),
        (128, Overflow.SATURATE, Flag.SATURATED),
        (-127, Overflow.SATURATE, Flag(0)),
        (-128, Overflow.SATURATE, Flag.SATURATED),
    ],
)
def test_narrowing_flags_only_drained_lanes(factor: int, overflow: Overflow, flag: Flag) -> None:
    """Lane 1 holds the value; lane 2 overflows but is not drained."""
    image = image_of(
        small(3, 2),
        {
            Section.FORWARD_PROLOGUE: (
                [MacEntry(start=0)],
                [
                    DrainEntry(
                        start=TIMING.mac_to_slot,
                        slot=0,
                        count=2,
                        destination=1,
                        width=8,
                        overflow=overflow,
                    )
                ],
                40,
            )
        },
        weight=[[1], [factor], [1000]],
        vector=[[1, 99]] * 3,
    )
    (result,) = check(image, [Pass()])
    assert result.flags == flag
    clamped = max(-127, min(127, factor))
    wrapped = (factor + 128) % 256 - 128
    assert result.vector[1][1] == (wrapped if overflow is Overflow.WRAP else clamped)
    assert result.vector[2][1] == 99


@pytest.mark.parametrize("destination", [Destination.ACCUMULATOR, Destination.TREE])
@pytest.mark.parametrize(
    ("a", "b", "fits"),
    [
        (1 << 18, (1 << 18) - 1, True),
        (1 << 18, 1 << 18, False),
        (-(1 << 18), -(1 << 18), True),
        (-(1 << 18), -(1 << 18) - 1, False),
    ],
)
def test_accumulator_overflow_wraps_and_flags(
    destination: Destination, a: int, b: int, fits: bool
) -> None:
    """a + b in 20 bits: over two elements in a lane, or over two lanes in the tree."""
    over_lanes = destination is Destination.TREE
    image = image_of(
        small(2, 1, accumulator=20),
        {
            Section.FORWARD_PROLOGUE: (
                [
                    MacEntry(
                        start=0, inner=1 if over_lanes else 2, x_step=1, destination=destination
                    )
                ],
                [DrainEntry(start=15, tree=over_lanes, slot=0, count=1, destination=3, shift=4)],
                40,
            )
        },
        weight=[[1], [1]],
        vector=[[a], [b]] if over_lanes else [[a, b], [0, 0]],
    )
    (result,) = check(image, [Pass()])
    assert result.flags == (Flag(0) if fits else Flag.ACCUMULATOR)
    wrapped = (a + b + (1 << 19)) % (1 << 20) - (1 << 19)
    assert result.vector[0][3] == round_shift(wrapped, 4)


@pytest.mark.parametrize("accumulator", [20, 30])
def test_gradient_overflow_flags(accumulator: int) -> None:
    """At the width of a gradient word, be it the accumulator's or less."""
    image = image_of(
        small(1, 1, accumulator=accumulator, gradient=20),
        {
            Section.FORWARD_STEP: (
                [MacEntry(start=0, destination=Destination.GRADIENT, x_mode=XMode.INPUT)],
                [],
                8,
            )
        },
        weight=[[1]],
        frame=1,
    )
    big = 1 << 18
    fits, wraps = check(image, [Pass(((big,), (big - 1,))), Pass(((big,), (big,)))])
    assert fits.flags == Flag(0)
    assert wraps.flags == Flag.ACCUMULATOR
    assert wraps.gradient[0][0] == -(1 << 19)


@pytest.mark.parametrize(
    ("word", "fits"), [((1 << 11) - 1, True), (1 << 11, False), (-(1 << 11), True)]
)
def test_a_narrow_gradient_word_does_not_narrow_the_accumulator(word: int, fits: bool) -> None:
    """One product, kept as a gradient of 12 bits, then read back and doubled: 13 bits."""
    product = MacEntry(start=0, destination=Destination.GRADIENT)
    again = MacEntry(start=TIMING.gradient, push=False, load_gradient=True)
    twice = MacEntry(start=TIMING.gradient + 1, clear=False, narrow=Narrow.WEIGHT)
    drained = TIMING.gradient + 1 + TIMING.mac_to_slot
    image = image_of(
        small(1, 1, accumulator=30, gradient=12),
        {
            Section.FORWARD_STEP: ([product], [], 12),
            Section.FORWARD_EPILOGUE: (
                [again, twice],
                [DrainEntry(start=drained, slot=0, count=1, destination=1)],
                drained + TIMING.drain_direct,
            ),
        },
        weight=[[1]],
        vector=[[word]],
        frame=0,
    )
    (result,) = check(image, [Pass(((),))])
    kept = (word + (1 << 11)) % (1 << 12) - (1 << 11)
    assert result.flags == (Flag(0) if fits else Flag.ACCUMULATOR)
    assert result.gradient[0][0] == kept and result.vector[0][1] == kept + word
