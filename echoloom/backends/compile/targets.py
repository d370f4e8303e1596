"""Devices a program can be compiled for."""

from __future__ import annotations

from dataclasses import dataclass

from echoloom.ir.widths import Widths


@dataclass(frozen=True)
class Target:
    """Word lengths that suit a device's multipliers and memories."""

    name: str
    widths: Widths


TARGETS = {
    # An 18 x 28 product is two MULT18X18D; 18-bit weights are one DP16KD port.
    "ecp5-85k": Target("ecp5-85k", Widths()),
}
