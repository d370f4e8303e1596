"""What an engine that learns says of a result: it counts, it is measured, or it passes quietly."""

from __future__ import annotations

import enum

PEAK_BITS = 23  # of a result shifted by Register.PEAK, beside its sign


class Report(enum.IntEnum):
    """What becomes of a drained result that leaves its range; only an engine that learns has any
    but SWEEP. What a table clamps is reported as in SWEEP."""

    SWEEP = 0  # STATE where it wraps, SATURATED where it is clamped
    QUIET = 1  # nothing
    PEAK = 2  # nothing; the result counts for Register.PEAK
    CLAMP = 3  # WEIGHT, and Register.CLAMPED counts it


def peak_shift(peak: int) -> int:
    """Register.PEAK, of the OR over z ^ (its sign) of all results that were measured."""
    return max(peak.bit_length() - PEAK_BITS, 0)
