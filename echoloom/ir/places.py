"""Whose value a value is: of which block, of which copy of its unit, and which coordinate.

Names print this and nothing else reads them: passes decide by what stands here.
"""

from __future__ import annotations

import enum
from collections.abc import Container
from dataclasses import dataclass, replace


class Copy(enum.Enum):
    """The copies of a unit: the forward pass moves the free one, the echo all three."""

    FREE = "free"
    PLUS = "plus"
    MINUS = "minus"


class Letter(enum.Enum):
    """The two halves of a unit's state."""

    POSITION = "q"
    MOMENTUM = "p"


@dataclass(frozen=True)
class Coordinate:
    """The position or the momentum of one copy of a block's unit."""

    block: int
    copy: Copy
    letter: Letter

    def __str__(self) -> str:
        return f"b{self.block}.{self.copy.value}.{self.letter.value}"


@dataclass(frozen=True)
class Place:
    """Where a value is computed: in a block, and there perhaps for one copy of its unit.

    `word` is what a value of a copy is called in every copy, and in both of the drifts that begin
    and end a step. Copies see the same function, and the drift that ends a step undoes the one that
    begins it, so words that are called alike share a format though their ranges differ a little.
    """

    block: int
    copy: Copy | None = None
    word: str = ""


@dataclass(frozen=True)
class Label:
    """What a value is going to be called, and its place; the values of one piece of code begin with
    a common label."""

    text: str
    place: Place | None = None

    def part(self, name: str, alike: str = "") -> Label:
        """The label of `name` within this one; `alike` is what a word that shares its formats is
        called, where that is not `name` too."""
        return self._with("." if self.text else "", name, alike or name)

    def unique(self, taken: Container[str]) -> Label:
        """This label, or with the first number that is not taken."""
        label, number = self, 1
        while label.text in taken:
            number += 1
            label = self._with("_", str(number), str(number))
        return label

    def _with(self, mark: str, name: str, alike: str) -> Label:
        place = self.place
        if place is not None and place.copy is not None:
            place = replace(place, word=f"{place.word}{mark if place.word else ''}{alike}")
        return Label(f"{self.text}{mark}{name}", place)


def block_label(block: int, copy: Copy | None = None) -> Label:
    """The label that everything of a block, or of a copy of its unit, begins with."""
    text = f"b{block}" if copy is None else f"b{block}.{copy.value}"
    return Label(text, Place(block, copy))
