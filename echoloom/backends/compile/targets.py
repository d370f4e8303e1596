"""Devices a program can be compiled for."""

from __future__ import annotations

from dataclasses import dataclass

from echoloom.ir.widths import Widths


@dataclass(frozen=True)
class Target:
    """Word lengths that suit a device's multipliers and memories."""

    name: str
    widths: Widths


# An 18 x 28 product is two multipliers of 18 x 18; 18-bit weights are one port of a block RAM.
_LARGE = Widths()
# Logic cells are few: what they hold is bits of words.
_SMALL = Widths(word=12, narrow=10, accumulator=26, segment_bits=5)

TARGETS = {
    target.name: target
    for target in (
        *(Target(name, _LARGE) for name in ("ecp5-85k", "ecp5-45k", "ecp5-25k", "gw2a-18")),
        *(Target(name, _SMALL) for name in ("hx8k", "up5k")),
    )
}
