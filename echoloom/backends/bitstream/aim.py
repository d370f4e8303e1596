"""What a build is to reach: its clock, or the highest one that the routed design allows."""

from __future__ import annotations

import math
from dataclasses import dataclass

from echoloom.backends.bitstream.routing import Routing
from echoloom.backends.bitstream.targets.target import Target
from echoloom.backends.bitstream.toolrun import BuildFailed

MARGIN = 0.1


class TimingMissed(BuildFailed):
    """The design is routed, but too slow for its clock."""


@dataclass(frozen=True)
class Aim:
    """`clock_mhz`, the engine's clock, which the design has to reach; without it, the highest that
    the PLL makes and that lies at least `margin` (a part of 1) below what the best seed reaches.

    `target_mhz` is what the router aims at: `clock_mhz`, else the board's own, unless given.
    `seeds` start the placer, one run each, `jobs` of them at a time.

    Raises ValueError for what no build can aim at.
    """

    clock_mhz: float | None = None
    target_mhz: float | None = None
    margin: float = MARGIN
    seeds: tuple[int, ...] = (1,)
    jobs: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.margin < 1:
            raise ValueError(f"the margin is a part of the clock from 0 to 1, not {self.margin:g}")
        for name, value in (("clock", self.clock_mhz), ("target", self.target_mhz)):
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"the {name} must be a frequency in MHz, not {value:g}")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"a build needs one seed or several different ones, not {self.seeds}")
        if self.jobs < 1:
            raise ValueError(f"{self.jobs} placements at a time are none; 1 is the least")

    def routed_for(self, target: Target) -> float:
        """What the router aims at, in MHz."""
        return self.target_mhz or self.clock_mhz or target.target_mhz

    def first_clock(self, target: Target) -> float:
        """What the PLL is set to while the design is routed: no other setting depends on it.

        Raises ValueError if the PLL makes nothing so low.
        """
        if self.clock_mhz is not None:
            return self.clock_mhz
        return self._below(target, self.routed_for(target))

    def choose(self, target: Target, routing: Routing) -> float:
        """The clock to build for. Raises TimingMissed."""
        reached = routing.fmax_mhz
        if routing.missed:
            raise TimingMissed(f"timing missed: {routing.missed}")
        if self.clock_mhz is None:
            try:
                return self._below(target, reached * (1 - self.margin))
            except ValueError as error:
                raise TimingMissed(
                    f"timing missed: the design reaches {reached:.1f} MHz, and {error}"
                ) from error
        if reached < self.clock_mhz:
            raise TimingMissed(
                f"timing missed: the design reaches {reached:.1f} MHz of {self.clock_mhz:g} MHz"
            )
        return self.clock_mhz

    def confirm(self, clock_mhz: float, routing: Routing) -> None:
        """That a design which was routed anew, for the chosen clock, is still as quick.

        Raises TimingMissed.
        """
        if routing.missed or clock_mhz > routing.fmax_mhz * (1 - self.margin):
            raise TimingMissed(
                f"timing missed: routed anew for {clock_mhz:g} MHz the design reaches "
                f"{routing.fmax_mhz:.1f} MHz, less than a margin of {self.margin:.0%} above it"
            )

    def _below(self, target: Target, limit_mhz: float) -> float:
        clock = target.clock_below(limit_mhz)
        if clock is None:
            raise ValueError(f"the PLL of {target.name} makes no clock below {limit_mhz:.1f} MHz")
        return clock
