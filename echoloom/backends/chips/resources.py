"""What an engine behind its host link takes of a chip, and what runs out first.

An estimate that needs no tool: memories by the rule of `ir.blocks`, and a product of a word and a
weight for every lane and every drain. LUTs are not estimated; a build counts them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from echoloom.hdl.commands import LinkSizes
from echoloom.hdl.inventory import Bank, inventory
from echoloom.hdl.store import MOST_DEPTH
from echoloom.ir.blocks import CHIPS, Cells, Chip
from echoloom.ir.contract import EngineConfig

BLOCKS, MULTIPLIERS = "block RAM", "multipliers"
WINDOW = 2048  # bytes of packets on the way where there is room: a line's for a millisecond or more
LISTED = 1024  # entries of an update's list, likewise: of 140 tensors
ROOMY = 10_000  # LUTs, of which the command CHECK takes 250
STORE = 8192  # samples; more block RAM than for these would be in the way of the engine's


@dataclass(frozen=True)
class Stored:
    """A memory of the engine, and the cells that each of its copies takes."""

    bank: Bank
    cells: Cells
    blocks: int  # of all copies; 0 in LUT RAM and in registers
    single_ports: int = 0  # of all copies

    @property
    def kind(self) -> str:
        if self.single_ports:
            return "single port RAM"
        return "registers" if self.cells.ram is None else self.cells.ram.name


@dataclass(frozen=True)
class Usage:
    """How much of one kind of resource an engine takes of what the chip has."""

    used: int
    available: int

    @property
    def share(self) -> float:
        """1 is all of it."""
        return self.used / self.available if self.used else 0.0


@dataclass(frozen=True)
class Resources:
    """An engine on a chip; `usage` is of BLOCKS and of MULTIPLIERS."""

    chip: Chip
    memories: tuple[Stored, ...]
    usage: Mapping[str, Usage]

    @property
    def binding(self) -> str:
        """The resource of which it takes the largest share."""
        return max(self.usage, key=lambda kind: self.usage[kind].share)

    @property
    def fits(self) -> bool:
        return self.usage[self.binding].share <= 1.0

    @property
    def largest(self) -> str:
        """The memory that takes most blocks."""
        blocks = self.blocks_by_memory()
        return max(blocks, key=lambda name: blocks[name])

    def blocks_by_memory(self) -> dict[str, int]:
        """Block RAMs by the memories' names."""
        blocks: dict[str, int] = {}
        for stored in self.memories:
            blocks[stored.bank.name] = blocks.get(stored.bank.name, 0) + stored.blocks
        return blocks


def resources(config: EngineConfig, chip: Chip, link: LinkSizes | None = None) -> Resources:
    """What an engine of these sizes takes of a chip, with the least of links unless it is said."""
    memories = tuple(_stored(bank, chip) for bank in inventory(config, link or LinkSizes()))
    usage = {
        BLOCKS: Usage(sum(stored.blocks for stored in memories), chip.blocks),
        MULTIPLIERS: Usage(_multipliers(config, chip), chip.multipliers),
    }
    return Resources(chip, memories, usage)


def chip_of(target: str) -> Chip:
    """The chip of a compile target. ValueError where its memories are not known."""
    if target not in CHIPS:
        raise ValueError(f"the memories of {target!r} are not known; known: {', '.join(CHIPS)}")
    return CHIPS[target]


def lacking(config: EngineConfig, chip: Chip) -> list[str]:
    """What an engine of these sizes takes more of than the chip has, in words; empty if it may
    fit: LUTs are not among it."""
    found = resources(config, chip)
    words = []
    for kind, usage in found.usage.items():
        if usage.used > usage.available:
            most = f", most of it {found.largest}" if kind == BLOCKS else ""
            words.append(f"{usage.used} {kind} of {usage.available}{most}")
    return words


def link_sizes(
    config: EngineConfig, chip: Chip, samples: int | None = None, checks: bool | None = None
) -> LinkSizes:
    """The link that goes with an engine: a store of `samples`, or of as many, up to STORE, as half
    of the block RAM holds that the engine leaves; with the command CHECK, unless told
    otherwise, on chips from ROOMY on.

    Raises ValueError for a store that is no power of two from LEAST on, or larger than the chip.
    """
    checks = chip.luts >= ROOMY if checks is None else checks
    least = LinkSizes(checks=checks)
    ways = (LinkSizes(WINDOW, least.samples, listed, checks) for listed in (LISTED, least.listed))
    sizes = next((way for way in ways if resources(config, chip, way).fits), least)
    if samples is not None:
        if samples < least.samples or samples & (samples - 1) or samples > MOST_DEPTH:
            raise ValueError(
                f"a board's store has {least.samples}, {2 * least.samples} ... {MOST_DEPTH:,} "
                f"samples, not {samples:,}"
            )
        return replace(sizes, samples=samples)
    without = resources(config, chip, sizes).usage[BLOCKS].used
    while sizes.samples < STORE:
        larger = replace(sizes, samples=2 * sizes.samples)
        more = resources(config, chip, larger).usage[BLOCKS].used - without
        if 2 * more > chip.blocks - without:
            break
        sizes = larger
    return sizes


def _stored(bank: Bank, chip: Chip) -> Stored:
    if bank.one_address and chip.single_ports_of(bank.width):
        return Stored(bank, Cells(None, 0), 0, chip.single_ports_of(bank.width) * bank.copies)
    cells = chip.cells(bank.width, bank.depth, bank.at_once, bank.readers)
    return Stored(bank, cells, bank.copies * chip.blocks_of(cells))


def _multipliers(config: EngineConfig, chip: Chip) -> int:
    """Lanes multiply words by weights, drains distances by slopes of the same sizes; LUTs do where
    a chip has no multipliers."""
    if not chip.multipliers:
        return 0
    wide, narrow = chip.multiplier
    each = -(-config.word // wide) * -(-config.narrow // narrow)
    return each * (config.lanes + config.drains)
