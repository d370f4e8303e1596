"""The integer functions against exact rationals, and against another fixed-point library."""

from __future__ import annotations

import math
from fractions import Fraction

import apytypes
import numpy as np
import pytest

from echoloom.ir.arithmetic import Overflow, Rounding, narrow, piecewise_linear, round_shift

SHIFTS = [0, 1, 2, 5, 9, 10, 11, 40, 62, 63]
EXTREMES = [-(1 << 63), -(1 << 62) - 1, -(1 << 62), 1 << 62, (1 << 63) - 1, 3 << 61]
VALUES = [*range(-520, 521), *EXTREMES]


def rounded(x: int, shift: int, rounding: Rounding) -> int:
    exact = Fraction(x, 1 << shift)
    below = math.floor(exact)
    rest = exact - below
    match rounding:
        case Rounding.HALF_EVEN:
            return round(exact)
        case Rounding.HALF_AWAY:
            return int(math.copysign(math.floor(abs(exact) + Fraction(1, 2)), exact))
        case Rounding.HALF_UP:
            return below + (rest >= Fraction(1, 2))
        case Rounding.TO_ZERO:
            return math.trunc(exact)
        case Rounding.FLOOR:
            return below


@pytest.mark.parametrize("rounding", list(Rounding))
@pytest.mark.parametrize("shift", SHIFTS)
def test_round_shift_is_exact(rounding: Rounding, shift: int) -> None:
    values = VALUES if rounding is not Rounding.HALF_AWAY else VALUES[:1041]  # float copysign
    expected = [rounded(x, shift, rounding) for x in values]
    assert round_shift(np.array(values), shift, rounding).tolist() == expected


@pytest.mark.parametrize(
    ("rounding", "mode"),
    [
        (Rounding.HALF_EVEN, apytypes.QuantizationMode.RND_CONV),
        (Rounding.HALF_AWAY, apytypes.QuantizationMode.RND_INF),
        (Rounding.HALF_UP, apytypes.QuantizationMode.RND),
        (Rounding.TO_ZERO, apytypes.QuantizationMode.TRN_ZERO),
        (Rounding.FLOOR, apytypes.QuantizationMode.TRN),
    ],
)
@pytest.mark.parametrize("shift", [1, 2, 5])
def test_round_shift_agrees_with_apytypes(
    rounding: Rounding, mode: apytypes.QuantizationMode, shift: int
) -> None:
    values = np.arange(-256, 256)
    exact = apytypes.APyFixedArray.from_float(values / (1 << shift), 10, shift)
    expected = exact.cast(int_bits=12, frac_bits=0, quantization=mode).to_numpy()
    np.testing.assert_array_equal(round_shift(values, shift, rounding), expected)


def test_round_shift_broadcasts_and_checks_its_shift() -> None:
    assert round_shift([[5], [-5]], [0, 1]).tolist() == [[5, 2], [-5, -2]]
    with pytest.raises(ValueError, match=r"0\.\.63"):
        round_shift(1, 64)


@pytest.mark.parametrize("width", range(2, 9))
def test_narrow(width: int) -> None:
    limit = (1 << width - 1) - 1
    values = np.arange(-300, 301)
    wrapped, over = narrow(values, width, Overflow.WRAP)
    clamped, over_too = narrow(values, width, Overflow.SATURATE)
    for z, wrap, clamp, flag, flag_too in zip(
        values.tolist(), wrapped, clamped, over, over_too, strict=True
    ):
        assert (wrap - z) % (1 << width) == 0
        assert -limit - 1 <= wrap <= limit
        assert clamp == min(max(z, -limit), limit)
        assert flag == flag_too == (abs(z) > limit)


def test_narrow_checks_its_width() -> None:
    with pytest.raises(ValueError, match="width"):
        narrow(1, 1, Overflow.WRAP)


def test_piecewise_linear() -> None:
    segment_bits, fraction_bits, slope_shift, word = 3, 4, 5, 9
    random = np.random.default_rng(0)
    base, slope = random.integers(-200, 200, 8), random.integers(-100, 100, 8)
    values = np.arange(-256, 256)
    found, over = piecewise_linear(
        values, base, slope, segment_bits=segment_bits, fraction_bits=fraction_bits,
        slope_shift=slope_shift, word=word,
    )  # fmt: skip
    for z, y, flag in zip(values.tolist(), found, over, strict=True):
        segment = min(max(z // 16, -4), 3)
        exact = int(base[segment + 4]) + round(
            Fraction(int(slope[segment + 4]) * (z - 16 * segment), 32)
        )
        assert y == min(max(exact, -255), 255)
        assert flag == (abs(exact) > 255)
