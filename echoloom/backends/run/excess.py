"""A word that left its range, and what is raised when one did."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from echoloom.backends.run.integers import Floats


@dataclass(frozen=True)
class Excess:
    """A word that left its range, the first of its run to do so.

    `overflow`: a state that wrapped or a sum over time, so that nothing after it means anything;
    otherwise it was clamped. `value` is the number before that, `limit` the largest that its
    `format` holds. `step` counts the samples from 1, in an echo too, which meets them backwards;
    None outside of the steps. `block` is None outside of the blocks, `sequence` and `update` where
    there is only one, or none.
    """

    overflow: bool
    section: str
    signal: str
    element: tuple[int, ...]
    block: int | None
    step: int | None
    steps: int
    value: float
    limit: float
    format: str
    sequence: int | None = None
    update: int | None = None

    def __str__(self) -> str:
        element = f"[{', '.join(map(str, self.element))}]" if self.element else ""
        block = "" if self.block is None else f" of block {self.block}"
        sweep = "echo" if self.section.startswith("echo") else "forward sweep"
        when = f"the {sweep}'s {self.section.partition('_')[2]}"
        if self.step is not None:
            when = f"step {self.step} of {self.steps} of the {sweep}"
        said = (
            f"{self.signal}{element}{block} reaches {self.value:.6g} at {when}, but its format "
            f"{self.format} holds at most {self.limit:.6g}"
        )
        if self.sequence is not None:
            said = f"in sequence {self.sequence} {said}"
        return said if self.update is None else f"before update {self.update} {said}"


@dataclass(frozen=True)
class Excesses:
    """The first overflow and the first clamped word of a run; None where there was none. Nothing
    after an overflow is looked at."""

    overflow: Excess | None = None
    clamp: Excess | None = None

    def numbered(self, sequence: int, update: int | None = None) -> Excesses:
        """The same, of one sequence of many."""

        def own(found: Excess | None) -> Excess | None:
            return found and replace(found, sequence=sequence, update=update)

        return Excesses(own(self.overflow), own(self.clamp))

    def __iter__(self) -> Iterator[Excess]:
        return (found for found in (self.clamp, self.overflow) if found is not None)


@dataclass(frozen=True, eq=False)
class Kept:
    """A word that left its range, and the sequence that drove it out: x [T, inputs], and a label or
    targets where it was an echo's."""

    excess: Excess
    x: Floats
    label: Any = None


Locate = Callable[[], Kept | None]


def nowhere() -> None:
    """Locates nothing."""


class Overflowed(ArithmeticError):
    """The fabric would have raised its overflow flag: the numbers mean nothing.

    `kept` has the word that left its range first and the sequence that drove it out; None where
    that could not be found again.
    """

    def __init__(self, sentence: str, kept: Kept | None = None):
        super().__init__(sentence)
        self.kept = kept

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (str(self), self.kept), self.__dict__


def said(kept: Kept | None) -> str:
    """What overflowed, as far as it is known."""
    return "the state path or an accumulator overflowed" if kept is None else str(kept.excess)


def overflowed(kept: Kept | None) -> Overflowed:
    """What to raise of one sequence."""
    return Overflowed(
        f"this sequence overflows: {said(kept)}, so its numbers mean nothing; compile with "
        "samples that cover its range, or with more margin",
        kept,
    )
