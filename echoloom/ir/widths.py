"""How long an engine's words are, and how much of them a program keeps to spare."""

from __future__ import annotations

from dataclasses import dataclass

from echoloom.ir.arithmetic import Rounding


@dataclass(frozen=True)
class Widths:
    """Word lengths of the target and spare range in bits.

    `word` is a vector's word and the multiplier's wide side, `narrow` a weight and its narrow side,
    `accumulator` a sum of products, `gradient` a sum over steps in memory, where that is to be
    shorter than the accumulator: it overflows, with its flag, the sooner. `margin` is head-room
    above the calibrated range, `weight_margin` above the coefficients' present size, for parameters
    that are going to be trained; `segment_bits` the most that a table takes.
    """

    word: int = 28
    narrow: int = 18
    accumulator: int = 54
    margin: int = 2
    weight_margin: int = 0
    segment_bits: int = 11
    rounding: Rounding = Rounding.HALF_EVEN
    gradient: int | None = None

    @property
    def gradient_bits(self) -> int:
        """Bits of a sum over steps."""
        return self.accumulator if self.gradient is None else self.gradient


# Bits of a sum of products beyond those of one: a row of 256 weights.
GROWTH, MOST = 8, 63


def accumulator_for(word: int, narrow: int) -> int:
    """Bits of a sum of products where nobody says how many: as many as ever, unless such products
    need more."""
    return max(Widths.accumulator, min(word + narrow + GROWTH, MOST))
