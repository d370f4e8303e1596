"""Where vectors provably lie: affine arithmetic, which remembers what two values have in common.

A *form* is a vector of numbers of which all that is known is

    centre + sum over sources of matrix @ source + something within +-radius, element by element

where the elements of a source are any numbers in [-1, 1]. Sums and products with known numbers keep
it exact, so W2 (W1 x) is bounded by |W2 W1| and not by |W2| |W1|. What bends makes a new source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Form:
    """centre [n], terms [n, elements of the source] by source, radius [n]; a scalar has n = 1."""

    centre: Floats
    radius: Floats
    terms: Mapping[str, Floats] = field(default_factory=dict)

    @cached_property
    def spread(self) -> Floats:
        """How far it can get from its centre, by element."""
        spread = self.radius
        for matrix in self.terms.values():
            spread = spread + np.abs(matrix).sum(1)
        return spread

    @property
    def low(self) -> Floats:
        return self.centre - self.spread

    @property
    def high(self) -> Floats:
        return self.centre + self.spread

    @property
    def reach(self) -> Floats:
        """The largest magnitude, by element."""
        return np.abs(self.centre) + self.spread

    @property
    def is_known(self) -> bool:
        """Whether it is one vector of numbers."""
        return not self.terms and not self.radius.any()

    def plus(self, other: Form, sign: float = 1.0) -> Form:
        """The sum with another one times +-1; one of a single element is added to all."""
        names = dict.fromkeys((*self.terms, *other.terms))
        size = max(len(self.centre), len(other.centre))
        terms = {}
        for name in names:
            parts = [f * m for f, m in ((1.0, self.terms.get(name)), (sign, other.terms.get(name)))
                     if m is not None]  # fmt: skip
            terms[name] = np.broadcast_to(sum(parts[1:], parts[0]), (size, parts[0].shape[1]))
        return Form(self.centre + sign * other.centre, self.radius + other.radius, terms)

    def times(self, numbers: Floats) -> Form:
        """Each element times a number, or one element times each of many."""
        numbers = np.atleast_1d(numbers)
        return Form(
            self.centre * numbers,
            self.radius * np.abs(numbers),
            {name: matrix * numbers[:, None] for name, matrix in self.terms.items()},
        )

    def under(self, matrix: Floats) -> Form:
        """matrix @ it."""
        return Form(
            matrix @ self.centre,
            np.abs(matrix) @ self.radius,
            {name: matrix @ own for name, own in self.terms.items()},
        )

    def blurred(self, by: Floats | float) -> Form:
        """With an error of at most so much added to each element."""
        return replace(self, radius=self.radius + by)


def known(numbers: Floats) -> Form:
    numbers = np.atleast_1d(np.asarray(numbers, np.float64))
    return Form(numbers, np.zeros_like(numbers))


def between(low: Floats, high: Floats) -> Form:
    """Anything between two vectors, which has nothing in common with anything."""
    return Form(0.5 * (low + high), 0.5 * (high - low))


def within(name: str, low: Floats, high: Floats) -> Form:
    """Anything between two vectors: a source of its own, which `name` calls."""
    low, high = (np.atleast_1d(np.asarray(end, np.float64)) for end in (low, high))
    if np.array_equal(low, high):
        return known(low)
    centre = 0.5 * (low + high)
    return Form(centre, np.zeros_like(centre), {name: np.diag(high - centre)})


def product(name: str, a: Form, b: Form, same: bool = False) -> Form:
    """Element by element, of two values or of one with itself."""
    if a.is_known or b.is_known:
        one, other = (b, a) if a.is_known else (a, b)
        return one.times(other.centre)
    ends = [x * y for x in (a.low, a.high) for y in (b.low, b.high)]
    low = np.minimum.reduce(np.broadcast_arrays(*ends))
    if same:
        low = np.maximum(low, 0.0)
    return within(name, low, np.maximum.reduce(np.broadcast_arrays(*ends)))
