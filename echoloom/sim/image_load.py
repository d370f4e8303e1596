"""Turn an engine image into the host bus writes that load it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from echoloom.ir.engine import (
    DRAIN_LAYOUT,
    MAC_LAYOUT,
    SECTION_LAYOUT,
    Image,
    Register,
    Section,
    SectionEntry,
    Space,
    layout_bits,
    pack,
)

ACCESS = np.dtype(
    [("write", "u1"), ("space", "u1"), ("lane", "u1"), ("address", "u2"), ("data", "u8")]
)
"""One host bus access, the payload of the `request` stream."""

COLUMN = 64  # bits of a program entry that one access carries

Write = tuple[int, int, int, int]  # space, lane, address, data


def writes(items: Iterable[Write]) -> np.ndarray:
    """ACCESS array of writes (space, lane, address, data); data is taken modulo 2**64."""
    mask = (1 << 64) - 1
    rows = [(1, space, lane, address, data & mask) for space, lane, address, data in items]
    return np.array(rows, dtype=ACCESS)


def reads(items: Iterable[tuple[int, int, int]]) -> np.ndarray:
    """ACCESS array of reads (space, lane, address)."""
    return np.array([(0, *item, 0) for item in items], dtype=ACCESS)


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
    columns = -(-bits // COLUMN)
    for address, entry in enumerate(entries):
        for column in range(columns):
            yield space, column, address, entry >> COLUMN * column & (1 << COLUMN) - 1


def _load(image: Image, clear: bool) -> Iterator[Write]:
    config = image.config
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
        Space.EXPONENT, image.exponent, config.drains, COLUMN, config.exponent_depth, clear
    )
    mac = [pack(MAC_LAYOUT, entry) for entry in image.mac]
    yield from _program(Space.MAC, mac, layout_bits(MAC_LAYOUT), config.mac_depth)
    drain = [pack(DRAIN_LAYOUT, entry) for entry in image.drain]
    yield from _program(Space.DRAIN, drain, layout_bits(DRAIN_LAYOUT), config.drain_depth)
    for section in Section:
        # A section that the image does not name must not run an older image's program.
        listed = section < len(image.sections)
        entry = image.sections[section] if listed else SectionEntry(0, 0, 0)
        yield Space.SECTION, 0, int(section), pack(SECTION_LAYOUT, entry)
    yield Space.REGISTER, 0, Register.FRAME, image.frame


def load_image(image: Image, clear: bool = False) -> np.ndarray:
    """ACCESS array of the writes that load `image` into an idle engine.

    Fresh memories are zero, so only the image's own words are written; with `clear` every word
    of the data memories is, which makes the load right after any other image.

    Raises ValueError if the image does not fit its own config.
    """
    if not 0 <= image.frame <= image.config.frame_depth:
        raise ValueError(
            f"a frame of {image.frame} elements does not fit frame_depth {image.config.frame_depth}"
        )
    return writes(_load(image, clear))
