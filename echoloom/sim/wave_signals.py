"""What waves show beside the circuit's own signals: a program's vectors, and lanes of text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from echoloom.backends.run.levels import Artifact
from echoloom.ir.contract import Destination, DrainEntry, MacEntry
from echoloom.ir.formats import Type
from echoloom.ir.passes.layout import Place
from echoloom.ir.sections import Section

ROOT = "echoloom"  # the scope of all this
LANES = "lanes"  # the scope of the lanes in it
STATE = "state"  # the scope of what all sections share: states, and words of the host's
# Lanes of text begin with these: nothing is issued; an entry that the program does not have; a
# time that is not in the waves.
IDLE, UNKNOWN, HIDDEN = "-", "unknown", "not_recorded"


@dataclass(frozen=True)
class Lane:
    """A signal of the engine's progress: numbers of `texts`, or (none) plain numbers."""

    name: str
    texts: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        return f"{ROOT}.{LANES}.{self.name}"


@dataclass(frozen=True)
class Element:
    """One number of a vector: the word at `address` of `lane`, times 2**-frac."""

    vector: str
    index: int | None  # None of a scalar
    scope: str
    lane: int
    address: int
    frac: int
    width: int  # of the word in memory

    @property
    def name(self) -> str:
        """As in block0.q[3]."""
        return self.vector if self.index is None else f"{self.vector}[{self.index}]"

    @property
    def path(self) -> str:
        return f"{ROOT}.{self.scope}.{self.name}"

    @property
    def format(self) -> str:
        """As the IR writes it."""
        return f"Q({self.width - self.frac},{self.frac})"


@dataclass(frozen=True)
class Vector:
    """A value of a body, or (`scope` STATE) one that all of them share, and its elements."""

    name: str
    scope: str
    elements: tuple[Element, ...]


@dataclass(frozen=True)
class Instruction:
    """An entry of the section, and the text that stands for it while it issues elements."""

    section: Section
    entry: MacEntry | DrainEntry
    cycles: int
    text: str


def vectors(artifact: Artifact) -> Iterator[Vector]:
    """All that takes words of vector memory and changes: what is shared first, then every
    section's own values in the order of its code."""
    program, at = artifact.program, artifact.mapped.allocation
    for d in (*program.states, *program.runtime):
        yield _vector(artifact, STATE, d.name, d.type, at.vectors.places[d.name])
    for body in program.bodies:
        scope, types = body.section.name.lower(), program.types(body)
        own = at.temporaries[body.section].places
        for instr in body.instrs:
            if instr.name in own or (body.section, instr.name) in at.homes:
                place = at.vector(body.section, instr.name)
                yield _vector(artifact, scope, instr.name, types[instr.name], place)


def _vector(artifact: Artifact, scope: str, name: str, type: Type, place: Place) -> Vector:
    config = artifact.mapped.config
    fracs = np.broadcast_to(type.q.grid, type.shape).reshape(-1).tolist()
    return Vector(
        name,
        scope,
        tuple(
            Element(
                name, index if type.shape else None, scope, lane, address, fracs[index],
                config.word,
            )
            for index, lane, address in place.elements(config.lanes)
        ),
    )  # fmt: skip


def multiplications(artifact: Artifact) -> Iterator[Instruction]:
    """Every MAC entry and the value or sum that it works for."""
    mapped = artifact.mapped
    for section, plan in mapped.schedules.items():
        # Schedules keep no names: an entry is its task's but for when and where it runs.
        labels = defaultdict(list)
        for task in mapped.tasks[section]:
            for multiply in task.multiplies:
                text = _text(task.label, task.group)
                if multiply.into.destination is Destination.GRADIENT:
                    text += "+="
                labels[mapped.shared.mac(multiply, 0, 0)].append(text)
        for entry in plan.mac:
            waiting = labels[replace(entry, start=0, slot=0, stage=0)]
            yield Instruction(section, entry, entry.inner * entry.outer, waiting.pop(0))


def drains(artifact: Artifact) -> Iterator[Instruction]:
    """Every drain entry and the row group that it writes."""
    per_cycle = artifact.mapped.config.drains
    for section, plan in artifact.mapped.schedules.items():
        for entry, (value, group) in zip(plan.drain, plan.labels, strict=True):
            text = _text(value, group)
            yield Instruction(section, entry, -(-entry.count // per_cycle), text)


def _text(name: str, group: int) -> str:
    """A row group's text, in signs that no reader of FST needs to have escaped."""
    name = name.replace("'", ".copy").replace(" ", "_")
    return f"{name}:{group}" if group else name


def lanes(artifact: Artifact) -> tuple[Lane, ...]:
    """The lanes in the order of `waves.h`."""
    sections = tuple(section.name.lower() for section in Section)
    return (
        Lane("section", _texts(sections)),
        Lane("iteration"),
        Lane("multiply", _texts(i.text for i in multiplications(artifact))),
        Lane("multiply_step"),
        Lane("drain", _texts(i.text for i in drains(artifact))),
        Lane("drain_step"),
    )


def _texts(own: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((IDLE, UNKNOWN, HIDDEN, *own)))
