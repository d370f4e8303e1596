"""Types of the IR: a shape and a number format.

A fixed-point format Q(integer, frac) holds signed words of integer + frac bits; a word w means
w * 2**-frac. Either part may be negative: Q(-3, 31) is a 28-bit word of numbers below 2**-4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Real:
    """Not yet quantised: a real number."""

    def __str__(self) -> str:
        return "real"


@dataclass(frozen=True)
class Q:
    """Signed fixed point of `width` bits; `frac` is one exponent, or one per element of axis 0.

    `columns`, of matrices, are added to it: one per element of axis 1, the least of them 0.
    """

    width: int
    frac: int | tuple[int, ...]
    columns: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"a fixed-point word needs at least one bit, got width {self.width}")

    @property
    def per_element(self) -> bool:
        return isinstance(self.frac, tuple) or bool(self.columns)

    @property
    def scalar_frac(self) -> int:
        """The one exponent; TypeError when the format has one per element."""
        if isinstance(self.frac, tuple) or self.columns:
            raise TypeError(f"{self} has one exponent per element where a single one is needed")
        return self.frac

    @property
    def fracs(self) -> tuple[int, ...]:
        return tuple(self.grid.reshape(-1).tolist())

    @property
    def grid(self) -> NDArray[np.int64]:
        """The exponents in a shape that broadcasts against the words'."""
        own = np.asarray(self.frac, np.int64)
        return own[..., None] + np.asarray(self.columns, np.int64) if self.columns else own

    def shifted(self, by: int) -> Q:
        """The same words meaning numbers 2**-by times as large."""
        if isinstance(self.frac, tuple):
            return replace(self, frac=tuple(f + by for f in self.frac))
        return replace(self, frac=self.frac + by)

    def rounded(self, frac: int) -> Q:
        """The format that holds every one of these words rounded to `frac` fraction bits."""
        return Q(max(self.width - (min(self.fracs) - frac) + 1, 2), frac)

    def vanishes(self, frac: int) -> bool:
        """Whether every one of these words rounds half to even to 0 at `frac` fraction bits."""
        return min(self.fracs) - frac >= self.width

    def with_columns(self, exponents: Sequence[int]) -> Q:
        """The format of a matrix whose columns have these exponents beside the format's own."""
        least = min(exponents)
        columns = tuple(e - least for e in exponents)
        return replace(self.shifted(least), columns=columns if any(columns) else ())

    def __str__(self) -> str:
        columns = f";{','.join(map(str, self.columns))}" if self.columns else ""
        if isinstance(self.frac, tuple):
            return f"Q({self.width}:{','.join(map(str, self.frac))}{columns})"
        return f"Q({self.width - self.frac},{self.frac}{columns})"


@dataclass(frozen=True)
class Type:
    """Shape (scalar, vector or matrix) and number format."""

    shape: tuple[int, ...]
    format: Q | Real

    @property
    def q(self) -> Q:
        """The fixed-point format; TypeError on a real type."""
        if not isinstance(self.format, Q):
            raise TypeError(f"{self} is not quantised yet")
        return self.format

    @property
    def size(self) -> int:
        size = 1
        for extent in self.shape:
            size *= extent
        return size

    def __str__(self) -> str:
        return f"{self.format}[{','.join(map(str, self.shape))}]"


def real(*shape: int) -> Type:
    return Type(tuple(shape), Real())


def largest(width: int) -> int:
    """Largest magnitude of a symmetric signed word; the most negative word counts as overflow."""
    return (1 << (width - 1)) - 1
