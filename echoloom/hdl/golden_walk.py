"""How an engine goes through a stream of entries: the golden twin of fetch and issue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from echoloom.ir.contract import DrainEntry, MacEntry

Entry = TypeVar("Entry", MacEntry, DrainEntry)


@dataclass
class EntryWalk(Generic[Entry]):
    """Takes each entry in the cycle that it names, from memory word `address` on, and counts its
    elements, one a cycle. What is `taken` stays as it is, whatever becomes of the memory.

    `drains`: results of a chunk of drain entries; `number`: of the next element.
    """

    address: int
    drains: int = 1
    taken: Entry | None = None
    number: int = 0

    def element(self, program: Sequence[Entry], time: int) -> tuple[Entry, int, int] | None:
        """The entry, row and place in it of what is issued in cycle `time`, if anything is.

        Raises IndexError behind a program that has no end.
        """
        entry = self.taken
        if entry is None:
            while (entry := program[self.address]).start == time and not self._size(entry):
                self.address += 1
            if entry.start != time:
                return None
            self.taken, self.number = entry, 0
        number, self.number = self.number, self.number + 1
        if self.number == self._size(entry):
            self.taken = None
            self.address += 1
        row = entry.inner if isinstance(entry, MacEntry) else self._size(entry)
        return entry, *divmod(number, row)

    def _size(self, entry: Entry) -> int:
        if isinstance(entry, MacEntry):
            return entry.outer * entry.inner
        return -(-entry.count // self.drains)
