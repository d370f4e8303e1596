"""What a sweep reports about words that left their range."""

from __future__ import annotations

import enum


class Flag(enum.IntFlag):
    """Sticky flags, cleared when a pass starts."""

    STATE = 1  # a wrapping (state-path) value left its symmetric range
    SATURATED = 2  # a saturating value was clamped
    ACCUMULATOR = 4  # an accumulator or gradient word overflowed
    WEIGHT = 8  # a weight that learns was clamped
