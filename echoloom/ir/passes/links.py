"""A body's uses once its tasks have stages: who waits for whom in an iteration, and how urgently.

A word is read in the iteration that writes it, or in the next one before it is written again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from echoloom.ir.passes.dependences import Dependences, Use

AHEAD = 8  # of a period: how much more urgent a step is than the next one


class NoOrder(ValueError):
    """No order of a body's tasks has every word read before it is overwritten."""

    def __init__(self, stuck: frozenset[int]):
        super().__init__(f"{len(stuck)} tasks wait for each other")
        self.stuck = stuck

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.stuck,), self.__dict__


@dataclass(frozen=True)
class Links:
    """Uses by task. `delta`: iterations between the writer's and the reader's."""

    now: tuple[tuple[Use, ...], ...]  # delta 0, by reader
    before: tuple[tuple[Use, ...], ...]  # delta 1, by reader
    reads: tuple[tuple[Use, ...], ...]  # all, by reader
    waits: tuple[int, ...]  # how many tasks' words a task needs of its own iteration
    followers: tuple[tuple[int, ...], ...]  # the tasks that need its word
    unread: tuple[int, ...]  # how many tasks must have read its word before it is written again
    overwriters: tuple[tuple[int, ...], ...]  # the tasks that write what it must have read before
    order: tuple[int, ...]
    postponable: tuple[bool, ...]  # whether a drain may start in the next iteration


def links(body: Dependences, stages: Sequence[int]) -> Links | None:
    """None where a word would have to live for longer than an iteration. NoOrder."""
    count = len(body.tasks)
    now: list[list[Use]] = [[] for _ in range(count)]
    before: list[list[Use]] = [[] for _ in range(count)]
    readers: list[set[int]] = [set() for _ in range(count)]
    reads: list[list[Use]] = [[] for _ in range(count)]
    postponable = [own.chunks > 0 for own in body.costs]
    for use in body.uses:
        reads[use.reader].append(use)
        delta = use.distance + stages[use.reader] - stages[use.writer]
        if delta == 0:
            now[use.reader].append(use)
            postponable[use.writer] = False
        elif delta == 1:
            before[use.reader].append(use)
            if use.writer != use.reader:
                readers[use.writer].add(use.reader)
                # The base of a drain in the next iteration would be overwritten by then.
                postponable[use.reader] &= not use.base
        else:
            return None
    needed = [{use.writer for use in uses} for uses in now]
    followers, overwriters = _inverse(needed), _inverse(readers)
    return Links(
        tuple(map(tuple, now)), tuple(map(tuple, before)), tuple(map(tuple, reads)),
        tuple(map(len, needed)), followers, tuple(map(len, readers)), overwriters,
        _topological([a | b for a, b in zip(needed, readers, strict=True)]), tuple(postponable),
    )  # fmt: skip


def _inverse(needed: Sequence[Collection[int]]) -> tuple[tuple[int, ...], ...]:
    """For each task those that have it among theirs."""
    inverse: list[list[int]] = [[] for _ in needed]
    for i, own in enumerate(needed):
        for j in own:
            inverse[j].append(i)
    return tuple(map(tuple, inverse))


def _topological(needed: Sequence[Collection[int]]) -> tuple[int, ...]:
    waiting, followers = [len(own) for own in needed], _inverse(needed)
    ready = [i for i, n in enumerate(waiting) if n == 0]
    order: list[int] = []
    while ready:
        i = ready.pop()
        order.append(i)
        for j in followers[i]:
            waiting[j] -= 1
            if waiting[j] == 0:
                ready.append(j)
    if len(order) < len(waiting):
        raise NoOrder(frozenset(range(len(waiting))) - set(order))
    return tuple(order)


def urgency(body: Dependences, own: Links, stages: Sequence[int], period: int) -> list[int]:
    """Cycles from a task's start to the end of everything that waits for it; what waits in the
    next iteration has a period's time."""
    urgent = [cost.latency for cost in body.costs]
    readers: list[list[tuple[int, int, int]]] = [[] for _ in body.tasks]
    for use in body.uses:
        cost = body.costs[use.reader]
        start = cost.multiply - 1 + cost.to_slot if use.base else use.first
        delta = use.distance + stages[use.reader] - stages[use.writer]
        readers[use.writer].append((use.reader, start, delta * period))
    for _ in range(3):
        for i in reversed(own.order):
            latency = body.costs[i].latency
            for reader, start, later in readers[i]:
                if reader != i:
                    urgent[i] = max(urgent[i], latency + urgent[reader] - start - later)
            for writer in own.overwriters[i]:
                urgent[i] = max(urgent[i], body.costs[i].multiply + urgent[writer])
    # The older a step is the sooner it ends, and with it the section's last iteration.
    return [own + stage * period // AHEAD for own, stage in zip(urgent, stages, strict=True)]
