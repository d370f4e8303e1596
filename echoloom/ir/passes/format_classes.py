"""Words that share one format, as frozen classes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from echoloom.ir.formats import Q
from echoloom.ir.printer import columns
from echoloom.ir.sections import Section


class Word(NamedTuple):
    """A value of one section, or of the whole program (None): a state or a coefficient."""

    section: Section | None
    name: str


def finest(largest: float, width: int, margin: int) -> int:
    """The exponent that leaves `margin` bits above words of this size."""
    return width - 1 - (math.floor(math.log2(largest)) + 1) - margin


@dataclass(frozen=True)
class FormatClass:
    """What words ask of the one format that they share."""

    range: float
    width: int
    margin: int
    state: bool = False  # moves by increments, and wraps
    factor: bool = False  # a table's result that is multiplied by run-time words: kept narrow

    def finest(self, width: int) -> int:
        """Fraction bits of a word of `width` bits that holds the range and no more."""
        return finest(self.range or 1.0, width, self.margin)

    def joined(self, other: FormatClass) -> FormatClass:
        return FormatClass(
            max(self.range, other.range),
            max(self.width, other.width),
            max(self.margin, other.margin),
            self.state or other.state,
            self.factor or other.factor,
        )


@dataclass(frozen=True)
class Formats:
    """Every word's class, each called by one of its words, and the fraction bits that a class can
    have at most because of what its words are cut from."""

    names: Mapping[Word, Word]
    classes: Mapping[Word, FormatClass]
    caps: Mapping[Word, int] = field(default_factory=dict)

    def __str__(self) -> str:
        """A line for every word, those of a class together: its format, and the range and the spare
        bits that it comes from; "capped" where what its words are cut from has no more bits."""
        rows = [("format", "range", "margin", "", "section", "word")]
        order = {name: number for number, name in enumerate(self.classes)}
        for word in sorted(self.names, key=lambda word: order[self.names[word]]):
            own, q = self.of(word), self.q(word)
            capped = "capped" if q.scalar_frac < own.finest(own.width) else ""
            section = word.section.name.lower() if word.section is not None else ""
            rows.append((str(q), f"{own.range:.6g}", str(own.margin), capped, section, word.name))
        return columns(rows)

    def __contains__(self, word: Word) -> bool:
        return word in self.names

    def of(self, word: Word) -> FormatClass:
        return self.classes[self.names[word]]

    def q(self, word: Word) -> Q:
        own = self.of(word)
        frac = own.finest(own.width)
        return Q(own.width, min(frac, self.caps.get(self.names[word], frac)))

    def capped(self, limits: Iterable[tuple[Word, int]]) -> Formats:
        """The same classes with no more fraction bits than these limits on their words."""
        caps = dict(self.caps)
        for word, frac in limits:
            if frac < self.q(word).scalar_frac:
                caps[self.names[word]] = min(frac, caps.get(self.names[word], frac))
        return replace(self, caps=caps)


def grouped(
    needs: Iterable[tuple[Word, FormatClass]], alike: Iterable[tuple[Word, Word]]
) -> Formats:
    """The classes of words with these needs, of which pairs are to be alike."""
    needs = tuple(needs)
    parents = {word: word for word, _ in needs}

    def root(word: Word) -> Word:
        while parents[word] != word:
            word = parents[word]
        return word

    for a, b in alike:
        parents[root(b)] = root(a)
    classes: dict[Word, FormatClass] = {}
    for word, need in needs:
        name = root(word)
        classes[name] = need.joined(classes[name]) if name in classes else need
    return Formats({word: root(word) for word in parents}, classes)
