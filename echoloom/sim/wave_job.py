"""What `waves.h` reads: which signals to show, in which clocks, and what they hold at first.

Tables are raw files of unsigned 64-bit integers, a row an item, as the script's. Texts are lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from echoloom.backends.engine.requests import PassRequest
from echoloom.backends.run.levels import Artifact
from echoloom.hdl.layouts import drain_entry, mac_entry
from echoloom.ir.contract import DrainEntry, Image, MacEntry, Space
from echoloom.ir.fields import drain_fields, mac_fields
from echoloom.sim.bench import WRITE, trace_layout
from echoloom.sim.script import WORDS, write_raw
from echoloom.sim.wave_signals import Element, drains, lanes, multiplications, vectors
from echoloom.sim.wave_window import Window

COLUMNS = 4  # 64-bit words of an entry
WORD = (1 << 64) - 1

Row = Sequence[int]


def save_job(
    directory: Path,
    artifact: Artifact,
    image: Image,
    passes: Sequence[PassRequest],
    windows: Sequence[Window],
) -> None:
    """Write the files beside a script of `passes`, which begins by loading `image`.

    Raises ValueError for an engine whose entries are too wide to be told apart.
    """
    elements = [element for vector in vectors(artifact) for element in vector.elements]
    slots: dict[tuple[int, int], int] = {}  # of (lane, address): values with one word share it
    for element in elements:
        slots.setdefault((element.lane, element.address), len(slots))
    tables: dict[str, Iterator[Row]] = {
        "windows": ((w.turn, w.section, w.first, w.last) for w in windows),
        "places": ((lane, address, slot) for (lane, address), slot in slots.items()),
        "starts": _starts(image, passes, slots),
        "entries": _entries(artifact),
        "trace_fields": iter([_trace_fields(artifact)]),
    }
    for name, rows in tables.items():
        words = [[value & WORD for value in row] for row in rows]
        write_raw(directory / f"{name}.bin", np.array(words, WORDS).tobytes())
    lines = [_signal(element, slots[element.lane, element.address]) for element in elements]
    write_raw(directory / "signals.txt", "".join(lines).encode())
    texts = [
        f"{number} {text}\n"
        for number, lane in enumerate(lanes(artifact))
        for text in lane.texts
    ]  # fmt: skip
    write_raw(directory / "texts.txt", "".join(texts).encode())


def _signal(element: Element, slot: int) -> str:
    """Path, the weights of its highest and lowest bit as powers of two, slot."""
    highest = element.width - 1 - element.frac
    return f"{element.scope}.{element.name} {highest} {-element.frac} {slot}\n"


def _starts(
    image: Image, passes: Sequence[PassRequest], slots: dict[tuple[int, int], int]
) -> Iterator[Row]:
    """Pass, slot, word: what the image holds before the first pass, and what a host writes."""
    word = (1 << image.config.word) - 1
    for (lane, address), slot in slots.items():
        own = image.vector[lane] if lane < len(image.vector) else ()
        yield 0, slot, (own[address] if address < len(own) else 0) & word
    for turn, request in enumerate(passes):
        for space, lane, address, value in request.writes:
            if space is Space.VECTOR and (lane, address) in slots:
                yield turn, slots[lane, address], value & word


def _entries(artifact: Artifact) -> Iterator[Row]:
    """Stream, section, the entry's bits, cycles, stage, the number of its text."""
    config = artifact.mapped.config
    texts = {lane.name: lane.texts for lane in lanes(artifact)}
    streams = (
        ("multiply", multiplications(artifact), mac_fields(config), mac_entry(config).size),
        ("drain", drains(artifact), drain_fields(config), drain_entry(config).size),
    )
    for stream, (lane, instructions, fields, bits) in enumerate(streams):
        if bits > 64 * COLUMNS:
            raise ValueError(f"a {lane} entry of {bits} bits is too wide for waves")
        for i in instructions:
            packed = _packed(i.entry, fields)
            columns = [packed >> 64 * column & WORD for column in range(COLUMNS)]
            text = texts[lane].index(i.text)
            yield (stream, int(i.section), *columns, i.cycles, i.entry.stage, text)


def _packed(entry: MacEntry | DrainEntry, fields: Mapping[str, int]) -> int:
    """An entry's bits, the first field lowest."""
    packed = offset = 0
    for name, bits in fields.items():
        packed |= (int(getattr(entry, name)) & (1 << bits) - 1) << offset
        offset += bits
    return packed


def _trace_fields(artifact: Artifact) -> Row:
    """Drains, where their writes begin, and the bits of a lane, an address and a value."""
    layout = trace_layout(artifact.mapped.config)
    array = layout["drains"]
    drain = array.shape.elem_shape
    widths = [drain[name].width for name in WRITE]
    if widths[0] != 1 or drain.size != sum(widths):
        raise AssertionError("a write is its fields, one after the other")
    return (array.shape.length, array.offset, *widths[1:])
