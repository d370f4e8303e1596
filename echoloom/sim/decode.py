"""An image from the words in an engine's memories: what `image_writes` wrote, read back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, get_type_hints

from echoloom.ir.contract import (
    DrainEntry,
    EngineConfig,
    Image,
    MacEntry,
    Register,
    SectionEntry,
    Space,
    Timing,
)
from echoloom.ir.entry_layouts import COLUMN_BITS
from echoloom.ir.fields import drain_fields, layout_bits, mac_fields, section_fields
from echoloom.ir.sections import sections_of

Memory = Mapping[tuple[int, int, int], int]
"""Words by space, lane and address; what is not there is zero."""
Entry = TypeVar("Entry", MacEntry, DrainEntry, SectionEntry)


def decoded(config: EngineConfig, timing: Timing, memory: Memory) -> Image:
    """The image of an engine with these memories, whoever wrote them.

    Raises ValueError for entries that no engine has.
    """

    def banks(space: Space, count: int, depth: int, bits: int) -> tuple[tuple[int, ...], ...]:
        return tuple(
            tuple(signed(memory.get((space, lane, at), 0), bits) for at in range(depth))
            for lane in range(count)
        )

    word, narrow, lanes = config.word, config.narrow, config.lanes
    table = [memory.get((Space.TABLE, 0, at), 0) for at in range(config.table_depth)]
    return Image(
        config=config,
        weight=banks(Space.WEIGHT, lanes, config.weight_depth, narrow),
        vector=banks(Space.VECTOR, lanes, config.vector_depth, word),
        table=tuple((signed(entry, word), signed(entry >> word, narrow)) for entry in table),
        exponent=banks(Space.EXPONENT, config.drains, config.exponent_depth, COLUMN_BITS),
        mac=_entries(MacEntry, Space.MAC, mac_fields(config), config.mac_depth, memory),
        drain=_entries(DrainEntry, Space.DRAIN, drain_fields(config), config.drain_depth, memory),
        sections=_entries(
            SectionEntry,
            Space.SECTION,
            section_fields(config),
            len(sections_of(config.learns)),
            memory,
        ),
        frame=memory.get((Space.REGISTER, 0, Register.FRAME), 0),
        timing=timing,
    )


def signed(word: int, bits: int) -> int:
    """The signed number in the low bits."""
    return (word + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)


def _entries(
    kind: type[Entry], space: Space, layout: Mapping[str, int], depth: int, memory: Memory
) -> tuple[Entry, ...]:
    columns = -(-layout_bits(layout) // COLUMN_BITS)
    written = 1 + max((at for where, _, at in memory if where == space), default=-1)
    hints = get_type_hints(kind)
    found = []
    for address in range(min(written, depth)):
        packed = sum(
            memory.get((space, column, address), 0) << COLUMN_BITS * column
            for column in range(columns)
        )
        values: dict[str, Any] = {}
        for name, bits in layout.items():
            values[name] = hints[name](packed & (1 << bits) - 1)
            packed >>= bits
        found.append(kind(**values))
    return tuple(found)
