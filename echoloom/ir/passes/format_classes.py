"""Words that share one format, as frozen classes."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from echoloom.ir.formats import Q
from echoloom.ir.printer import columns
from echoloom.ir.word import Word


class Basis(enum.Enum):
    """What a format rests on: why its words should stay inside.

    From the first to the last but one each is a better reason than the one before; an explicit
    format is somebody's own choice, whatever its words do.
    """

    OBSERVED = "observed"  # the calibration's samples, with a margin
    WEIGHTS = "weights"  # the coefficients' present size, with a margin
    FUNCTION = "function"  # a bounded function's results
    PROVEN = "proven"  # no input that has a format of its own can drive a word out
    EXPLICIT = "explicit"

    @property
    def rank(self) -> int:
        return list(Basis).index(self)


def finest(largest: float, width: int, margin: int) -> int:
    """The exponent that leaves `margin` bits above words of this size."""
    return width - 1 - (math.floor(math.log2(largest)) + 1) - margin


def joint_basis(one: Basis, other: Basis) -> Basis:
    """Of words that share a format: the weaker of two reasons, unless one is explicit."""
    if Basis.EXPLICIT in (one, other):
        return Basis.EXPLICIT
    return min(one, other, key=lambda basis: basis.rank)


@dataclass(frozen=True)
class FormatClass:
    """What words ask of the one format that they share."""

    range: float
    width: int
    margin: int
    state: bool = False  # moves by increments, and wraps
    factor: bool = False  # a table's result that is multiplied by run-time words: kept narrow
    basis: Basis = Basis.OBSERVED
    explicit: int | None = None  # the exponent that somebody has chosen

    def finest(self, width: int) -> int:
        """Fraction bits of a word of `width` bits that holds the range and no more."""
        return finest(self.range or 1.0, width, self.margin)

    @property
    def exponent(self) -> int:
        """Fraction bits of its words, where what they are cut from has as many."""
        return self.finest(self.width) if self.explicit is None else self.explicit

    def joined(self, other: FormatClass) -> FormatClass:
        return FormatClass(
            max(self.range, other.range),
            max(self.width, other.width),
            max(self.margin, other.margin),
            self.state or other.state,
            self.factor or other.factor,
            joint_basis(self.basis, other.basis),
        )


@dataclass(frozen=True)
class Formats:
    """Every word's class, each called by one of its words, and the fraction bits that a class can
    have at most because of what its words are cut from; and how large a word can be made by any
    input at all, where that was looked for: infinity where it is not known."""

    names: Mapping[Word, Word]
    classes: Mapping[Word, FormatClass]
    caps: Mapping[Word, int] = field(default_factory=dict)
    bounds: Mapping[Word, float] = field(default_factory=dict)

    def __str__(self) -> str:
        """A line for every word, those of a class together: its format, what that rests on, the
        range and the spare bits that it comes from, and how large any input can make it; "capped"
        where what its words are cut from has no more bits."""
        rows = [("format", "basis", "range", "margin", "bound", "", "section", "word")]
        order = {name: number for number, name in enumerate(self.classes)}
        for word in sorted(self.names, key=lambda word: order[self.names[word]]):
            own, q = self.of(word), self.q(word)
            capped = "capped" if q.scalar_frac < own.exponent else ""
            section = word.section.name.lower() if word.section is not None else ""
            bound = f"{self.bounds[word]:.6g}" if word in self.bounds else ""
            rows.append(
                (
                    str(q), own.basis.value, f"{own.range:.6g}", str(own.margin), bound, capped,
                    section, word.name,
                )
            )  # fmt: skip
        return columns(rows)

    def __contains__(self, word: Word) -> bool:
        return word in self.names

    def of(self, word: Word) -> FormatClass:
        return self.classes[self.names[word]]

    def q(self, word: Word) -> Q:
        own = self.of(word)
        frac = own.exponent
        return Q(own.width, min(frac, self.caps.get(self.names[word], frac)))

    def with_exponents(self, exponents: Mapping[Word, int]) -> Formats:
        """The same classes, some with exponents that somebody has chosen: by any of their words.
        ValueError where two words of a class are to have different ones."""
        classes, said = dict(self.classes), dict[Word, Word]()
        for word, frac in exponents.items():
            name = self.names[word]
            if name in said and frac != classes[name].explicit:
                raise ValueError(
                    f"{word} and {said[name]} share one format, but are given two exponents, "
                    f"{frac} and {classes[name].explicit}"
                )
            classes[name] = replace(classes[name], explicit=frac, basis=Basis.EXPLICIT)
            said[name] = word
        return replace(self, classes=classes)

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
