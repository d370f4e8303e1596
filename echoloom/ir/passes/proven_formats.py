"""Formats that are proven to hold, and what proofs would let formats do without."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from echoloom.ir.formats import Q, largest
from echoloom.ir.passes.format_classes import Basis, Formats
from echoloom.ir.passes.proofs import Bounds
from echoloom.ir.word import Word

# What emission calls words that are cut from another, or on the way to it.
PARTS = ("narrow", "rounded", "base", "term", "next")
REPLACED = (Basis.OBSERVED, Basis.WEIGHTS)  # what a proof is a better reason than
CLOSE = 1.0 + 2.0**-12  # of a bound: the rounding of other formats than the present ones


def with_proofs(formats: Formats, found: Bounds) -> Formats:
    """The same formats with the bounds of their words: proven are those classes of which every word
    that is stored, and every copy that is cut from one, stays in its format."""
    reaches: dict[Word, float] = {}
    fits: dict[Word, bool] = {}
    for word, bound in found.words.items():
        owner = _owner(formats, word)
        if owner is None:
            continue
        name = formats.names[owner]
        fits[name] = fits.get(name, True) and bound.fits
        if owner.name == word.name:
            reaches[owner] = max(bound.reach, reaches.get(owner, 0.0))
    classes = {
        name: replace(own, basis=Basis.PROVEN)
        if own.basis in REPLACED and fits.get(name, False)
        else own
        for name, own in formats.classes.items()
    }
    return replace(formats, classes=classes, bounds=reaches)


def _owner(formats: Formats, word: Word) -> Word | None:
    """The word of a format class that a word of the integer program is, or is cut from."""
    base, _, part = word.name.rpartition(".")
    names = (word.name, base) if part in PARTS else (word.name,)
    for name in names:
        for own in (Word(word.section, name), Word(None, name)):
            if own in formats:
                return own
    return None


def without_margin(formats: Formats) -> dict[Word, Q]:
    """What proven classes need and no more, each by the word that calls it, where that is finer
    than what they have: head-room is for what is not proven.

    They are to be tried, and proven anew: a class has what its words are cut from at the most, and
    finer words have other roundings.
    """
    largest_of: dict[Word, float] = {}
    for word, reach in formats.bounds.items():
        name = formats.names[word]
        largest_of[name] = max(reach, largest_of.get(name, 0.0))
    found = {}
    for name, reach in largest_of.items():
        own, q = formats.classes[name], formats.q(name)
        if own.basis is not Basis.PROVEN or reach <= 0.0:
            continue
        finest = math.floor(math.log2(largest(q.width) / (reach * CLOSE)))
        if finest > q.scalar_frac:
            found[name] = Q(q.width, finest)
    return found


def unproven(formats: Formats) -> Mapping[Word, float]:
    """By the word that calls a class that is observed only: how many times as large as what the
    class holds its words could get, infinity where that is not known."""
    worst: dict[Word, float] = {}
    for word, reach in formats.bounds.items():
        name, q = formats.names[word], formats.q(word)
        share = reach / (largest(q.width) * 2.0**-q.scalar_frac)
        if formats.classes[name].basis is Basis.OBSERVED:
            worst[name] = max(share, worst.get(name, 0.0))
    return worst
