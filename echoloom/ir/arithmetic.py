"""The meaning of every lossy integer operation, exact and vectorised over NumPy int64.

The interpreters, the golden twins of the RTL and the compiler all call these functions, so
there is one definition of rounding, narrowing and table lookup in the project.
"""

from __future__ import annotations

import enum

import numpy as np
from numpy.typing import ArrayLike, NDArray

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


class Rounding(enum.Enum):
    """Which integer stands for a value between two integers."""

    HALF_EVEN = "half_even"
    HALF_AWAY = "half_away"
    HALF_UP = "half_up"
    TO_ZERO = "to_zero"
    FLOOR = "floor"


class Overflow(enum.IntEnum):
    """What becomes of a value outside the symmetric range of its width."""

    WRAP = 0  # two's complement; sets Flag.STATE
    SATURATE = 1  # clamps to +-(2**(width-1) - 1); sets Flag.SATURATED


def round_shift(
    x: ArrayLike, shift: ArrayLike, rounding: Rounding = Rounding.HALF_EVEN
) -> IntArray:
    """x / 2**shift rounded to an integer; shift 0..63, broadcast against x."""
    value = np.asarray(x, dtype=np.int64)
    amount = np.asarray(shift, dtype=np.int64)
    if np.any((amount < 0) | (amount > 63)):
        raise ValueError(f"shift must be in 0..63, got {shift}")
    floor = value >> amount
    # floor * 2**63 is -2**63 or 0: the remainder is non-negative and fits for every shift.
    rest = value - (floor << amount)
    half = np.int64(1) << np.maximum(amount - 1, 0)
    inexact = rest != 0
    tie = inexact & (rest == half)
    above = rest > half
    match rounding:
        case Rounding.HALF_EVEN:
            up = above | (tie & (floor & 1 == 1))
        case Rounding.HALF_AWAY:
            up = above | (tie & (value >= 0))
        case Rounding.HALF_UP:
            up = above | tie
        case Rounding.TO_ZERO:
            up = inexact & (value < 0)
        case Rounding.FLOOR:
            up = np.zeros_like(inexact)
    return floor + (up & (amount > 0))


def narrow(z: ArrayLike, width: ArrayLike, overflow: Overflow) -> tuple[IntArray, BoolArray]:
    """Bring z into `width` bits (2..63); also say where it was out of range.

    The range is symmetric, +-(2**(width-1) - 1): the most negative word is an overflow, so
    that negation never is. WRAP still returns it, being plain two's complement.
    """
    value = np.asarray(z, dtype=np.int64)
    bits = np.asarray(width, dtype=np.int64)
    if np.any((bits < 2) | (bits > 63)):
        raise ValueError(f"width must be in 2..63, got {width}")
    limit = (np.int64(1) << (bits - 1)) - 1
    overflowed = (value > limit) | (value < -limit)
    if overflow is Overflow.SATURATE:
        return np.clip(value, -limit, limit), overflowed
    # Shifting out the high bits and back sign-extends without overflowing int64.
    return (value << (64 - bits)) >> (64 - bits), overflowed


def table_segment(z: ArrayLike, segment_bits: ArrayLike, fraction_bits: ArrayLike) -> IntArray:
    """The segment of z: z >> fraction_bits, clamped to segment_bits bits signed."""
    half = np.int64(1) << (np.asarray(segment_bits, dtype=np.int64) - 1)
    shifted = np.asarray(z, dtype=np.int64) >> np.asarray(fraction_bits, dtype=np.int64)
    return np.clip(shifted, -half, half - 1)


def piecewise_linear(
    z: ArrayLike,
    base: ArrayLike,
    slope: ArrayLike,
    *,
    segment_bits: int,
    fraction_bits: int,
    slope_shift: int,
    word: int,
    rounding: Rounding = Rounding.HALF_EVEN,
) -> tuple[IntArray, BoolArray]:
    """Table function of z and whether it was clamped to `word` bits.

    `base` and `slope` have 2**segment_bits entries, the first for the most negative segment.
    Outside the table the first and last segment go on as straight lines.
    """
    value = np.asarray(z, dtype=np.int64)
    segment = table_segment(value, segment_bits, fraction_bits)
    index = segment + (1 << (segment_bits - 1))
    offset = value - (segment << fraction_bits)
    rise = np.asarray(slope, dtype=np.int64)[index] * offset
    return narrow(
        np.asarray(base, dtype=np.int64)[index] + round_shift(rise, slope_shift, rounding),
        word,
        Overflow.SATURATE,
    )
