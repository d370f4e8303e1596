"""Which steps waves show: a few around one, since a whole sequence is millions of clocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from echoloom.backends.run.levels import Artifact
from echoloom.ir.sections import ECHO, FORWARD, STEPS, Section
from echoloom.sim.first_difference import Difference

FIRST_DIFFERENCE = "first-difference"
Around = int | Literal["first-difference"] | None
BESIDE = 2  # steps shown before and after one
MOST_CLOCKS = 100_000  # of a whole sequence
EVER = 1 << 32  # iterations


@dataclass(frozen=True)
class Window:
    """Iterations `first` to `last` of a section in pass `turn` of a simulation."""

    turn: int
    section: Section
    first: int
    last: int


@dataclass(frozen=True)
class Span:
    """The windows of one dump, and what they show in words."""

    windows: tuple[Window, ...]
    text: str


def check_around(artifact: Artifact, length: int, echo: bool, around: Around) -> None:
    """ValueError where there can be no such waves of a first sequence of `length` steps."""
    if around == FIRST_DIFFERENCE:
        return
    if around is None:
        if (clocks := _clocks(artifact, length, echo)) > MOST_CLOCKS:
            raise ValueError(
                f"waves of the whole first sequence would be {clocks:,} clocks, more than "
                f"{MOST_CLOCKS:,}: show the steps around one of 0 to {length - 1:,}, or around "
                f"{FIRST_DIFFERENCE!r}"
            )
    elif isinstance(around, str):
        raise ValueError(
            f"waves can be shown around a step's number or around {FIRST_DIFFERENCE!r}, "
            f"got {around!r}"
        )
    elif not 0 <= around < length:
        raise ValueError(
            f"there is no step {around} to show waves around: the first sequence has steps 0 to "
            f"{length - 1:,}"
        )


def asked(artifact: Artifact, length: int, echo: bool, around: int | None) -> Span:
    """What `check_around` let pass, where no level differs: of the forward sweep and the echo."""
    if around is None:
        return _whole(echo)
    sections = STEPS if echo else STEPS[:1]
    spans = [_steps(artifact, length, section, around) for section in sections]
    return Span(
        tuple(window for span in spans for window in span.windows),
        " and ".join(span.text for span in spans),
    )


def differing(artifact: Artifact, length: int, echo: bool, difference: Difference) -> Span | None:
    """The steps around a difference; the whole where it has no step, and nothing if that is too
    much."""
    sections = {section.name.lower(): section for section in STEPS}
    section = sections.get(difference.section)
    if difference.step is not None and section is not None:
        return _steps(artifact, length, section, difference.step)
    return _whole(echo) if _clocks(artifact, length, echo) <= MOST_CLOCKS else None


def _steps(artifact: Artifact, length: int, section: Section, around: int) -> Span:
    first, last = max(0, around - BESIDE), min(length - 1, around + BESIDE)
    # A step's work goes on in the iterations after its own, as many as overlap.
    overlap = artifact.mapped.schedules[section].overlap
    turn = int(section in ECHO)
    window = Window(turn, section, first, last + overlap)
    return Span((window,), f"{section.name.lower()} {first:,} to {last:,}")


def _whole(echo: bool) -> Span:
    sections = (*FORWARD, *ECHO) if echo else FORWARD
    windows = tuple(Window(int(s in ECHO), s, 0, EVER) for s in sections)
    return Span(windows, "the whole forward sweep" + (" and its echo" if echo else ""))


def _clocks(artifact: Artifact, length: int, echo: bool) -> int:
    return sum(artifact.mapped.cycles(forward, length) for forward in (True, False)[: 1 + echo])
