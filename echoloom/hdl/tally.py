"""What the drains of an engine that learns have clamped and measured."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from echoloom.hdl.layouts import SHIFT
from echoloom.ir.contract import EngineConfig
from echoloom.ir.reports import PEAK_BITS

CLAMPED_BITS = 32


def measured_bits(config: EngineConfig) -> int:
    """Bits of a measured result above those that Register.PEAK leaves, its sign not counted."""
    return max(0, max(config.accumulator, config.word) - PEAK_BITS)


class Tally(wiring.Component):
    """`peak`: how many bits the longest result has that was `measured` since `scan`, a strobe;
    `clamped`: how many bits of `clamps` were high since `update`, a strobe.

    Both are right 3 cycles after the last of them came.
    """

    scan: Signal
    update: Signal
    measured: list[Signal]
    clamps: Signal
    peak: Signal
    clamped: Signal

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(
            {
                "scan": In(1),
                "update": In(1),
                "measured": In(measured_bits(config)).array(config.drains),
                "clamps": In(config.drains),
                "peak": Out(SHIFT),
                "clamped": Out(CLAMPED_BITS),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        seen = Signal(len(self.measured[0]))
        m.d.sync += seen.eq(seen | reduce(or_, self.measured))
        with m.If(self.scan):
            m.d.sync += seen.eq(0)
        # Whether there is a one at a bit or above it; so many of these are ones as bits are needed.
        reached = Signal.like(seen)
        m.d.sync += [
            reached.eq(Cat(seen[bit:].any() for bit in range(len(seen)))),
            self.peak.eq(self._length(reached)),
        ]
        count = Signal(range(len(self.clamps) + 1))
        m.d.sync += [count.eq(sum(self.clamps)), self.clamped.eq(self.clamped + count)]
        with m.If(self.update):
            m.d.sync += self.clamped.eq(0)
        return m

    def _length(self, reached: Signal) -> Any:
        """How many ones there are, all of them below the zeros."""
        last = reached & ~(reached >> 1)
        return Cat(
            Cat(last[at] for at in range(len(reached)) if at + 1 >> bit & 1).any()
            for bit in range(SHIFT.width)
        )
