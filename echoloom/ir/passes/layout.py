"""Where everything lives: banked vectors, weight matrices, gradient words.

Element i of a vector is in bank i mod P. A matrix is banked by rows ("rows": W x broadcasts x and
sums in each lane) or by columns (the transposed matrix banked by rows: W x goes through the adder
tree); whichever takes fewer cycles.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

Key = TypeVar("Key")


class Orientation(enum.Enum):
    ROWS = "rows"
    COLUMNS = "columns"


def groups(size: int, lanes: int) -> int:
    """Row groups that a vector of `size` elements takes on `lanes` banks."""
    return -(-size // lanes)


def in_group(size: int, group: int, lanes: int) -> int:
    """Elements of a vector in its row group `group`."""
    return min(lanes, size - group * lanes)


def orientation(rows: int, columns: int, lanes: int) -> Orientation:
    """The cheaper orientation; rows on a tie."""
    by_rows, by_columns = groups(rows, lanes) * columns, groups(columns, lanes) * rows
    return Orientation.COLUMNS if by_columns < by_rows else Orientation.ROWS


@dataclass(frozen=True)
class Place:
    """A vector or matrix in a banked memory, first word at `address`.

    A matrix is stored as `rows` x `columns` in its orientation's sense: word address
    address + (row // P) * columns + column, bank row mod P.
    """

    address: int
    rows: int
    columns: int = 1
    orientation: Orientation = Orientation.ROWS

    def words(self, lanes: int) -> int:
        return groups(self.rows, lanes) * self.columns

    def elements(self, lanes: int) -> Iterator[tuple[int, int, int]]:
        """(flat index in the tensor's own row-major order, lane, address) of every element."""
        for row in range(self.rows):
            for column in range(self.columns):
                address = self.address + (row // lanes) * self.columns + column
                if self.orientation is Orientation.ROWS:
                    index = row * self.columns + column
                else:
                    index = column * self.rows + row
                yield index, row % lanes, address


@dataclass(frozen=True)
class Extent:
    """A vector or matrix that has no place yet: `rows` x `columns` as in `Place`."""

    rows: int
    columns: int = 1
    orientation: Orientation = Orientation.ROWS


def matrix(shape: tuple[int, ...], way: Orientation) -> Extent:
    """What a tensor of this shape takes when it is banked this way."""
    rows, columns = shape if way is Orientation.ROWS else shape[::-1]
    return Extent(rows, columns, way)


@dataclass(frozen=True)
class Memory:
    """What is in the first `used` words of one banked memory."""

    lanes: int
    used: int = 0
    places: Mapping[str, Place] = field(default_factory=dict)


def in_a_row(lanes: int, tensors: Iterable[tuple[Key, Extent]]) -> dict[Key, Place]:
    """Consecutive words for these tensors."""
    places: dict[Key, Place] = {}
    used = 0
    for key, extent in tensors:
        places[key] = Place(used, extent.rows, extent.columns, extent.orientation)
        used += places[key].words(lanes)
    return places


def memory(lanes: int, places: Mapping[str, Place]) -> Memory:
    """A memory that ends with the last word of these tensors."""
    used = max((p.address + p.words(lanes) for p in places.values()), default=0)
    return Memory(lanes, used, places)


def filled(lanes: int, tensors: Iterable[tuple[str, Extent]]) -> Memory:
    """A memory with these tensors in consecutive words."""
    return memory(lanes, in_a_row(lanes, tensors))
