"""What a board's phase-locked loop is to the rest: ports, and the clocks that it can make."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from amaranth.lib.wiring import In, Out

# `input` is the board's clock from its pin, `passed` the same for the design (in some families a
# pin that feeds the PLL feeds nothing else), `output` the engine's clock; `locked` says that it is
# stable.
PLL_PORTS = {"input": In(1), "passed": Out(1), "output": Out(1), "locked": Out(1)}

# A clock has a whole number of Hz, so that it can be written down and asked for again.
HZ = 1_000_000


def whole_hz(mhz: Fraction) -> bool:
    """Whether it is a clock that can be written down."""
    return (mhz * HZ).denominator == 1


def exact(mhz: float) -> Fraction:
    """A frequency in MHz as the fraction that was meant: a whole number of Hz."""
    return Fraction(round(mhz * HZ), HZ)


def refuse(input_mhz: float, output_mhz: float, clocks: Iterable[Fraction]) -> ValueError:
    """What is wrong with a clock that is none of `clocks`, with those around it."""
    known = sorted(clocks)
    below = [f"{float(clock):.10g}" for clock in known if clock < exact(output_mhz)][-1:]
    above = [f"{float(clock):.10g}" for clock in known if clock > exact(output_mhz)][:1]
    return ValueError(
        f"the PLL cannot make {output_mhz:g} MHz from {input_mhz:g} MHz; "
        f"the nearest that it can: {', '.join(below + above)} MHz"
    )


def highest(clocks: Iterable[Fraction], below_mhz: float) -> float | None:
    """The highest of `clocks` that is not above `below_mhz`; None if all are."""
    return max((float(clock) for clock in clocks if float(clock) <= below_mhz), default=None)
