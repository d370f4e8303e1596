"""That the engine may play a program's schedules as they are, in the order in which the image has
them: no word is read before it is there or in the cycle in which it is written, no slot is filled
before it is emptied, no two results land at once.

The checker plays entries by the engine's contract with the names of values in the place of words,
and holds what each entry meets against what its task asks for; it knows nothing of how a schedule
is found. In a section of steps the same entries come again in every iteration and reach over
`overlap` others at most, so sequences of 1, 2 and `overlap` + 3 steps meet all that longer ones do;
each is also played with waits before every iteration and before each one alone.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from echoloom.backends.prove.schedule_checker import setting, violations
from echoloom.ir.contract import Image
from echoloom.ir.engine_passes import REPEATED
from echoloom.ir.passes.image import Mapped
from echoloom.ir.passes.schedule import Schedule
from echoloom.ir.sections import Section


@dataclass(frozen=True)
class Played:
    """A section's schedule, played so many times; `wrong` is what was found, a sentence each."""

    section: Section
    entries: int
    times: int
    seconds: float
    wrong: tuple[str, ...]


def schedules_played(mapped: Mapped, image: Image) -> Iterator[Played]:
    """Every section that has entries in an image, held against the program's tasks."""
    for section, plan in mapped.schedules.items():
        if plan.length:
            began = time.monotonic()
            own, given = setting(mapped, section), in_image(image, section, plan)
            cases = [*_cases(given, section in REPEATED)]
            wrong = [s for steps, waits in cases for s in violations(given, own, steps, waits)]
            seconds = time.monotonic() - began
            count = len(given.mac) + len(given.drain)
            yield Played(section, count, len(cases), seconds, tuple(dict.fromkeys(wrong)))


def in_image(image: Image, section: Section, plan: Schedule) -> Schedule:
    """The entries of a section as the image has them; from the plan comes only what each result is
    called."""
    entry = image.sections[section]
    return replace(
        plan,
        mac=image.mac[entry.mac : entry.mac + len(plan.mac)],
        drain=image.drain[entry.drain : entry.drain + len(plan.drain)],
        length=entry.length, last=entry.last, overlap=entry.overlap,
    )  # fmt: skip


def _cases(plan: Schedule, repeated: bool) -> Iterator[tuple[int, Collection[int]]]:
    """Numbers of steps, and before which iterations the engine waits."""
    if not repeated:
        yield 1, ()
        return
    longest = plan.overlap + 3
    for steps in (1, 2, longest):
        yield steps, ()
    iterations = range(1, 2 * plan.overlap + 3)
    yield longest, iterations
    for iteration in iterations:
        yield longest, (iteration,)
