"""Plays a schedule as the engine's contract says, with tokens instead of numbers.

Instead of numbers, memory words hold tokens: which row group of which value they are, and of which
time step. Every read must meet the token that its task asks for, so a word that is read too early,
overwritten too early, or drained from the wrong slot shows as the wrong token. Several iterations
are played, as the sequencer does it: with steps that overlap, and with waits between iterations.

Weights and sums over time are memory words too, a row further on with every step of a section that
walks over rows. All who read them mean what was there before the section.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from echoloom.ir.contract import (
    Add,
    Destination,
    DrainEntry,
    EngineConfig,
    MacEntry,
    Narrow,
    Timing,
    Wide,
    XMode,
)
from echoloom.ir.passes.entries import Shared
from echoloom.ir.passes.layout import Place
from echoloom.ir.passes.schedule import Schedule
from echoloom.ir.passes.tasks import Read, Task

Token = tuple[str, int, int]  # value, row group, step; BEFORE for what is there at the begin
Instance = tuple[int, int]  # an entry's index, and the step that it works for
Access = tuple[int, int, Token | None]  # lane, address, what was there
Sum = tuple[str, tuple[Instance, ...]]  # what a slot's lane holds: the kind, and its MAC entries
Key = tuple[int, int]
Held = dict[Key, Any]  # a memory or the slots: tokens, or sums

BEFORE = -1


@dataclass(frozen=True)
class Setting:
    """What a schedule is for: the tasks, and where their words are."""

    tasks: tuple[Task, ...]
    places: Mapping[str, Place]  # every value that a task reads or writes
    resident: Mapping[str, Place]  # values in memory before the iteration
    shared: Shared
    timing: Timing
    by_rows: bool = False  # a step is a row of weights and sums

    def row(self, step: int) -> int:
        """By how much addresses of weights and sums are further on."""
        return step if self.by_rows else 0

    def token(self, read: Read, step: int) -> Token:
        """What a read of a task that works for `step` must meet."""
        for task in self.tasks:
            if task.drain is None or task.group != read.group:
                continue
            if task.value == read.value:
                return read.value, read.group, step
            if task.replaces == read.value and step > 0:
                return task.value, read.group, step - 1
        return read.value, read.group, BEFORE

    @property
    def config(self) -> EngineConfig:
        return self.shared.config


@dataclass
class Player:
    """Plays a section: what every entry read, and what went wrong by itself."""

    schedule: Schedule
    setting: Setting
    steps: int
    waits: Collection[int]
    memory: dict[Key, Token] = field(default_factory=dict)  # (lane, address)
    # The lanes' sums and the tree's: (slot, lane).
    slots: tuple[dict[Key, Sum], ...] = field(default_factory=lambda: ({}, {}))
    summed: tuple[Instance, ...] = ()
    summed_at: int = -2  # cycle of the last element that was summed
    landing: dict[int, list[tuple[Held, Key, Any]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    reads: dict[Instance, list[Access]] = field(default_factory=lambda: defaultdict(list))
    drained: dict[Instance, list[tuple[int, Sum | None]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    bases: dict[Instance, list[Access]] = field(default_factory=lambda: defaultdict(list))
    written: dict[int, int] = field(default_factory=dict)  # cycle -> drain entry
    weights: dict[Key, Token] = field(default_factory=dict)  # those that the section has made
    gradients: dict[int, int] = field(default_factory=dict)  # address -> free again
    changed: set[int] = field(default_factory=set)  # addresses of sums
    found: list[str] = field(default_factory=list)

    def play(self) -> Iterator[str]:
        for name, place in self.setting.resident.items():
            for index, lane, address in place.elements(self.config.lanes):
                self.memory[lane, address] = (name, index // self.config.lanes, BEFORE)
        yield from self.one_at_a_time()
        elements, chunks = self.elements(), self.chunks()
        iterations = self.steps + self.schedule.overlap
        now = 0
        for iteration in range(iterations):
            if iteration in self.waits:
                self.wait(now)
            ends = iteration == iterations - 1
            length = self.schedule.last if ends else self.schedule.length
            for time in range(length + self.timing.overhead):
                self.land(now)
                for index, o, i in elements.get(time, []):
                    step = iteration - self.schedule.mac[index].stage
                    if 0 <= step < self.steps:
                        self.multiply(now, (index, step), o, i)
                for index, c in chunks.get(time, []):
                    step = iteration - self.schedule.drain[index].stage
                    if 0 <= step < self.steps:
                        self.drain(now, (index, step), c)
                now += 1
        self.land(now)
        if self.landing:
            yield f"words still land in cycle {max(self.landing)}, after the section's {now}"
        if any(free > now for free in self.gradients.values()):
            yield "a gradient word is still in flight when the section ends"

    def land(self, now: int) -> None:
        for memory, key, token in self.landing.pop(now, []):
            memory[key] = token

    def wait(self, now: int) -> None:
        """All that is in flight lands before anything else is issued."""
        for late in sorted(self.landing):
            self.land(late)
        self.written.clear()
        self.gradients.clear()

    @property
    def config(self) -> EngineConfig:
        return self.setting.config

    @property
    def timing(self) -> Timing:
        return self.setting.timing

    # Resources

    def one_at_a_time(self) -> Iterator[str]:
        """One MAC element and one drain chunk a cycle, all within the iteration."""
        for what, entries, cycles in (
            ("MAC", self.schedule.mac, lambda e: e.inner * e.outer),
            ("drain", self.schedule.drain, lambda e: -(-e.count // self.config.drains)),
        ):
            free = 0
            for index, entry in enumerate(entries):
                if entry.start < free:
                    yield f"{what} entry {index} starts in cycle {entry.start}, busy until {free}"
                free = entry.start + cycles(entry)
                last = entry.stage == self.schedule.overlap
                end = self.schedule.last if last else self.schedule.length
                if entry.stage > self.schedule.overlap or free > min(end, self.schedule.length):
                    yield f"{what} entry {index} runs until {free}, its iteration until {end}"

    def latency(self, entry: DrainEntry) -> int:
        return self.timing.drain_table if entry.use_table else self.timing.drain_direct

    def elements(self) -> dict[int, list[tuple[int, int, int]]]:
        at: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
        for index, e in enumerate(self.schedule.mac):
            for n in range(e.inner * e.outer):
                at[e.start + n].append((index, *divmod(n, e.inner)))
        return at

    def chunks(self) -> dict[int, list[tuple[int, int]]]:
        at: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for index, e in enumerate(self.schedule.drain):
            for c in range(-(-e.count // self.config.drains)):
                at[e.start + c].append((index, c))
        return at

    # One cycle

    def multiply(self, now: int, own: Instance, o: int, i: int) -> None:
        index, step = own
        e = self.schedule.mac[index]
        if not e.load_gradient:
            for access in self.vector_reads(e, i):
                self.reads[own].append(access)
                self.quiet(now, f"MAC entry {index}", self.memory, access[:2])
            if e.narrow is Narrow.WEIGHT and e.destination is not Destination.EMIT:
                self.weight(now, index, e.w_base + o * e.w_outer + i * e.w_inner, step)
        last = i == e.inner - 1
        if e.destination is Destination.GRADIENT or e.load_gradient:
            self.gradient(now, own, e.g_base + (0 if e.load_gradient else i))
        if e.destination is Destination.ACCUMULATOR:
            if o == i == 0:
                if not e.clear and now != self.summed_at + 1:
                    self.found.append(f"MAC entry {index} goes on with a sum that has ended")
                self.summed = () if e.clear else self.summed
            self.summed_at = now
            if last and o == e.outer - 1:
                self.summed += (own,)
                if e.push:
                    for lane in range(self.config.lanes):
                        self.later(now + self.timing.mac_to_slot, self.slots[False], (e.slot, lane),
                                   ("sum", self.summed))  # fmt: skip
        if e.destination is Destination.TREE and last and e.push:
            when = now + self.timing.tree_to_slot + self.config.tree_latency
            self.later(when, self.slots[True], (e.slot, o), (f"tree {o}", (own,)))

    def weight(self, now: int, index: int, address: int, step: int) -> None:
        for lane in range(self.config.lanes):
            key = (lane, address + self.setting.row(step))
            if key in self.weights:
                self.found.append(f"MAC entry {index} reads a weight that the section has made")
            self.quiet(now, f"MAC entry {index}", self.weights, key)

    def gradient(self, now: int, own: Instance, address: int) -> None:
        """A sum that is read, or added to."""
        index, step = own
        address += self.setting.row(step)
        if now < self.gradients.get(address, 0):
            self.found.append(f"MAC entry {index} reads a gradient word in flight")
        if not self.schedule.mac[index].load_gradient:
            self.gradients[address] = now + self.timing.gradient
            self.changed.add(address)
        elif address in self.changed:
            self.found.append(f"MAC entry {index} loads a gradient word that the section changed")

    def vector_reads(self, e: MacEntry, i: int) -> Iterator[Access]:
        lanes = self.config.lanes
        uses_x = e.narrow is Narrow.X or e.wide is Wide.X or e.destination is Destination.EMIT
        if uses_x and e.x_mode is XMode.LOCAL:
            yield from self.row(e.x_base + i * e.x_step)
        if uses_x and e.x_mode is XMode.BROADCAST:
            word, lane = divmod(e.x_bank + i * e.x_step, lanes)
            address = e.x_base + word
            yield lane, address, self.memory.get((lane, address))
        uses_y = e.narrow is Narrow.Y or e.wide is Wide.Y
        if uses_y and e.destination is not Destination.EMIT:
            yield from self.row(e.y_base + i * e.y_step)

    def row(self, address: int) -> Iterator[Access]:
        for lane in range(self.config.lanes):
            yield lane, address, self.memory.get((lane, address))

    def quiet(self, now: int, who: str, memory: Held, word: Key) -> None:
        """Block RAM gives anything in the cycle of a write."""
        if any(key == word and to is memory for to, key, _ in self.landing.get(now + 1, ())):
            self.found.append(f"{who} reads lane {word[0]}, address {word[1]} as it is written")

    def drain(self, now: int, own: Instance, c: int) -> None:
        index, step = own
        e = self.schedule.drain[index]
        lands = now + self.latency(e)
        if lands in self.written:
            self.found.append(f"drain entry {index} writes in cycle {lands}, as another one does")
        self.written[lands] = index
        for lane in range(c * self.config.drains, min((c + 1) * self.config.drains, e.count)):
            self.drained[own].append((lane, self.slots[e.tree].get((e.slot, lane))))
            if e.add is not Add.NONE:
                self.bases[own].append((lane, e.base, self.memory.get((lane, e.base))))
                self.quiet(now, f"drain entry {index}", self.memory, (lane, e.base))
            token = (*self.schedule.labels[index], step)
            if e.to_weight:
                key = (lane, e.destination + self.setting.row(step))
                self.later(lands, self.weights, key, token)
            else:
                self.later(lands, self.memory, (lane, e.destination), token)

    def later(self, when: int, memory: Held, key: Key, token: Any) -> None:
        self.landing[when].append((memory, key, token))
