"""What a board's phase-locked loop is to the rest: ports, and the clocks that it can make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import TypeVar

from amaranth.lib.wiring import In, Out

# `input` is the board's clock from its pin, `passed` the same for the design (in some families a
# pin that feeds the PLL feeds nothing else), `output` the engine's clock; `locked` says that it is
# stable.
PLL_PORTS = {"input": In(1), "passed": Out(1), "output": Out(1), "locked": Out(1)}

# A clock has a whole number of Hz, so that it can be written down and asked for again.
HZ = 1_000_000

Dividers = TypeVar("Dividers")


def whole_hz(mhz: Fraction) -> bool:
    """Whether it is a clock that can be written down."""
    return (mhz * HZ).denominator == 1


def exact(mhz: float) -> Fraction:
    """A frequency in MHz as the fraction that was meant: a whole number of Hz."""
    return Fraction(round(mhz * HZ), HZ)


def chosen(clocks: Mapping[Fraction, Dividers], input_mhz: float, output_mhz: float) -> Dividers:
    """The settings for exactly `output_mhz`. Raises ValueError, with the clocks around it, if it
    is none of `clocks`."""
    wanted = exact(output_mhz)
    if wanted in clocks:
        return clocks[wanted]
    known = sorted(clocks)
    below = [f"{float(clock):.10g}" for clock in known if clock < wanted][-1:]
    above = [f"{float(clock):.10g}" for clock in known if clock > wanted][:1]
    raise ValueError(
        f"the PLL cannot make {output_mhz:g} MHz from {input_mhz:g} MHz; "
        f"the nearest that it can: {', '.join(below + above)} MHz"
    )


def highest(clocks: Iterable[Fraction], below_mhz: float) -> float | None:
    """The highest of `clocks` that is not above `below_mhz`; None if all are."""
    return max((float(clock) for clock in clocks if float(clock) <= below_mhz), default=None)
