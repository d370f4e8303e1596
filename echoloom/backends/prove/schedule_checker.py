"""Holds a schedule against what its tasks ask for, knowing nothing of how it was made.

Every read must meet the token of the value and the time step that its task asks for, so a word that
is read too early, overwritten too early, or drained from the wrong slot shows as the wrong token.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from echoloom.backends.prove.schedule_player import BEFORE, Access, Instance, Player, Setting, Token
from echoloom.ir.contract import Destination, MacEntry
from echoloom.ir.passes.image import Mapped
from echoloom.ir.passes.layout import in_group
from echoloom.ir.passes.schedule import Schedule
from echoloom.ir.passes.tasks import Multiply, Read, Task
from echoloom.ir.sections import LEARNING, Section


def setting(mapped: Mapped, section: Section) -> Setting:
    at = mapped.allocation
    tasks = mapped.tasks[section]
    names = {r.value for t in tasks for r in t.reads}
    names |= {t.base.value for t in tasks if t.base is not None}
    homes = {t.value: t.replaces for t in tasks if t.replaces}
    places = {name: at.vector(section, homes.get(name, name)) for name in names}
    by_rows = section in LEARNING
    # An update's own words have a place that nothing else has.
    made = {t.value for t in tasks} if by_rows else set()
    resident = {name: place for name, place in at.vectors.places.items() if name not in made}
    return Setting(tasks, places, resident, mapped.shared, mapped.timing, by_rows)


def violations(
    schedule: Schedule, setting: Setting, steps: int = 1, waits: Collection[int] = ()
) -> list[str]:
    """What is wrong with a schedule, a sentence each; empty if nothing.

    It is played for `steps` time steps; before iterations in `waits` the engine waits.
    """
    if not schedule.length:
        return []
    return list(_Check(schedule, setting, steps, waits).run())


@dataclass
class _Check(Player):
    def run(self) -> Iterator[str]:
        yield from self.play()
        start = {
            (lane, address): (name, index // self.config.lanes, BEFORE)
            for name, place in self.setting.resident.items()
            for index, lane, address in place.elements(self.config.lanes)
        }
        yield from self.found
        for step in range(self.steps):
            yield from self.match(step)
        yield from self.final(start)

    def match(self, step: int) -> Iterator[str]:
        wanted = {(t.value, t.group): t for t in self.setting.tasks if t.drain is not None}
        taken: set[Instance] = set()
        for index, label in enumerate(self.schedule.labels):
            task = wanted.pop(label, None)
            if task is None:
                yield f"drain entry {index} computes {label}, which no task asks for, or again"
            else:
                yield from self.match_drain((index, step), task, taken)
        for label in wanted:
            yield f"{label} is never computed"
        others = [t for t in self.setting.tasks if t.drain is None]
        for index, entry in enumerate(self.schedule.mac):
            if (index, step) in taken:
                continue
            task = next((t for t in others if self.plays(entry, t.multiplies[0])), None)
            if task is None:
                yield f"MAC entry {index} belongs to no task"
            else:
                others.remove(task)
                yield from self.match_reads((index, step), task.multiplies[0])
        for task in others:
            yield f"{task.label} is never summed or emitted"

    def match_drain(self, own: Instance, task: Task, taken: set[Instance]) -> Iterator[str]:
        index, step = own
        entry = self.schedule.drain[index]
        assert task.drain is not None
        drain = self.setting.shared.drain(task.drain, entry.start, entry.slot)
        if replace(drain, stage=entry.stage) != entry:
            yield f"drain entry {index} is not the one that {task.label} asks for"
        sums = dict(self.drained[own])
        entries = {tuple(s[1]) for s in sums.values() if s is not None}
        if len(entries) != 1 or None in sums.values():
            yield f"drain entry {index} for {task.label} meets lanes of several results"
            return
        (macs,) = entries
        tree = task.multiplies[-1].into.destination is Destination.TREE
        kinds = {lane: (f"tree {lane}" if tree else "sum") for lane in range(entry.count)}
        asked = len(macs) == len(task.multiplies) and all(
            self.plays(self.schedule.mac[m], asked) and of == step
            for (m, of), asked in zip(macs, task.multiplies, strict=True)
        )
        if not asked or {lane: s[0] for lane, s in sums.items() if s} != kinds:
            yield f"drain entry {index} for {task.label} meets another result in its slot"
            return
        if taken & set(macs):
            yield f"drain entry {index} for {task.label} takes a result twice"
        taken |= set(macs)
        for m, multiply in zip(macs, task.multiplies, strict=True):
            yield from self.match_reads(m, multiply)
        if task.base is not None:
            who = f"the drain of {task.label}"
            yield from self.match_access(who, self.bases[own], task.base, step)

    def plays(self, entry: MacEntry, asked: Multiply) -> bool:
        mac = self.setting.shared.mac(asked, entry.start, entry.slot)
        return replace(mac, stage=entry.stage) == entry

    def match_reads(self, instance: Instance, multiply: Multiply) -> Iterator[str]:
        index, step = instance
        wanted = {self.address(r): r for r in multiply.reads if not r.awaited}
        met = {address for _, address, _ in self.reads[instance]}
        for address in met - wanted.keys():
            yield f"MAC entry {index} reads address {address}, which its task does not ask for"
        for address, read in wanted.items():
            own = [a for a in self.reads[instance] if a[1] == address]
            if not own:
                yield f"MAC entry {index} never reads {read.value}, group {read.group}"
            yield from self.match_access(f"MAC entry {index}", own, read, step)

    def match_access(
        self, who: str, accesses: list[Access], read: Read, step: int
    ) -> Iterator[str]:
        place = self.setting.places[read.value]
        valid = in_group(place.rows, read.group, self.config.lanes)
        for lane, _, token in accesses:
            if lane < valid and token != self.setting.token(read, step):
                wanted = f"{read.value}, group {read.group}"
                yield f"{who} wants {wanted}, for step {step}, and meets {token}"
                return

    def address(self, read: Read) -> int:
        return self.setting.places[read.value].address + read.group

    def final(self, start: dict[tuple[int, int], Token]) -> Iterator[str]:
        """Memory after the iteration: new states and weights in place, all else that stays
        untouched."""
        expected = dict(start)
        made = {
            (lane, task.drain.destination + self.setting.row(step)): (task.value, task.group, step)
            for task in self.setting.tasks
            if task.drain is not None and task.drain.to_weight
            for lane in range(task.drain.count)
            for step in range(self.steps)
        }
        if self.weights != made:
            yield "at the end other weights were made than the tasks ask for"
        for task in self.setting.tasks:
            if task.replaces and task.drain is not None:
                for lane in range(task.drain.count):
                    own = (task.value, task.group, self.steps - 1)
                    expected[lane, task.drain.destination] = own
        for key, token in expected.items():
            if self.memory[key] != token:
                yield f"at the end lane {key[0]} holds {self.memory[key]} instead of {token}"
                return
