"""Every memory of an engine behind its host link: how wide, how deep, how many of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from amaranth.utils import ceil_log2

from echoloom.hdl.commands import LinkSizes
from echoloom.hdl.engine import IN_FLIGHT_EMITS
from echoloom.hdl.layouts import SHIFT, chunks, drain_entry, mac_entry, section_entry
from echoloom.hdl.link import OUTPUTS
from echoloom.hdl.packets import PAYLOAD
from echoloom.hdl.table_memory import READERS
from echoloom.hdl.update_list import ENTRY_BITS
from echoloom.ir.contract import EngineConfig
from echoloom.ir.entry_layouts import COLUMN_BITS
from echoloom.ir.sections import sections_of


@dataclass(frozen=True)
class Bank:
    """`copies` memories of `depth` words of `width` bits, each with a write port and `readers`;
    what is read `at_once`, in the cycle of its address, cannot be in block RAM. `one_address`: of
    the write port and the reader, always."""

    name: str
    width: int
    depth: int
    copies: int
    at_once: bool = False
    readers: int = 1
    one_address: bool = False


def inventory(config: EngineConfig, link: LinkSizes) -> tuple[Bank, ...]:
    """The memories in the order of the data's way through the engine; registers are none."""
    lanes, drains, word = config.lanes, config.drains, config.word
    frame = 1 << ceil_log2(config.frame_depth)
    banks = ceil_log2(chunks(config))  # of a drain: its lanes
    return (
        Bank("link window", 8, link.window - 1, 1),
        Bank("link packet", 8, PAYLOAD + 1, 1),
        Bank("link samples", word, link.samples, 1),
        *([Bank("link updates", ENTRY_BITS, link.listed, 1)] if config.learns else []),
        Bank("frames", word, config.frames * frame, 1),
        Bank("weights", config.narrow, config.weight_depth, lanes),
        Bank("X words", word, config.vector_depth, lanes),
        Bank("Y words", word, config.vector_depth, lanes),
        Bank("gradients", config.gradient_bits, config.gradient_depth, lanes),
        Bank("slots", config.accumulator, config.slots, lanes, at_once=True),
        Bank("tree rows", config.accumulator, config.slots << banks, drains, at_once=True),
        Bank("exponents", SHIFT.width, config.exponent_depth, drains),
        Bank("bases", word, config.bases << banks, drains),
        *_tables(config),
        *_program("MAC program", mac_entry(config).size, config.mac_depth),
        *_program("drain program", drain_entry(config).size, config.drain_depth),
        *_program("section table", section_entry(config).size, len(sections_of(config.learns))),
        Bank("outputs", word, 2 * config.output_depth + IN_FLIGHT_EMITS - 1, 1),
        Bank("link outputs", word, OUTPUTS, 1),
        Bank("link replies", 8, link.window, 1),
    )


def _tables(config: EngineConfig) -> Iterator[Bank]:
    """One memory for two drains, and one for what is left."""
    pairs, alone = divmod(config.drains, READERS)
    for count, readers in ((pairs, READERS), (alone, 1)):
        if count:
            width = config.word + config.narrow
            yield Bank(
                "tables",
                width,
                config.table_depth,
                count,
                readers=readers,
                one_address=readers == 1,
            )


def _program(name: str, bits: int, depth: int) -> Iterator[Bank]:
    """A program's columns: whole ones, and what is left."""
    whole, rest = divmod(bits, COLUMN_BITS)
    if whole:
        yield Bank(name, COLUMN_BITS, depth, whole)
    if rest:
        yield Bank(name, rest, depth, 1)
