"""Units of work that the scheduler orders: multiply segments, then perhaps one drain."""

from __future__ import annotations

from dataclasses import dataclass

from echoloom.ir.contract import DrainEntry, MacEntry


@dataclass(frozen=True)
class Read:
    """A vector-memory word that a task needs: row group `group` of `value`.

    For multiply operands `first` and `last` are the cycles, from the segment's start, in which it
    is read; base words are read in the drain.
    """

    value: str
    group: int
    first: int = 0
    last: int = 0


@dataclass(frozen=True)
class Segment:
    """One MacEntry (its start and slot not yet known) and what it reads."""

    entry: MacEntry
    reads: tuple[Read, ...]

    @property
    def cycles(self) -> int:
        return self.entry.inner * self.entry.outer


@dataclass(frozen=True)
class Task:
    """Segments that run back to back; a `drain` writes row group `group` of `value`.

    `replaces` names the state whose old words the drain overwrites.
    """

    label: str
    segments: tuple[Segment, ...]
    drain: DrainEntry | None = None
    base: Read | None = None
    value: str = ""
    group: int = 0
    replaces: str = ""

    @property
    def cycles(self) -> int:
        return sum(s.cycles for s in self.segments)

    @property
    def reads(self) -> tuple[Read, ...]:
        return tuple(r for s in self.segments for r in s.reads)
