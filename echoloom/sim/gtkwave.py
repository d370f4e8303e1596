"""A GTKWave save file: signals under the program's names, fixed-point words as numbers.

Written for GTKWave 3.3.118, whose `savefile.c` and `analyzer.h` define the format.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from echoloom.sim.wave_layout import Group
from echoloom.sim.wave_signals import Element, Lane, Vector

OPEN = 8  # elements of a vector that are shown at once; more are folded away
FURTHEST = 255  # bits by which GTKWave moves a point to the left; it cannot move it to the right


class Flag(enum.IntFlag):
    """How a trace is shown."""

    HEX = 1 << 1
    DECIMAL = 1 << 2
    BINARY = 1 << 3
    RIGHT = 1 << 5
    BLANK = 1 << 9
    SIGNED = 1 << 10
    COLLAPSED = 1 << 12
    CLOSED = 1 << 22
    GROUP_BEGIN = 1 << 23
    GROUP_END = 1 << 24
    POINT = 1 << 30
    TEXT = 1 << 32 | 1 << 3  # GTKWave wants binary beside it


def save_file(fst: Path, groups: Sequence[Group], start: int) -> str:
    """What `gtkwave FILE.gtkw` shows of the file `fst`, from the time `start` on."""
    head = (
        f'[dumpfile] "{fst.absolute()}"',
        f'[savefile] "{fst.with_suffix(".gtkw").absolute()}"',
        f"[timestart] {start}",
        "[size] 1400 900",
        "*-6.4 -1" + " -1" * 26,  # 0.4 ns a pixel; no markers
        "[sst_width] 200",
        "[signals_width] 300",
        "[sst_expanded] 0",
    )
    return "".join(f"{line}\n" for line in (*head, *_groups(groups)))


def _groups(groups: Iterable[Group]) -> Iterator[str]:
    for group in groups:
        yield from _group(group.name, False, (line for item in group.items for line in _item(item)))


def _group(name: str, closed: bool, lines: Iterable[str]) -> Iterator[str]:
    begin, end = Flag.GROUP_BEGIN | Flag.BLANK, Flag.GROUP_END | Flag.BLANK
    if closed:
        begin, end = begin | Flag.CLOSED, end | Flag.CLOSED | Flag.COLLAPSED
    yield from (f"@{begin:x}", f"-{name}")
    yield from lines
    yield from (f"@{end:x}", f"-{name}")


def _item(item: Lane | Vector | str) -> Iterator[str]:
    if isinstance(item, str):
        yield from (f"@{Flag.HEX | Flag.RIGHT:x}", item)
    elif isinstance(item, Lane):
        shown = Flag.TEXT if item.texts else Flag.DECIMAL
        yield from (f"@{shown | Flag.RIGHT:x}", f"+{{{item.name}}} {item.path}[31:0]")
    elif len(item.elements) == 1:
        yield from _element(item.elements[0])
    else:
        lines = (line for element in item.elements for line in _element(element))
        yield from _group(item.name, len(item.elements) > OPEN, lines)


def _element(element: Element) -> Iterator[str]:
    flags = Flag.SIGNED | Flag.RIGHT
    if 0 < element.frac <= FURTHEST:
        flags |= Flag.POINT
        yield f"[fpshift_count] {element.frac}"
    yield f"@{flags:x}"
    name = f"{element.path}[{element.width - 1 - element.frac}:{-element.frac}]"
    yield f"+{{{element.name} {element.format}}} {name}"
