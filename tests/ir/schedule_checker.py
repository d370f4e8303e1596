"""Plays a schedule against the engine's contract, knowing nothing of how it was made.

Instead of numbers, memory words hold tokens: which row group of which value they are. Every read
must meet the token that its task asks for, so a word that is read too early, overwritten too
early, or drained from the wrong slot shows as the wrong token.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

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
from echoloom.ir.passes.image import Mapped
from echoloom.ir.passes.layout import Place, in_group
from echoloom.ir.passes.schedule import Schedule
from echoloom.ir.passes.tasks import Multiply, Read, Task
from echoloom.ir.sections import Section

Token = tuple[str, int]  # value, row group
Access = tuple[int, int, Token | None]  # lane, address, what was there
Sum = tuple[str, tuple[int, ...]]  # what a slot's lane holds: the kind, and the MAC entries in it


@dataclass(frozen=True)
class Setting:
    """What a schedule is for: the tasks, and where their words are."""

    tasks: tuple[Task, ...]
    places: Mapping[str, Place]  # every value that a task reads or writes
    resident: Mapping[str, Place]  # values in memory before the iteration
    shared: Shared
    timing: Timing

    @property
    def config(self) -> EngineConfig:
        return self.shared.config


def setting(mapped: Mapped, section: Section) -> Setting:
    at = mapped.allocation
    tasks = mapped.tasks[section]
    names = {r.value for t in tasks for r in t.reads}
    names |= {t.base.value for t in tasks if t.base is not None}
    places = {name: at.vector(section, name) for name in names}
    return Setting(tasks, places, at.vectors.places, mapped.shared, mapped.timing)


def violations(schedule: Schedule, setting: Setting) -> list[str]:
    """What is wrong with a schedule, a sentence each; empty if nothing."""
    return list(_Check(schedule, setting).run())


@dataclass
class _Check:
    schedule: Schedule
    setting: Setting
    memory: dict[tuple[int, int], Token] = field(default_factory=dict)  # (lane, address)
    # The lanes' sums and the tree's: (slot, lane).
    slots: tuple[dict[tuple[int, int], Sum], ...] = field(default_factory=lambda: ({}, {}))
    summed: tuple[int, ...] = ()
    landing: dict[int, list[tuple[dict, tuple[int, int], object]]] = field(  # type: ignore[type-arg]
        default_factory=lambda: defaultdict(list)
    )
    reads: dict[int, list[Access]] = field(default_factory=lambda: defaultdict(list))
    drained: dict[int, list[tuple[int, Sum | None]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    bases: dict[int, list[Access]] = field(default_factory=lambda: defaultdict(list))
    gradients: dict[int, int] = field(default_factory=dict)  # address -> free again
    found: list[str] = field(default_factory=list)

    def run(self) -> Iterator[str]:
        for name, place in self.setting.resident.items():
            for index, lane, address in place.elements(self.config.lanes):
                self.memory[lane, address] = (name, index // self.config.lanes)
        start = dict(self.memory)
        last = self.schedule.length + self.timing.overhead
        yield from self.one_at_a_time(last)
        elements, chunks = self.elements(), self.chunks()
        for now in range(last + 1):
            for memory, key, token in self.landing.pop(now, []):
                memory[key] = token
            for index, o, i in elements.get(now, []):
                self.multiply(now, index, o, i)
            for index, c in chunks.get(now, []):
                self.drain(now, index, c)
        if self.landing:
            yield f"words still land in cycle {max(self.landing)}, after the iteration's {last}"
        if any(free > last for free in self.gradients.values()):
            yield "a gradient word is still in flight when the iteration ends"
        yield from self.found
        yield from self.match()
        yield from self.final(start)

    @property
    def config(self) -> EngineConfig:
        return self.setting.config

    @property
    def timing(self) -> Timing:
        return self.setting.timing

    # Resources

    def one_at_a_time(self, last: int) -> Iterator[str]:
        """One MAC element and one drain chunk a cycle, one result at a write port."""
        for what, entries, cycles in (
            ("MAC", self.schedule.mac, lambda e: e.inner * e.outer),
            ("drain", self.schedule.drain, lambda e: -(-e.count // self.config.drains)),
        ):
            free = 0
            for index, entry in enumerate(entries):
                if entry.start < free:
                    yield f"{what} entry {index} starts in cycle {entry.start}, busy until {free}"
                free = entry.start + cycles(entry)
            if free > last:
                yield f"the last {what} entry runs until {free}, the iteration until {last}"
        written: set[int] = set()
        for index, entry in enumerate(self.schedule.drain):
            for c in range(-(-entry.count // self.config.drains)):
                at = entry.start + c + self.latency(entry)
                if at in written:
                    yield f"drain entry {index} writes in cycle {at}, as another one does"
                written.add(at)

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

    def multiply(self, now: int, index: int, o: int, i: int) -> None:
        e = self.schedule.mac[index]
        if not e.load_gradient:
            self.reads[index] += self.vector_reads(e, i)
        last = i == e.inner - 1
        if e.destination is Destination.GRADIENT or e.load_gradient:
            address = e.g_base + (0 if e.load_gradient else i)
            if now < self.gradients.get(address, 0):
                self.found.append(f"MAC entry {index} reads a gradient word in flight")
            if not e.load_gradient:
                self.gradients[address] = now + self.timing.gradient
        if e.destination is Destination.ACCUMULATOR:
            if o == i == 0:
                self.summed = () if e.clear else self.summed
            if last and o == e.outer - 1:
                self.summed += (index,)
                if e.push:
                    for lane in range(self.config.lanes):
                        self.later(now + self.timing.mac_to_slot, self.slots[False], (e.slot, lane),
                                   ("sum", self.summed))  # fmt: skip
        if e.destination is Destination.TREE and last and e.push:
            when = now + self.timing.tree_to_slot + self.config.tree_latency
            self.later(when, self.slots[True], (e.slot, o), (f"tree {o}", (index,)))

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

    def drain(self, now: int, index: int, c: int) -> None:
        e = self.schedule.drain[index]
        for lane in range(c * self.config.drains, min((c + 1) * self.config.drains, e.count)):
            self.drained[index].append((lane, self.slots[e.tree].get((e.slot, lane))))
            if e.add is not Add.NONE:
                self.bases[index].append((lane, e.base, self.memory.get((lane, e.base))))
            self.later(now + self.latency(e), self.memory, (lane, e.destination),
                       self.schedule.labels[index])  # fmt: skip

    def later(self, when: int, memory: dict, key: tuple[int, int], token: object) -> None:  # type: ignore[type-arg]
        self.landing[when].append((memory, key, token))

    # What was done against what was asked for

    def match(self) -> Iterator[str]:
        wanted = {(t.value, t.group): t for t in self.setting.tasks if t.drain is not None}
        taken: set[int] = set()
        for index, label in enumerate(self.schedule.labels):
            task = wanted.pop(label, None)
            if task is None:
                yield f"drain entry {index} computes {label}, which no task asks for, or again"
            else:
                yield from self.match_drain(index, task, taken)
        for label in wanted:
            yield f"{label} is never computed"
        others = [t for t in self.setting.tasks if t.drain is None]
        for index, entry in enumerate(self.schedule.mac):
            if index in taken:
                continue
            task = next((t for t in others if self.plays(entry, t.multiplies[0])), None)
            if task is None:
                yield f"MAC entry {index} belongs to no task"
            else:
                others.remove(task)
                yield from self.match_reads(index, task.multiplies[0])
        for task in others:
            yield f"{task.label} is never summed or emitted"

    def match_drain(self, index: int, task: Task, taken: set[int]) -> Iterator[str]:
        entry = self.schedule.drain[index]
        assert task.drain is not None
        if self.setting.shared.drain(task.drain, entry.start, entry.slot) != entry:
            yield f"drain entry {index} is not the one that {task.label} asks for"
        sums = dict(self.drained[index])
        entries = {tuple(s[1]) for s in sums.values() if s is not None}
        if len(entries) != 1 or None in sums.values():
            yield f"drain entry {index} for {task.label} meets lanes of several results"
            return
        (macs,) = entries
        tree = task.multiplies[-1].into.destination is Destination.TREE
        kinds = {lane: (f"tree {lane}" if tree else "sum") for lane in range(entry.count)}
        asked = len(macs) == len(task.multiplies) and all(
            self.plays(self.schedule.mac[m], own)
            for m, own in zip(macs, task.multiplies, strict=True)
        )
        if not asked or {lane: s[0] for lane, s in sums.items() if s} != kinds:
            yield f"drain entry {index} for {task.label} meets another result in its slot"
            return
        if taken & set(macs):
            yield f"drain entry {index} for {task.label} takes a result twice"
        taken |= set(macs)
        for m, own in zip(macs, task.multiplies, strict=True):
            yield from self.match_reads(m, own)
        if task.base is not None:
            yield from self.match_access(f"the drain of {task.label}", self.bases[index], task.base)

    def plays(self, entry: MacEntry, asked: Multiply) -> bool:
        return self.setting.shared.mac(asked, entry.start, entry.slot) == entry

    def match_reads(self, index: int, multiply: Multiply) -> Iterator[str]:
        wanted = {self.address(r): r for r in multiply.reads}
        met = {address for _, address, _ in self.reads[index]}
        for address in met - wanted.keys():
            yield f"MAC entry {index} reads address {address}, which its task does not ask for"
        for address, read in wanted.items():
            own = [a for a in self.reads[index] if a[1] == address]
            if not own:
                yield f"MAC entry {index} never reads {read.value}, group {read.group}"
            yield from self.match_access(f"MAC entry {index}", own, read)

    def match_access(self, who: str, accesses: list[Access], read: Read) -> Iterator[str]:
        place = self.setting.places[read.value]
        valid = in_group(place.rows, read.group, self.config.lanes)
        for lane, _, token in accesses:
            if lane < valid and token != (read.value, read.group):
                yield f"{who} wants {read.value}, group {read.group}, and meets {token}"
                return

    def address(self, read: Read) -> int:
        return self.setting.places[read.value].address + read.group

    def final(self, start: dict[tuple[int, int], Token]) -> Iterator[str]:
        """Memory after the iteration: new states in place, all else that stays untouched."""
        expected = dict(start)
        for task in self.setting.tasks:
            if task.replaces and task.drain is not None:
                for lane in range(task.drain.count):
                    expected[lane, task.drain.destination] = (task.value, task.group)
        for key, token in expected.items():
            if self.memory[key] != token:
                yield f"at the end lane {key[0]} holds {self.memory[key]} instead of {token}"
                return
