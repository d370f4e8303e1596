"""What an update makes of a tensor's weight words and its gradient words, in integers.

These functions are the reference of every level: an engine's UPDATE section is a program that gives
the same. Words w are `width` bits wide and go from -M to M, M = 2**(width - 1) - 1. A tensor's
`step` is a signed number of weight units, which carries minus the sign of its accumulator's scale;
its `lift` is 0, or -M for a tensor that is to stay at zero or above: with it a sum that would go
below zero is one that leaves the range, so one rule serves both. Arrays may have any shape.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from echoloom.ir.arithmetic import Overflow, narrow, round_shift
from echoloom.ir.formats import largest
from echoloom.ir.reports import PEAK_BITS, peak_shift

Words = NDArray[np.int64]

# Momentum, m <- m - m/8 + g, lives in the gradient words themselves.
DECAY = 3  # bits
# A gradient word is brought to a multiplier's word by so many bits first, for its eighth.
DECAY_SHIFT = 20

# Stochastic rounding: x <- MULTIPLIER x + INCREMENT, modulo 2**NOISE_BITS, one sequence a lane.
# The multiplier is 5 modulo 8, so the period is the whole 2**26; its lattices of dimensions 2 and 3
# are within 3 % and 10 % of the best there are.
NOISE_BITS = 26
MULTIPLIER = 110493
INCREMENT = 1
# The largest gradient word of a tensor is brought to so many bits, and moves a weight by the
# tensor's step / 2**STEP_BITS.
STEP_BITS = NOISE_BITS - PEAK_BITS


class Updated(NamedTuple):
    """Weight words, and how many sums were clamped to the range of one on their way."""

    words: Words
    clamped: int


def _into_range(total: Words, lift: int, width: int) -> Updated:
    """A sum with the lift in it, brought to a word, and the word without the lift."""
    lifted, over = narrow(total, width, Overflow.SATURATE)
    words, again = narrow(lifted - lift, width, Overflow.SATURATE)
    return Updated(words, int(np.count_nonzero(over) + np.count_nonzero(again)))


def by_sign(w: Words, g: Words, step: int, lift: int, width: int) -> Updated:
    """Every word one step against the sign of its gradient; a gradient of 0 moves nothing."""
    return _into_range(w + step * np.sign(g) + lift, lift, width)


def decayed(g: Words, word: int) -> Words:
    """Gradient words less their eighth, as the next batch begins with a momentum. The eighth has
    the precision of a multiplier's word of `word` bits."""
    coarse, _ = narrow(round_shift(g, DECAY_SHIFT), word, Overflow.SATURATE)
    return g - (coarse << (DECAY_SHIFT - DECAY))


def shift_of(g: Words) -> int:
    """By how many bits gradient words are made smaller, so that the largest has PEAK_BITS."""
    words = np.asarray(g, np.int64)
    peak = int(np.bitwise_or.reduce(words ^ (words >> 63), axis=None, initial=0))
    return peak_shift(peak)


def by_scale(
    w: Words, g: Words, noise: Words, step: int, lift: int, width: int, word: int, shift: int
) -> Updated:
    """Every word against its gradient, in proportion to it, rounded by chance. `noise` has the
    generator's words of each, `shift` is the tensor's `shift_of`."""
    scaled, _ = narrow(round_shift(g, shift), word, Overflow.SATURATE)
    total = ((w + lift) << NOISE_BITS) + step * scaled + noise
    return _into_range(round_shift(total, NOISE_BITS), lift, width)


def wrapped_noise(x: Any) -> Words:
    """The generator's word with these low bits."""
    return narrow(x, NOISE_BITS, Overflow.WRAP)[0]


def noise_rows(start: Words, rows: int) -> Words:
    """The generator's next words [rows, lanes] after `start` [lanes]: row r is used for the words
    of row r, in every lane."""
    factors, offsets = _leaps(rows)
    return wrapped_noise(factors[:, None] * start + offsets[:, None])


@lru_cache(maxsize=64)
def _leaps(rows: int) -> tuple[Words, Words]:
    """The generator's factor and offset after 1, 2, ... steps."""
    factor, offset, modulus = 1, 0, 1 << NOISE_BITS
    found = []
    for _ in range(rows):
        factor, offset = factor * MULTIPLIER % modulus, (offset * MULTIPLIER + INCREMENT) % modulus
        found.append((factor, offset))
    leaps = np.array(found, np.int64).reshape(-1, 2)
    return leaps[:, 0], leaps[:, 1]


def mixed(*numbers: int) -> int:
    """64 bits that depend on all bits of these whole numbers: the finaliser of splitmix64, once
    for each."""
    mask, h = (1 << 64) - 1, 0
    for number in numbers:
        h = (h + number + 0x9E3779B97F4A7C15) & mask
        h = ((h ^ h >> 30) * 0xBF58476D1CE4E5B9) & mask
        h = ((h ^ h >> 27) * 0x94D049BB133111EB) & mask
        h ^= h >> 31
    return h


def noise_key(seed: int, update: int, lane: int) -> int:
    """What the host writes into a lane's generator before an update."""
    return int(wrapped_noise(mixed(seed, update, lane) >> 64 - NOISE_BITS))


def noise_keys(seed: int, update: int, lanes: int) -> Words:
    """`noise_key` of every lane [lanes]."""
    return np.array([noise_key(seed, update, lane) for lane in range(lanes)], np.int64)


def step_units(step: float, frac: int, width: int, scaled: bool) -> int:
    """A step of a tensor with `frac` fraction bits, in weight units (1/8 of one where it is scaled
    by the gradient), at least 1."""
    units = round(step * 2.0 ** (frac + (STEP_BITS if scaled else 0)))
    return min(max(units, 1), largest(width))


def halved(step: int, times: int) -> int:
    """A signed step halved so many times; at least 1 in magnitude."""
    size = max(abs(step) >> times, 1)
    return size if step > 0 else -size
