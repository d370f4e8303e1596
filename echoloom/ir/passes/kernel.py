"""One iteration of a section's loop, over and over: a list scheduler on a retimed body.

Every task has a stage. Iteration i plays a task of stage s for time step i - s, so tasks of several
steps share an iteration, and a gap that one step's chain of dependent tasks leaves is filled by
another step's. A word is read in the iteration that writes it, or in the next one before it is
written again. Results may land in the next iteration: what is carried over from one into the next
is found by playing iterations until nothing changes.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from echoloom.ir.contract import SHORTEST
from echoloom.ir.passes.dependences import Dependences
from echoloom.ir.passes.links import Links

FOREVER = 1 << 30
ROUNDS = 8  # iterations played until what is carried over must be the same
FREE_ROUNDS = 2  # of these, in which the tasks' order may change
BACKLOG = 16  # cycles that a result may wait for the drains before others go first


@dataclass(frozen=True)
class Carried:
    """What one iteration leaves to the next; cycles count from the next one's begin."""

    readable: tuple[int, ...]  # of each task's word: when it has landed
    ports: frozenset[int]  # cycles in which write ports are taken
    drains: tuple[tuple[int, int, int], ...]  # task, slot, and when the drain may start


@dataclass(frozen=True)
class Kernel:
    """Start cycles of one iteration. A drain that is `late` starts in the iteration after."""

    multiply: tuple[int, ...]
    drain: tuple[int, ...]
    slot: tuple[int, ...]
    late: frozenset[int]
    length: int
    carried: Carried
    order: tuple[int, ...]  # of the multiplications


@dataclass
class _Iteration:
    """Places one iteration's tasks after what the iteration before has left."""

    body: Dependences
    own: Links
    urgent: Sequence[int]
    carried: Carried
    before: Kernel | None  # whose order and slots are kept; None: whatever comes first
    readable: list[int] = field(init=False)  # of this iteration's words
    arriving: list[int] = field(init=False)  # of the words of the iteration before

    def __post_init__(self) -> None:
        count = len(self.body.tasks)
        self.now = 0
        self.left = self.body.bound
        self.slot_free = [[0] * self.body.slots for _ in range(2)]  # of accumulators, of the tree
        self.draining: set[int] = set()
        self.drained_until = 0
        self.ports = set(self.carried.ports)
        self.readable = [FOREVER] * count
        self.arriving = list(self.carried.readable)
        self.last_read = [-FOREVER] * count
        self.multiply, self.drain, self.slot = [0] * count, [-1] * count, [0] * count
        self.postponed: list[tuple[int, int, int]] = []
        self.played: list[int] = []
        self.waiting, self.unread = list(self.own.waits), list(self.own.unread)
        self.held: dict[int, int] = {}  # tasks that are multiplied and not drained yet: when ready
        # Heaps of tasks: by the cycle in which their operands are there; and of those already
        # there the ones that keep the drains busier than the multipliers, all others, and those
        # whose word others must have read before they are drained.
        self.coming: list[tuple[int, int, int]] = []
        self.short: list[tuple[int, int]] = []
        self.long: list[tuple[int, int]] = []
        self.early: list[tuple[int, int]] = []

    def run(self) -> Kernel:
        for i, slot, _ in self.carried.drains:
            self.slot_free[self.body.costs[i].tree][slot] = FOREVER
        for i, slot, ready in self.carried.drains:
            # Its base is a word that was written an iteration ago, or its own old word.
            bases = [self.arriving[u.writer] for u in self.own.reads[i] if u.base]
            self.drain[i] = start = self._place_drain(i, max(0, ready, *bases), slot)
            self.arriving[i] = start + self._chunks(i) - 1 + self.body.costs[i].to_word
        if self.before is None:
            self._choose_all()
        else:
            for i in self.before.order:
                self.now = max(self.now, self._operands(i))
                slot, cost = self.before.slot[i], self.body.costs[i]
                if cost.chunks:
                    free = self.slot_free[cost.tree][slot]
                    self.now = max(self.now, free - cost.to_first)
                self._place(i, slot)
        return self._kernel()

    def _chunks(self, i: int) -> int:
        return self.body.costs[i].chunks

    def _choose_all(self) -> None:
        for i, count in enumerate(self.waiting):
            if count == 0:
                self._comes(i)
        for _ in self.body.tasks:
            while (chosen := self._choose()) is None:
                there = self.short or self.long or self.early
                self.now = self.now + 1 if there else self.coming[0][0]
            slot = self._slot(chosen)
            assert slot is not None
            self._place(chosen, slot)

    def _comes(self, i: int) -> None:
        heapq.heappush(self.coming, (self._operands(i), -self.urgent[i], i))

    def _choose(self) -> int | None:
        """The most urgent short task while the drains have little to do, else a long one, during
        which they have time, else one whose result can wait in its slot."""
        while self.coming and self.coming[0][0] <= self.now:
            _, urgent, i = heapq.heappop(self.coming)
            cost = self.body.costs[i]
            short = self.short if cost.multiply <= cost.chunks else self.long
            heapq.heappush(self.early if self.unread[i] else short, (urgent, i))
        one, other = self._first(self.short), self._first(self.long)
        if one is None and other is None:
            return self._first(self.early, spare=1)
        if one is None or other is None:
            return one if other is None else other
        cost = self.body.costs[one]
        wait = self.drained_until - (self.now + cost.multiply - 1 + cost.to_slot)
        if wait < max(BACKLOG, self.body.costs[other].multiply // 2):
            heapq.heappush(self.long, (-self.urgent[other], other))
            return one
        heapq.heappush(self.short, (-self.urgent[one], one))
        return other

    def _first(self, there: list[tuple[int, int]], spare: int = 0) -> int | None:
        """Takes the most urgent task that has a slot to go to, and leaves `spare` ones."""
        skipped: list[tuple[int, int]] = []
        found = None
        while there and found is None:
            item = heapq.heappop(there)
            if self._slot(item[1]) is None or self._room(item[1]) <= spare:
                skipped.append(item)
            else:
                found = item[1]
        for item in skipped:
            heapq.heappush(there, item)
        return found

    def _operands(self, i: int) -> int:
        """First cycle in which the task may start, as far as what it reads goes."""
        cost = self.body.costs[i]
        start = 0
        for uses, words in ((self.own.now[i], self.readable), (self.own.before[i], self.arriving)):
            for use in uses:
                offset = cost.multiply - 1 + cost.to_slot if use.base else use.first
                start = max(start, words[use.writer] - offset)
        return start

    def _slot(self, i: int) -> int | None:
        """The slot that is free for the shortest time when the task's first result arrives."""
        cost = self.body.costs[i]
        if not cost.chunks:
            return 0
        arrival = self.now + cost.to_first
        best = None
        free = self.slot_free[cost.tree]
        for slot, since in enumerate(free):
            if since <= arrival and (best is None or since > free[best]):
                best = slot
        return best

    def _room(self, i: int) -> int:
        """How many slots are not kept by results that wait."""
        free = self.slot_free[self.body.costs[i].tree]
        return sum(since < FOREVER for since in free)

    def _place(self, i: int, slot: int) -> None:
        cost = self.body.costs[i]
        self.played.append(i)
        self.multiply[i], self.slot[i] = self.now, slot
        for use in self.own.reads[i]:
            if not use.base:
                self.last_read[use.writer] = max(self.last_read[use.writer], self.now + use.last)
        self.now += cost.multiply
        self.left -= cost.multiply
        ready = self.now - 1 + cost.to_slot
        if cost.chunks and self.unread[i]:
            self.held[i] = ready
            self.slot_free[cost.tree][slot] = FOREVER
        else:
            self._finish(i, ready)

    def _finish(self, i: int, ready: int) -> None:
        """Drains a task's result, if it has one, and lets go on what has waited for the task."""
        if self._chunks(i):
            self._drain(i, ready)
        for j in self.own.followers[i]:
            self.waiting[j] -= 1
            if self.waiting[j] == 0:
                self._comes(j)
        for j in self.own.overwriters[i]:
            self.unread[j] -= 1
            if self.unread[j] == 0 and j in self.held:
                self._finish(j, self.held.pop(j))
            elif self.unread[j] == 0 and (item := (-self.urgent[j], j)) in self.early:
                self.early.remove(item)
                heapq.heapify(self.early)
                self._comes(j)

    def _drain(self, i: int, ready: int) -> None:
        cost, slot, start = self.body.costs[i], self.slot[i], ready
        for use in self.own.now[i]:
            if use.base:
                start = max(start, self.readable[use.writer])
        for use in self.own.before[i]:
            if use.base:
                start = max(start, self.arriving[use.writer])
        # The old word's last read comes at least one cycle before the new one's write.
        start = max(start, self.last_read[i] + 2 - cost.to_word)
        ends_late = start + cost.chunks > self.now + self.left
        if ends_late and self.own.postponable[i] and self._room(i) > 1:
            self.postponed.append((i, slot, ready))
            self.slot_free[cost.tree][slot] = FOREVER
            return
        self.drain[i] = start = self._place_drain(i, start, slot)
        self.readable[i] = start + cost.chunks - 1 + cost.to_word

    def _place_drain(self, i: int, start: int, slot: int) -> int:
        """The first cycles in which the drains and their write ports are free."""
        cost = self.body.costs[i]
        chunks = range(cost.chunks)
        while any(
            start + c in self.draining or start + c + cost.to_word in self.ports for c in chunks
        ):
            start += 1
        self.draining.update(start + c for c in chunks)
        self.ports.update(start + c + cost.to_word for c in chunks)
        end = start + cost.chunks
        self.drained_until = max(self.drained_until, end)
        self.slot_free[cost.tree][slot] = end
        for use in self.own.reads[i]:
            if use.base and use.writer != i:
                self.last_read[use.writer] = max(self.last_read[use.writer], end - 1)
        return start

    def _kernel(self) -> Kernel:
        timing = self.body.timing
        length = max(
            SHORTEST,
            self.now,
            max(self.draining, default=-1) + 1,
            timing.gradient - timing.overhead,
        )
        period = length + timing.overhead
        late = frozenset(i for i, _, _ in self.postponed)
        landed = [
            self.arriving[i] if i in late else word if self._chunks(i) else 0
            for i, word in enumerate(self.readable)
        ]
        return Kernel(
            tuple(self.multiply), tuple(self.drain), tuple(self.slot), late, length,
            Carried(
                tuple(max(0, word - period) for word in landed),
                frozenset(port - period for port in self.ports if port >= period),
                tuple((i, slot, max(0, ready - period)) for i, slot, ready in self.postponed),
            ),
            tuple(self.played),
        )  # fmt: skip


def steady(body: Dependences, own: Links, urgent: Sequence[int]) -> Kernel | None:
    """A kernel that leaves to the next iteration no more than it was left itself."""
    carried = Carried((0,) * len(body.tasks), frozenset(), ())
    before: Kernel | None = None
    for number in range(ROUNDS):
        kernel = _Iteration(body, own, urgent, carried, before).run()
        if _within(kernel.carried, carried):
            return kernel
        if number + 1 < FREE_ROUNDS:
            carried = kernel.carried
        else:
            before, carried = kernel, _later(kernel.carried, carried)
    return None


def alone(body: Dependences, own: Links, urgent: Sequence[int]) -> Kernel:
    """A kernel whose iterations leave nothing to each other, long enough for all to land."""
    own = replace(own, postponable=(False,) * len(body.tasks))
    carried = Carried((0,) * len(body.tasks), frozenset(), ())
    kernel = _Iteration(body, own, urgent, carried, None).run()
    drained = [i for i, cost in enumerate(body.costs) if cost.chunks]
    landed = max((kernel.drain[i] + body.costs[i].chunks - 1 + body.costs[i].to_word
                  for i in drained), default=0)  # fmt: skip
    length = max(kernel.length, landed + 1 - body.timing.overhead)
    return replace(kernel, length=length, carried=carried)


def _within(left: Carried, assumed: Carried) -> bool:
    return (
        all(a <= b for a, b in zip(left.readable, assumed.readable, strict=True))
        and left.ports <= assumed.ports
        and [d[:2] for d in left.drains] == [d[:2] for d in assumed.drains]
        and all(a[2] <= b[2] for a, b in zip(left.drains, assumed.drains, strict=True))
    )


def _later(one: Carried, other: Carried) -> Carried:
    """Words as late as in either, so that what is assumed does not swing."""
    readable = tuple(map(max, one.readable, other.readable))
    return replace(one, readable=readable)
