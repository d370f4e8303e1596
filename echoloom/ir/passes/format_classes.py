"""Words that must share one format, as classes that grow while a program is looked at."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from echoloom.ir.formats import Q


def finest(largest: float, width: int, margin: int) -> int:
    """The exponent that leaves `margin` bits above words of this size."""
    return width - 1 - (math.floor(math.log2(largest)) + 1) - margin


@dataclass
class FormatClass:
    """Words that must share one format."""

    range: float = 0.0
    width: int = 0
    margin: int = 0
    cap: int = 1 << 20
    state: bool = False
    factor: bool = False  # a table's result that is multiplied by run-time words: kept narrow

    @property
    def frac(self) -> int:
        return min(self.finest(self.width), self.cap)

    def finest(self, width: int) -> int:
        """Fraction bits of a word of `width` bits that holds the range and no more."""
        return finest(self.range or 1.0, width, self.margin)


@dataclass
class Formats:
    parent: dict[str, str] = field(default_factory=dict)
    classes: dict[str, FormatClass] = field(default_factory=dict)

    def find(self, key: str) -> str:
        while self.parent[key] != key:
            key = self.parent[key]
        return key

    def add(self, key: str, largest: float, width: int, margin: int, state: bool = False) -> None:
        if key not in self.parent:
            self.parent[key] = key
            self.classes[key] = FormatClass()
        group = self.classes[self.find(key)]
        group.range = max(group.range, largest)
        group.width = max(group.width, width)
        group.margin = max(group.margin, margin)
        group.state |= state

    def unite(self, a: str, b: str) -> None:
        a, b = self.find(a), self.find(b)
        if a == b:
            return
        other = self.classes.pop(b)
        self.parent[b] = a
        self.add(a, other.range, other.width, other.margin, other.state)
        self.of(a).factor |= other.factor

    def of(self, key: str) -> FormatClass:
        return self.classes[self.find(key)]

    def q(self, key: str) -> Q:
        group = self.of(key)
        return Q(group.width, group.frac)
