"""An integer program on an engine: schedules of all sections and the contents of all memories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, field, replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from echoloom.ir.contract import (
    Add,
    DrainEntry,
    EngineConfig,
    Image,
    MacEntry,
    SectionEntry,
    Space,
    Timing,
)
from echoloom.ir.engine_passes import REPEATED
from echoloom.ir.fields import never
from echoloom.ir.learning import Learning
from echoloom.ir.ops import Constant
from echoloom.ir.passes.allocate import Allocation, Owner, allocate, constants_of
from echoloom.ir.passes.entries import Shared, share
from echoloom.ir.passes.fits import check_fits, vector_words, weight_words
from echoloom.ir.passes.layout import Extent, Memory
from echoloom.ir.passes.learning_plan import LearningPlan
from echoloom.ir.passes.lower import lower, stored_values
from echoloom.ir.passes.schedule import Schedule, schedule, states_in_cycles
from echoloom.ir.passes.tasks import Task
from echoloom.ir.passes.update import (
    check_rule,
    learning_plan,
    update_constants,
    update_tasks,
    update_words,
)
from echoloom.ir.printer import columns
from echoloom.ir.program import Program
from echoloom.ir.sections import ECHO, FORWARD, LEARNING, SWEPT, Section, sections_of
from echoloom.ir.tables import TableContents
from echoloom.ir.verifier import verify_target

Words = NDArray[np.int64]


@dataclass(frozen=True)
class Placed:
    """An address for every word of a program, and its tasks by section, which have an order.
    `learning`: what its engine updates by itself, None for an engine that does not."""

    program: Program
    config: EngineConfig
    allocation: Allocation
    tasks: Mapping[Section, tuple[Task, ...]]
    shared: Shared
    learning: LearningPlan | None = field(default=None, kw_only=True)

    def __str__(self) -> str:
        """A line for everything that has a place."""
        head = ("memory", "word", "what", "words in every lane")
        return columns([head, *self.allocation.rows(), *self.shared.rows()])


@dataclass(frozen=True)
class Mapped(Placed):
    """A program on an engine of just its depths: everything but the coefficients' values."""

    timing: Timing
    schedules: Mapping[Section, Schedule]

    def cycles(self, forward: bool, length: int) -> int:
        """Clock cycles of one pass over `length` steps, waits excluded: exactly the RTL's count."""
        return self.cycles_of(FORWARD if forward else ECHO, length)

    def cycles_of(self, sections: tuple[Section, ...], length: int) -> int:
        """Likewise, of a pass of these sections."""
        played = (s for s in sections if self.schedules[s].length)
        return sum(
            self.schedules[s].entry().cycles(length if s in REPEATED else 1, self.timing.overhead)
            for s in played
        )

    def update_cycles(self) -> int:
        """Clock cycles of all passes that update every tensor once; 0 for an engine that does not
        learn."""
        tensors = () if self.learning is None else self.learning.tensors
        return sum(self.cycles_of((s,), t.rows) for t in tensors for s in LEARNING)

    def __str__(self) -> str:
        parts = ((section, str(plan)) for section, plan in self.schedules.items() if plan.length)
        return "\n".join(f"{section.name.lower()}: {text}" for section, text in parts)


def place(
    program: Program,
    tables: Mapping[str, TableContents],
    config: EngineConfig,
    timing: Timing,
    learning: Learning | None = None,
) -> Mapped:
    """Allocate, lower and schedule on an engine of `config`'s lanes, drains, slots and words, which
    learns where there is something to learn.

    The engine's depths become what the program needs, and a little more (`roomy`).

    InvalidProgram when the program does not fit these widths, DoesNotFit when it needs more memory
    than an engine of these lanes can have.
    """
    return scheduled(placed(program, tables, config, learning), timing)


def placed(
    program: Program,
    tables: Mapping[str, TableContents],
    config: EngineConfig,
    learning: Learning | None = None,
) -> Placed:
    """Allocate and lower for an engine of these lanes, drains, slots and words. A state whose
    readers cannot all come before its new word is written gets a place for the old one too. Words
    that drains add to come first.

    Raises InvalidProgram and DoesNotFit as `place`, NoUpdate for a rule that needs longer words.
    """
    verify_target(program, config.widths)
    rule = None if learning is None else learning.rule
    config = replace(config, learns=rule is not None)
    besides: Mapping[str, Extent] = {}
    if rule is not None:
        check_rule(rule, config)
        besides = update_words(rule, config.lanes)
    stored = {body.section: stored_values(program, body) for body in program.bodies}
    copied: frozenset[tuple[Section, str]] = frozenset()
    bases: frozenset[Owner] = frozenset()
    while True:
        at = allocate(program, stored, config, copied, bases, besides)
        tasks = {s: lower(program, program.body(s), tables, at, config) for s in SWEPT}
        if rule is not None:
            tasks |= update_tasks(rule, at, config)
        shared = share(chain.from_iterable(tasks.values()), config, at.weight.used)
        check_fits(program, tables, at, shared, tasks.values())
        stuck = {(s, state) for s, own in tasks.items() for state in states_in_cycles(own, shared)}
        added = frozenset(
            at.owner(s, task.base.value) for s, own in tasks.items() for task in own if task.base
        )
        if not stuck and added == bases:
            plan = None if learning is None else learning_plan(learning, program, at)
            return Placed(program, config, at, tasks, shared, learning=plan)
        copied, bases = copied | stuck, added


def scheduled(placed: Placed, timing: Timing | None = None) -> Mapped:
    """A cycle for every task; the engine's depths become what the program needs (`roomy`)."""
    timing = timing or Timing()
    schedules = {
        s: schedule(own, placed.shared, timing, steps=s in REPEATED)
        for s, own in placed.tasks.items()
    }
    return Mapped(
        placed.program, _sized(placed, schedules), placed.allocation, placed.tasks, placed.shared,
        timing, schedules, learning=placed.learning,
    )  # fmt: skip


def roomy(words: int) -> int:
    """A memory's depth for so many words. Block RAM comes in multiples of 256 words and LUT RAM in
    multiples of 16 on every target, so what this adds costs nothing."""
    step = 16 if words <= 256 else 256
    return max(1, -(-words // step)) * step


def _all_ones(largest: int) -> int:
    """The largest number of as many bits."""
    return (1 << largest.bit_length()) - 1


def _sized(placed: Placed, schedules: Mapping[Section, Schedule]) -> EngineConfig:
    config, at, shared = placed.config, placed.allocation, placed.shared
    bodies = placed.program.bodies
    frames = [sum(d.type.size for d in b.frame) for b in bodies]
    emitted = [sum(placed.program.types(b)[v].size for v in b.emits) for b in bodies]
    longest = max(max(s.length, s.last) for s in schedules.values())
    runs = [max(e.inner, e.w_inner, e.w_outer) for s in schedules.values() for e in s.mac]
    bases = [e.base for s in schedules.values() for e in s.drain if e.add is not Add.NONE]
    banks = 1 << (-(-config.lanes // config.drains) - 1).bit_length()
    vector_depth = roomy(vector_words(at))
    return replace(
        config,
        weight_depth=roomy(weight_words(at, shared)),
        vector_depth=vector_depth,
        gradient_depth=roomy(at.gradient.used),
        table_depth=roomy(shared.table_words),
        exponent_depth=roomy(len(shared.exponent_words[0])),
        mac_depth=roomy(sum(len(s.mac) + 1 for s in schedules.values())),
        drain_depth=roomy(sum(len(s.drain) + 1 for s in schedules.values())),
        frame_depth=roomy(max([1, *frames])),
        frames=2 + max(s.overlap for s in schedules.values()),
        output_depth=max([1, *emitted]),
        section_cycles=_all_ones(longest),
        run=_all_ones(max(runs, default=1)),
        gradient=max((a.type.q.width for a in placed.program.accumulators), default=None),
        # A drain's copy holds the words of several lanes one after the other.
        base_depth=min(vector_depth, roomy((max(bases, default=0) + 1) * banks) // banks),
    )


def image(mapped: Mapped, coefficients: Mapping[str, Words]) -> Image:
    """Memory contents for given coefficient words."""
    program, at, shared = mapped.program, mapped.allocation, mapped.shared
    lanes = mapped.config.lanes
    weight = [[*bank, *shared.factors] for bank in _fill(at.weight, coefficients, lanes)]
    constants = {d.name: coefficients[d.name] for d in program.coefficients}
    for name, instr in constants_of(program).items():
        assert isinstance(instr.attr, Constant)
        value = round(instr.attr.value * 2.0**instr.type.q.scalar_frac)
        constants[name] = np.full(instr.type.shape, value, np.int64)
    if mapped.learning is not None:
        constants |= update_constants(mapped.learning.rule, lanes)
    vector = _fill(at.vectors, constants, lanes)
    mac: list[MacEntry] = []
    drain: list[DrainEntry] = []
    end = never(mapped.config)
    sections: list[SectionEntry] = []
    for section in sections_of(mapped.config.learns):
        plan = mapped.schedules[section]
        sections.append(plan.entry(len(mac), len(drain)))
        mac += [*plan.mac, MacEntry(end)]
        drain += [*plan.drain, DrainEntry(end, 0, 0, 0)]
    tables: list[tuple[int, int]] = []
    for base, slope in shared.tables:
        tables += zip(base, slope, strict=True)
    return Image(
        mapped.config,
        tuple(map(tuple, weight)),
        tuple(map(tuple, vector)),
        tuple(tables),
        shared.exponent_words,
        tuple(mac),
        tuple(drain),
        tuple(sections),
        max(1, *(sum(d.type.size for d in b.frame) for b in program.bodies)),
        mapped.timing,
    )


def summary(image: Image) -> str:
    """How much of each memory is filled, and where sections begin."""
    rows: list[tuple[object, ...]] = [("memory", "words", "depth", "not zero")]
    rows += [
        (space.name.lower(), len(bank[0]), depth, sum(sum(map(bool, words)) for words in bank))
        for space, bank, depth in (
            (Space.WEIGHT, image.weight, image.config.weight_depth),
            (Space.VECTOR, image.vector, image.config.vector_depth),
            (
                Space.TABLE,
                tuple(zip(*image.table, strict=True)) or ((),),
                image.config.table_depth,
            ),
            (Space.EXPONENT, image.exponent, image.config.exponent_depth),
        )
    ]
    rows += [("mac", len(image.mac), image.config.mac_depth, ""),
             ("drain", len(image.drain), image.config.drain_depth, "")]  # fmt: skip
    sections: list[tuple[object, ...]] = [
        ("section", "first mac", "first drain", "cycles", "last", "overlap")
    ]
    sections += [
        (s.name.lower(), *astuple(e)) for s, e in zip(Section, image.sections, strict=False)
    ]
    return f"{columns(rows)}\n{columns(sections)}\n{image.config}\n"


def _fill(memory: Memory, values: Mapping[str, Words], lanes: int) -> list[list[int]]:
    banks = [[0] * memory.used for _ in range(lanes)]
    for name, place_ in memory.places.items():
        if name in values:
            flat = np.asarray(values[name]).reshape(-1)
            for index, lane, address in place_.elements(lanes):
                banks[lane][address] = int(flat[index])
    return banks
