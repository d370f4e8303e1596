"""How the terms of a sum meet where their sizes are far apart.

A term is moved to its sum's grid by a weight that is a power of two, so it may be at most that many
bits coarser than another. A finer term is rounded first; one that is below half a unit at its
largest contributes nothing, whatever its words, and is left out.
"""

from __future__ import annotations

from echoloom.ir.formats import Q


def lift(narrow: int) -> int:
    """Bits by which a weight of `narrow` bits can shift a word to the left."""
    return narrow - 2


def vanishes(q: Q, frac: int) -> bool:
    """Whether every word of q rounds half to even to 0 at `frac` fraction bits."""
    return min(q.fracs) - frac >= q.width


def rounded(q: Q, frac: int) -> Q:
    """The format that holds every word of q rounded to `frac` fraction bits."""
    return Q(max(q.width - (min(q.fracs) - frac) + 1, 2), frac)
