"""The host writes that load an engine image: every word of it, and where it goes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from echoloom.backends.link.conversation import LOADING
from echoloom.ir.contract import (
    Image,
    Register,
    SectionEntry,
    Space,
)
from echoloom.ir.entry_layouts import COLUMN_BITS
from echoloom.ir.fields import drain_fields, layout_bits, mac_fields, pack, section_fields
from echoloom.ir.sections import sections_of

SHIFT_BITS = 7  # of a signed word that holds every shift

Write = tuple[int, int, int, int]  # space, lane, address, data


def image_writes(image: Image, clear: bool = False) -> Iterator[Write]:
    """Writes that load `image` into an idle engine.

    Fresh memories are zero, so only the image's own words are written; with `clear` every word
    of the data memories is, which makes the load right after any other image.

    Raises ValueError, before or at the offending write, if the image does not fit its own config.
    """
    config = image.config
    if not 0 <= image.frame <= config.frame_depth:
        raise ValueError(
            f"a frame of {image.frame} elements does not fit frame_depth {config.frame_depth}"
        )
    yield from _banks(
        Space.WEIGHT, image.weight, config.lanes, config.narrow, config.weight_depth, clear
    )
    yield from _banks(
        Space.VECTOR, image.vector, config.lanes, config.word, config.vector_depth, clear
    )
    table = [
        _signed(slope, config.narrow, f"slope of TABLE address {address}") << config.word
        | _signed(base, config.word, f"base of TABLE address {address}")
        for address, (base, slope) in enumerate(image.table)
    ]
    if len(table) > config.table_depth:
        raise ValueError(f"TABLE has {len(table)} entries, the engine has {config.table_depth}")
    end = config.table_depth if clear else len(table)
    for address in range(end):
        yield Space.TABLE, 0, address, table[address] if address < len(table) else 0
    yield from _banks(
        Space.EXPONENT, image.exponent, config.drains, SHIFT_BITS, config.exponent_depth, clear
    )
    # A section that the image does not name must not run an older image's program.
    count = len(sections_of(config.learns))
    missing = (SectionEntry(0, 0, 0, 0),) * (count - len(image.sections))
    sections = (*image.sections, *missing)
    for space, fields, entries, depth in (
        (Space.MAC, mac_fields(config), image.mac, config.mac_depth),
        (Space.DRAIN, drain_fields(config), image.drain, config.drain_depth),
        (Space.SECTION, section_fields(config), sections, count),
    ):
        packed = [pack(fields, entry) for entry in entries]
        yield from _program(space, packed, layout_bits(fields), depth)
    yield Space.REGISTER, 0, Register.FRAME, image.frame


def image_mark(image: Image) -> int:
    """64 bits that tell images apart: the mark of a board that holds `image`, above LOADING."""
    digest = hashlib.sha256(repr(image).encode()).digest()
    return max(int.from_bytes(digest[:8], "little"), LOADING + 1)


def by_place(rows: Iterable[Write]) -> dict[tuple[int, int, int], int]:
    """The words by where they go."""
    return {(space, lane, address): word for space, lane, address, word in rows}


def alike(before: Image, after: Image) -> bool:
    """Whether two programs have the same schedule: what one leaves in memory does not matter to
    the other, beside the words that differ from the start."""
    return all(
        getattr(before, name) == getattr(after, name)
        for name in ("config", "timing", "mac", "drain", "sections", "frame")
    )


def _signed(value: int, bits: int, what: str) -> int:
    if not -(1 << bits - 1) <= value < 1 << bits - 1:
        raise ValueError(f"{what} = {value} does not fit in {bits} signed bits")
    return value & (1 << bits) - 1


def _words(
    space: Space, bank: Sequence[int], lane: int, bits: int, depth: int, clear: bool
) -> Iterator[Write]:
    """One lane's bank of signed words; with `clear` zeros up to `depth`."""
    if len(bank) > depth:
        raise ValueError(
            f"{space.name} lane {lane} has {len(bank)} words, the engine has {depth} per lane"
        )
    for address, value in enumerate(bank):
        where = f"{space.name} lane {lane} address {address}"
        yield space, lane, address, _signed(value, bits, where)
    if clear:
        yield from ((space, lane, address, 0) for address in range(len(bank), depth))


def _banks(
    space: Space,
    banks: Sequence[Sequence[int]],
    count: int,
    bits: int,
    depth: int,
    clear: bool,
) -> Iterator[Write]:
    if len(banks) > count:
        raise ValueError(f"{space.name} has {len(banks)} lanes, the engine has {count}")
    for lane in range(count if clear else len(banks)):
        bank = banks[lane] if lane < len(banks) else ()
        yield from _words(space, bank, lane, bits, depth, clear)


def _program(space: Space, entries: Sequence[int], bits: int, depth: int) -> Iterator[Write]:
    """Entries by columns. A program's end is in the program, so nothing needs clearing."""
    if len(entries) > depth:
        raise ValueError(f"{space.name} has {len(entries)} entries, the engine has {depth}")
    columns = -(-bits // COLUMN_BITS)
    for address, entry in enumerate(entries):
        for column in range(columns):
            part = entry >> COLUMN_BITS * column & (1 << COLUMN_BITS) - 1
            yield space, column, address, part
