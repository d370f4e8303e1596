"""Stages for a body's tasks: which of the time steps in flight an iteration plays each for.

Retiming cuts one step's chain of tasks into stages, so that an iteration of the loop plays the end
of one step beside the begin of the next. Where the cuts are best depends on how the chain's gaps
meet; several are tried, and the one with the fewest cycles is taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from echoloom.ir.contract import SHORTEST
from echoloom.ir.entry_layouts import STAGES
from echoloom.ir.passes.dependences import Dependences
from echoloom.ir.passes.kernel import Kernel, alone, steady
from echoloom.ir.passes.links import Links, NoOrder, links, urgency

NOMINAL = 128  # steps of the sequence that cycles are counted for
CLOSE = 1.0015  # of the bound: nothing better is looked for
CUTS = 16


@dataclass(frozen=True)
class Loop:
    """A section's kernel, the stages of its tasks, and how long its last iteration is."""

    kernel: Kernel
    stages: tuple[int, ...]
    overlap: int
    last: int

    def drain_stage(self, i: int) -> int:
        return self.stages[i] + (i in self.kernel.late)


def in_order(body: Dependences) -> Links:
    """The uses of a body that is played a step at a time. NoOrder."""
    own = links(body, (0,) * len(body.tasks))
    assert own is not None
    return own


def once(body: Dependences) -> Loop:
    """For a section that is played once. NoOrder."""
    stages, own = (0,) * len(body.tasks), in_order(body)
    return _loop(body, stages, alone(body, own, urgency(body, own, stages, 0)))


def overlapped(body: Dependences) -> Loop:
    """For a section that is played for every time step. NoOrder."""
    best = once(body)
    floor = CLOSE * (body.bound + body.timing.overhead) * NOMINAL
    tried: set[tuple[int, ...]] = set()
    for stages in _candidates(body, best.kernel):
        if _cycles(body, best) <= floor:
            break
        if stages in tried:
            continue
        tried.add(stages)
        try:
            own = links(body, stages)
        except NoOrder:
            continue
        if own is None:
            continue
        kernel = steady(body, own, urgency(body, own, stages, body.bound))
        if kernel is not None:
            loop = _loop(body, stages, kernel)
            if loop.overlap < STAGES and _cycles(body, loop) < _cycles(body, best):
                best = loop
    return best


def _candidates(body: Dependences, flat: Kernel) -> Iterator[tuple[int, ...]]:
    """No cut, then one or two, through the schedule of a step that is played alone."""
    yield (0,) * len(body.tasks)
    places = [flat.length * n // CUTS for n in range(1, CUTS)]
    for cuts in (*combinations(places, 1), *combinations(places[1::2], 2)):
        stages = _repaired(body, [sum(at >= cut for cut in cuts) for at in flat.multiply])
        if stages is not None:
            yield stages


def _repaired(body: Dependences, wanted: Sequence[int]) -> tuple[int, ...] | None:
    """These stages, some of them raised so that every word is read in the iteration that writes it
    or in the next; None if that takes too many."""
    stages = list(wanted)
    changed = True
    while changed:
        changed = False
        for use in body.uses:
            delta = use.distance + stages[use.reader] - stages[use.writer]
            if delta < 0:
                stages[use.reader] -= delta
            elif delta > 1:
                stages[use.writer] += delta - 1
            changed |= not 0 <= delta <= 1
        if max(stages) >= STAGES:
            return None
    return tuple(stages)


def _loop(body: Dependences, stages: tuple[int, ...], kernel: Kernel) -> Loop:
    timing = body.timing
    period = kernel.length + timing.overhead
    last_stages = [stage + (i in kernel.late) for i, stage in enumerate(stages)]
    overlap = max(last_stages)
    last = SHORTEST
    for i, cost in enumerate(body.costs):
        end = kernel.multiply[i] + cost.multiply
        ahead = (overlap - stages[i]) * period
        last = max(last, end - ahead, end - 1 + timing.gradient - timing.overhead - ahead)
        if cost.chunks:
            end = kernel.drain[i] + cost.chunks
            ahead = (overlap - last_stages[i]) * period
            # What lands in the next section's first cycle would show as the next section's.
            last = max(last, end + cost.to_word - timing.overhead - ahead, end - ahead)
    return Loop(kernel, stages, overlap, last)


def _cycles(body: Dependences, loop: Loop) -> int:
    """Of a nominal sequence."""
    overhead = body.timing.overhead
    full = NOMINAL + loop.overlap - 1
    return full * (loop.kernel.length + overhead) + loop.last + overhead
