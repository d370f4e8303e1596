"""What the passes refuse, as data: a sentence with the program's values in it, and where.

`str` says it of the program, whose values have names; `of_a_model` says it to somebody who wrote a
model and knows none of these names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from echoloom.ir.places import Place


@dataclass(frozen=True)
class Value:
    """A value of a program, as a sentence mentions it; `block` is whose it is, if a block's."""

    name: str
    block: int | None = None

    @classmethod
    def of(cls, name: str, place: Place | None) -> Value:
        """The value of this name, which is computed at `place`."""
        return cls(name, None if place is None else place.block)

    def __str__(self) -> str:
        return self.name


Part = str | Value


class Refused(ValueError):
    """A program that cannot be had: parts of a sentence, and the places that it is said of."""

    def __init__(self, *parts: Part):
        super().__init__(*parts)
        self.where: tuple[Part, ...] = ()

    def __str__(self) -> str:
        return "".join(f"{place}: " for place in self.where) + "".join(map(str, self.args))

    def at(self, *where: Part) -> Self:
        """The same, said of a place: a section, a value in it."""
        self.where = (*where, *self.where)
        return self

    @property
    def block(self) -> int | None:
        """Of the first value of a block that is mentioned."""
        said = (*self.where, *self.args)
        blocks = [p.block for p in said if isinstance(p, Value) and p.block is not None]
        return blocks[0] if blocks else None

    def of_a_model(self) -> str:
        """The sentence without names of values, which no user knows."""
        return "".join("a value" if isinstance(p, Value) else p for p in self.args)
