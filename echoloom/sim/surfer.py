"""A command file for Surfer: signals under the program's names, fixed-point words as numbers.

Written for Surfer 0.7, whose `docs/commands` lists the commands. It takes the place of a point from
the signal's lowest bit, which has the number -frac, and a lane's texts from the FST file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from echoloom.sim.wave_layout import Group
from echoloom.sim.wave_signals import ROOT, Element, Lane

FIXED = "Signed fixed point"


def command_file(groups: Sequence[Group]) -> str:
    """What `surfer FILE.fst --command-file FILE.sucl` does first."""
    return "".join(f"{line}\n" for line in (*_commands(groups), "zoom_fit"))


def _commands(groups: Sequence[Group]) -> Iterator[str]:
    shown = 0
    for group in groups:
        yield f"divider_add {group.name}"
        shown += 1
        for item in group.items:
            if isinstance(item, str | Lane):
                yield f"variable_add {item if isinstance(item, str) else item.path}"
                if isinstance(item, Lane) and not item.texts:
                    yield from _format(shown, "Unsigned")
                shown += 1
                continue
            for element in item.elements:
                yield f"variable_add {_path(element)}"
                yield from _format(shown, FIXED)
                shown += 1


def _format(row: int, name: str) -> Iterator[str]:
    """What is added next would come after the focused row, not after the last one."""
    yield from (f"item_focus {_letters(row)}", f"item_set_format {name}", "item_unfocus")


def _path(element: Element) -> str:
    """Surfer has a vector as a scope, and its elements in there."""
    if element.index is None:
        return element.path
    return f"{ROOT}.{element.scope}.{element.vector}.[{element.index}]"


def _letters(index: int) -> str:
    """The name of a row: its number in hexadecimal digits from a to p."""
    return f"{index:x}".translate(str.maketrans("0123456789abcdef", "abcdefghijklmnop"))
