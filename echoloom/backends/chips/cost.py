"""What word lengths cost on a chip, to choose the cheapest by."""

from __future__ import annotations

from dataclasses import dataclass

from echoloom.backends.chips.resources import BLOCKS, MULTIPLIERS, resources
from echoloom.ir.blocks import Chip
from echoloom.ir.contract import EngineConfig


@dataclass(frozen=True, order=True)
class Cost:
    """Of an engine behind its host link. Ordered as a choice is made: by the share of the chip
    first, then by bits of memory.

    share: of all multipliers plus of all block RAMs (products in LUTs count as LUTs, one a bit);
    bits: of all memories, whatever they are in; lines: of tables.
    """

    share: float
    bits: int
    multipliers: int
    blocks: int
    lines: int

    def __str__(self) -> str:
        return (
            f"{self.multipliers} multipliers, {self.blocks} block RAMs, {self.bits:,} bits of "
            f"memory, {self.lines:,} table lines"
        )


def cost_of(config: EngineConfig, chip: Chip) -> Cost:
    """The cost of an engine of these sizes and word lengths, with the least of links."""
    found = resources(config, chip)
    multipliers, blocks = found.usage[MULTIPLIERS], found.usage[BLOCKS]
    share = multipliers.share + blocks.share
    if not chip.multipliers:
        share += config.word * config.narrow * (config.lanes + config.drains) / chip.luts
    bits = sum(s.bank.width * s.bank.depth * s.bank.copies for s in found.memories)
    return Cost(round(share, 9), bits, multipliers.used, blocks.used, config.table_depth)
