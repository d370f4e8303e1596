"""Short passes of the engine that take no samples and give no outputs, many in one turn of the
line: the updates of a training, one for each of its tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from echoloom.backends.link.conversation import (
    IDENTIFY,
    Conversation,
    Identity,
    ReadPlan,
    Request,
    identity_of,
)
from echoloom.backends.link.ends import Ends
from echoloom.backends.link.errors import LinkError
from echoloom.backends.link.passes import Access, Collected, all_empty, started
from echoloom.hdl.commands import PATIENCE

SLOWER = 8  # times that the engine's clock may be slower than the link's


@dataclass(frozen=True)
class RowPass:
    """`accesses` are writes (space, lane, address, data), the last of them that of COMMAND; it is
    to take `cycles` of the engine's clock, and then the words of `places` are read."""

    accesses: Sequence[Access]
    cycles: int
    places: Sequence[tuple[int, int, int]]


def run_row_passes(
    ends: Ends, passes: Sequence[RowPass]
) -> Conversation[tuple[list[list[int]], Identity]]:
    """Run them one after the other: the words of each, and what the board says of itself then.

    Raises LinkError if a pass had not ended when it was to have: what was asked for after it may
    not have been carried out then. All of them are lost, and `ends` is wrong, until a reset.
    """
    parts: list[tuple[RowPass, Sequence[Request], Collected, int, ReadPlan]] = []
    for one in passes:
        start = [*started(ends, one.accesses)]
        parts.append((one, start, Collected(ends), waits(one.cycles), ReadPlan(one.places)))
    replies = yield [
        *chain.from_iterable(
            (*start, *[collected.request(wait=True)] * count, *plan.requests)
            for _, start, collected, count, plan in parts
        ),
        IDENTIFY,
    ]
    words: list[list[int]] = []
    at = 0
    for one, start, collected, count, plan in parts:
        all_empty(start, replies[at : at + len(start)])
        at += len(start)
        for numbers in replies[at : at + count]:
            collected.take(numbers)
        at += count
        if not collected.complete:
            raise LinkError(f"a pass of {one.cycles} cycles did not end in its time")
        words.append(plan.words(replies[at : at + len(plan.requests)]))
        at += len(plan.requests)
    return words, identity_of(replies[-1])


def waits(cycles: int) -> int:
    """How many COLLECTs a pass of so many cycles is waited for."""
    return cycles * SLOWER // PATIENCE + 1
