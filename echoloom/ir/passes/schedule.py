"""A body's instructions with their start cycles: what the scheduler found, as the engine plays it.

The multipliers take one element a cycle, the drains one chunk a cycle, and a result waits in one of
a few slots in between. Every latency is a promise of `Timing`, so the cycle counts here are those
of the hardware.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from echoloom.ir.contract import DrainEntry, MacEntry, SectionEntry, Timing
from echoloom.ir.passes.dependences import dependences
from echoloom.ir.passes.entries import Shared
from echoloom.ir.passes.links import NoOrder
from echoloom.ir.passes.retime import Loop, in_order, once, overlapped
from echoloom.ir.passes.tasks import Task
from echoloom.ir.printer import columns, settings


class CyclicTasks(ValueError):
    """A state's new word would be written before its old word's last reader could run."""

    def __init__(self, states: frozenset[str]):
        super().__init__(f"states {', '.join(sorted(states))} cannot be updated in place")
        self.states = states

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.states,), self.__dict__


@dataclass(frozen=True)
class Schedule:
    """Entries of one body with their start cycles, in order, and how they are played."""

    mac: tuple[MacEntry, ...]
    drain: tuple[DrainEntry, ...]
    labels: tuple[tuple[str, int], ...]  # for each drain entry: (value, row group)
    length: int  # cycles of an iteration
    last: int  # of the last one
    overlap: int = 0  # iterations that a step section is played beyond its steps

    def entry(self, mac: int = 0, drain: int = 0) -> SectionEntry:
        """The section's entry, with its streams at these addresses."""
        return SectionEntry(mac, drain, self.length, self.last, self.overlap)

    def __str__(self) -> str:
        """A line for every entry, in the order of their cycles."""
        rows: list[tuple[int, str, str, str]] = [
            (e.start, "multiply", "", settings(e)) for e in self.mac
        ]
        rows += [
            (e.start, "drain", f"{value}[{group}]", settings(e))
            for e, (value, group) in zip(self.drain, self.labels, strict=True)
        ]
        rows.sort(key=lambda row: row[0])
        steps = f", {self.overlap + 1} steps in flight" if self.overlap else ""
        return f"{self.length} cycles{steps}\n{columns(rows)}"


def schedule(tasks: tuple[Task, ...], shared: Shared, timing: Timing, *, steps: bool) -> Schedule:
    """Start cycles for all tasks of one iteration; iterations of a section that is played for
    every time step overlap where that takes fewer cycles. CyclicTasks when no order exists.
    """
    if not tasks:
        return Schedule((), (), (), 0, 0)
    body = dependences(tasks, shared.config, timing)
    try:
        loop = overlapped(body) if steps else once(body)
    except NoOrder as cycle:
        raise CyclicTasks(_states(tasks, cycle.stuck)) from cycle
    return _entries(tasks, shared, loop)


def states_in_cycles(tasks: tuple[Task, ...], shared: Shared) -> frozenset[str]:
    """States whose updates in place keep the tasks from having an order."""
    try:
        in_order(dependences(tasks, shared.config, Timing()))
    except NoOrder as cycle:
        return _states(tasks, cycle.stuck)
    return frozenset()


def _states(tasks: tuple[Task, ...], stuck: frozenset[int]) -> frozenset[str]:
    return frozenset(tasks[i].replaces for i in stuck if tasks[i].replaces)


def _entries(tasks: tuple[Task, ...], shared: Shared, loop: Loop) -> Schedule:
    kernel = loop.kernel
    mac: list[MacEntry] = []
    for i in kernel.order:
        at = kernel.multiply[i]
        for multiply in tasks[i].multiplies:
            mac.append(replace(shared.mac(multiply, at, kernel.slot[i]), stage=loop.stages[i]))
            at += multiply.cycles
    drain: list[tuple[DrainEntry, tuple[str, int]]] = []
    for i, task in enumerate(tasks):
        if task.drain is not None:
            entry = shared.drain(task.drain, kernel.drain[i], kernel.slot[i])
            entry = replace(entry, stage=loop.drain_stage(i))
            drain.append((entry, (task.value, task.group)))
    drain.sort(key=lambda labelled: labelled[0].start)
    return Schedule(
        tuple(mac), tuple(entry for entry, _ in drain), tuple(label for _, label in drain),
        kernel.length, loop.last, loop.overlap,
    )  # fmt: skip
