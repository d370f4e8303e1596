"""Orders a body's tasks in time: a list scheduler over two resources.

The multipliers take one element a cycle, the drains one chunk a cycle, and a result waits in one of
a few slots in between. Of all tasks whose operands will have arrived, the one that can start first
goes first; among those that could start now, the one with the longest way to go. Sums into
gradient memory have no successor and fill the gaps. Every latency is a promise of `Timing`, so the
cycle counts here are those of the hardware.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import dataclass

from echoloom.ir.contract import Destination, DrainEntry, EngineConfig, MacEntry, Timing
from echoloom.ir.passes.entries import Shared
from echoloom.ir.passes.tasks import Drain, Task
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
    """Entries of one body with their start cycles, in order, and the iteration's length."""

    mac: tuple[MacEntry, ...]
    drain: tuple[DrainEntry, ...]
    labels: tuple[tuple[str, int], ...]  # for each drain entry: (value, row group)
    length: int

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
        return f"{self.length} cycles\n{columns(rows)}"


@dataclass(frozen=True)
class _Edges:
    producers: list[list[int]]  # tasks whose words a task reads
    before: list[list[int]]  # tasks that must have read a state before this one overwrites it

    def waits(self) -> tuple[list[int], list[list[int]]]:
        """How many tasks each one waits for, and which wait for it."""
        needed = [set(p) | set(b) for p, b in zip(self.producers, self.before, strict=True)]
        followers: list[list[int]] = [[] for _ in needed]
        for i, own in enumerate(needed):
            for j in own:
                followers[j].append(i)
        return [len(own) for own in needed], followers


def schedule(tasks: tuple[Task, ...], shared: Shared, timing: Timing) -> Schedule:
    """Start cycles for all tasks of one iteration. CyclicTasks when no order exists."""
    if not tasks:
        return Schedule((), (), (), 0)
    edges = _edges(tasks)
    order = _topological(tasks, edges)
    urgency = _urgency(tasks, edges, order, shared.config, timing)
    return _Placer(tasks, edges, urgency, shared, timing).run()


def states_in_cycles(tasks: tuple[Task, ...]) -> frozenset[str]:
    """States whose updates in place keep the tasks from having an order."""
    try:
        _topological(tasks, _edges(tasks))
    except CyclicTasks as cycle:
        return cycle.states
    return frozenset()


def _edges(tasks: tuple[Task, ...]) -> _Edges:
    writer = {(t.value, t.group): i for i, t in enumerate(tasks) if t.drain is not None}
    overwriter = {(t.replaces, t.group): i for i, t in enumerate(tasks) if t.replaces}
    producers: list[list[int]] = [[] for _ in tasks]
    before: list[list[int]] = [[] for _ in tasks]
    for index, task in enumerate(tasks):
        reads = (*task.reads, *((task.base,) if task.base is not None else ()))
        for read in reads:
            key = (read.value, read.group)
            if key in writer:
                producers[index].append(writer[key])
            if key in overwriter and overwriter[key] != index:
                before[overwriter[key]].append(index)
    return _Edges(producers, before)


def _topological(tasks: tuple[Task, ...], edges: _Edges) -> list[int]:
    waiting, followers = edges.waits()
    ready = [i for i, n in enumerate(waiting) if n == 0]
    order = []
    while ready:
        i = ready.pop()
        order.append(i)
        for j in followers[i]:
            waiting[j] -= 1
            if waiting[j] == 0:
                ready.append(j)
    if len(order) < len(tasks):
        stuck = set(range(len(tasks))) - set(order)
        raise CyclicTasks(frozenset(tasks[i].replaces for i in stuck if tasks[i].replaces))
    return order


def _urgency(
    tasks: tuple[Task, ...], edges: _Edges, order: list[int], config: EngineConfig, timing: Timing
) -> list[int]:
    """Cycles from a task's start to the end of everything that waits for it."""
    urgency = [0] * len(tasks)
    tail = [0] * len(tasks)
    for i in reversed(order):
        task = tasks[i]
        own = task.cycles + timing.mac_to_slot
        if task.drain is not None:
            own += -(-task.drain.count // config.drains) + timing.drain_direct
        urgency[i] = own + tail[i]
        for j in edges.producers[i]:
            tail[j] = max(tail[j], urgency[i])
    return urgency


class _Placer:
    def __init__(
        self,
        tasks: tuple[Task, ...],
        edges: _Edges,
        urgency: list[int],
        shared: Shared,
        timing: Timing,
    ):
        self.tasks, self.edges, self.urgency = tasks, edges, urgency
        self.shared, self.config, self.timing = shared, shared.config, timing
        self.now = 0  # first free multiplier cycle
        self.drain_free = 0
        self.slot_free = [0] * shared.config.slots  # first cycle in which a slot may be written
        self.readable: dict[tuple[str, int], int] = {}
        self.last_read: dict[tuple[str, int], int] = defaultdict(lambda: -1)
        self.written: set[int] = set()  # cycles in which the write ports are taken
        self.mac: list[MacEntry] = []
        self.drain: list[DrainEntry] = []
        self.labels: list[tuple[str, int]] = []
        self.end = 0

    def run(self) -> Schedule:
        waiting, followers = self.edges.waits()
        # Two heaps: tasks by the cycle in which their operands are there, and those already there.
        coming = [(self._operands(i), -self.urgency[i], i) for i, n in enumerate(waiting) if n == 0]
        heapq.heapify(coming)
        there: list[tuple[int, int]] = []
        while coming or there:
            while coming and coming[0][0] <= self.now:
                _, urgency, i = heapq.heappop(coming)
                heapq.heappush(there, (urgency, i))
            chosen = self._choose(there)
            if chosen is None:
                limits = [coming[0][0]] if coming else []
                if there:
                    limits.append(self.now + 1)
                self.now = min(limits)
                continue
            self._place(chosen)
            for j in followers[chosen]:
                waiting[j] -= 1
                if waiting[j] == 0:
                    heapq.heappush(coming, (self._operands(j), -self.urgency[j], j))
        return Schedule(tuple(self.mac), tuple(self.drain), tuple(self.labels), self.end)

    def _operands(self, index: int) -> int:
        """First cycle in which the task may start, as far as its multiply operands go."""
        start, offset = 0, 0
        for multiply in self.tasks[index].multiplies:
            for read in multiply.reads:
                at = self.readable.get((read.value, read.group), 0)
                start = max(start, at - offset - read.first)
            offset += multiply.cycles
        return start

    def _choose(self, there: list[tuple[int, int]]) -> int | None:
        """The most urgent task that has a slot to go to; gradient sums need none."""
        skipped: list[tuple[int, int]] = []
        found = None
        while there:
            item = heapq.heappop(there)
            if self._slot(self.tasks[item[1]], self.now) is not None:
                found = item[1]
                break
            skipped.append(item)
        for item in skipped:
            heapq.heappush(there, item)
        return found

    def _slot(self, task: Task, start: int) -> int | None:
        """A slot free when the task's first result arrives; 0 for tasks without a drain."""
        if task.drain is None:
            return 0
        arrival = start + self._first_result(task)
        for slot, free in enumerate(self.slot_free):
            if free <= arrival:
                return slot
        return None

    def _first_result(self, task: Task) -> int:
        last = task.multiplies[-1]
        if last.into.destination is Destination.TREE:
            # The tree fills a slot lane by lane; the first lane arrives after one inner run.
            return last.inner - 1 + self.timing.tree_to_slot + self.config.tree_latency - 1
        return task.cycles - 1 + self.timing.mac_to_slot - 1

    def _place(self, index: int) -> None:
        task, start = self.tasks[index], self.now
        slot = self._slot(task, start)
        assert slot is not None
        at = start
        for multiply in task.multiplies:
            self.mac.append(self.shared.mac(multiply, at, slot))
            for read in multiply.reads:
                key = (read.value, read.group)
                self.last_read[key] = max(self.last_read[key], at + read.last)
            at += multiply.cycles
        self.now = at
        self.end = max(self.end, at - 1 + self.timing.gradient)
        if task.drain is not None:
            self._place_drain(task, task.drain, slot, at - 1)

    def _place_drain(self, task: Task, drain: Drain, slot: int, last: int) -> None:
        tree = task.multiplies[-1].into.destination is Destination.TREE
        latency = (
            self.timing.tree_to_slot + self.config.tree_latency if tree else self.timing.mac_to_slot
        )
        chunks = -(-drain.count // self.config.drains)
        to_readable = self.timing.drain_table if drain.table else self.timing.drain_direct
        start = max(last + latency, self.drain_free)
        if task.base is not None:
            start = max(start, self.readable.get((task.base.value, task.base.group), 0))
        if task.replaces:
            # The old word's last read comes at least one cycle before the new one's write.
            read = self.last_read[task.replaces, task.group]
            start = max(start, read + 2 - to_readable)
        while any(start + c + to_readable in self.written for c in range(chunks)):
            start += 1
        self.written.update(start + c + to_readable for c in range(chunks))
        if task.base is not None:
            key = (task.base.value, task.base.group)
            self.last_read[key] = max(self.last_read[key], start + chunks - 1)
        self.drain_free = start + chunks
        self.slot_free[slot] = start + chunks
        self.readable[task.value, task.group] = start + chunks - 1 + to_readable
        self.drain.append(self.shared.drain(drain, start, slot))
        self.labels.append((task.value, task.group))
        self.end = max(self.end, start + chunks - 1 + to_readable)
