"""Which task reads a word of which other one, of the same time step or of the one before.

A word of vector memory has one writer a step. Whoever reads it wants what the writer wrote in the
reader's own step (distance 0) or in the step before (distance 1: a state's old word).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from echoloom.ir.contract import Destination, EngineConfig, Timing
from echoloom.ir.passes.tasks import Task


@dataclass(frozen=True)
class Use:
    """Task `reader` reads the word that task `writer` writes, `distance` steps later.

    Multipliers read it in cycles `first` to `last` from the task's start, a drain (`base`) while
    it goes on.
    """

    writer: int
    reader: int
    base: bool
    first: int
    last: int
    distance: int


@dataclass(frozen=True)
class Costs:
    """What a task takes of an engine, in cycles."""

    multiply: int
    chunks: int  # of its drain; 0 where there is none
    to_slot: int  # from the last element's cycle until a drain may start
    to_first: int  # from the first element's cycle until the first result is in its slot
    to_word: int  # from a chunk's cycle until its words may be read
    tree: bool

    @property
    def latency(self) -> int:
        """From the first element's cycle until all words may be read, where nothing waits."""
        if not self.chunks:
            return self.multiply
        return self.multiply - 1 + self.to_slot + self.chunks - 1 + self.to_word


@dataclass(frozen=True)
class Dependences:
    """A body's tasks as the scheduler sees them."""

    tasks: tuple[Task, ...]
    costs: tuple[Costs, ...]
    uses: tuple[Use, ...]
    slots: int
    timing: Timing

    @property
    def bound(self) -> int:
        """Cycles that the multipliers need."""
        return sum(own.multiply for own in self.costs)


def dependences(tasks: tuple[Task, ...], config: EngineConfig, timing: Timing) -> Dependences:
    """Uses and costs of a body's tasks on an engine."""
    new = {(t.value, t.group): i for i, t in enumerate(tasks) if t.drain is not None}
    old = {(t.replaces, t.group): i for i, t in enumerate(tasks) if t.replaces}
    uses: list[Use] = []
    for index, task in enumerate(tasks):
        offset = 0
        for multiply in task.multiplies:
            for read in multiply.reads:
                uses += _uses(
                    (new, old), (read.value, read.group), index, False,
                    offset + read.first, offset + read.last,
                )  # fmt: skip
            offset += multiply.cycles
        if task.base is not None:
            uses += _uses((new, old), (task.base.value, task.base.group), index, True, 0, 0)
    costs = tuple(_costs(task, config, timing) for task in tasks)
    return Dependences(tasks, costs, tuple(uses), config.slots, timing)


def _uses(
    writers: tuple[Mapping[tuple[str, int], int], ...],
    word: tuple[str, int],
    reader: int,
    base: bool,
    first: int,
    last: int,
) -> list[Use]:
    return [
        Use(own[word], reader, base, first, last, distance)
        for distance, own in enumerate(writers)
        if word in own
    ]


def _costs(task: Task, config: EngineConfig, timing: Timing) -> Costs:
    last = task.multiplies[-1]
    tree = last.into.destination is Destination.TREE
    to_slot = timing.tree_to_slot + config.tree_latency if tree else timing.mac_to_slot
    # The tree fills a slot lane by lane; the first lane arrives after one inner run.
    until_first = task.cycles - last.cycles + last.inner if tree else task.cycles
    chunks = 0 if task.drain is None else -(-task.drain.count // config.drains)
    table = task.drain is not None and task.drain.table is not None
    return Costs(
        task.cycles, chunks, to_slot, until_first - 1 + to_slot - 1,
        timing.drain_table if table else timing.drain_direct, tree,
    )  # fmt: skip
