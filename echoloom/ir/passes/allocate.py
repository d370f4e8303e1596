"""Addresses for everything a program keeps: weights, vectors, gradients, tables, exponents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from echoloom.ir.arithmetic import Overflow
from echoloom.ir.contract import EngineConfig
from echoloom.ir.formats import Q
from echoloom.ir.ops import Op
from echoloom.ir.passes.layout import Memory, Orientation, Place, groups, in_group, orientation
from echoloom.ir.printer import columns
from echoloom.ir.program import Body, Instr, Program
from echoloom.ir.sections import Section
from echoloom.ir.tables import TableContents, table_key


@dataclass
class Allocation:
    """Filled while a program is lowered; read-only afterwards."""

    lanes: int
    drains: int
    word: int
    narrow: int
    weight: Memory
    gradient: Memory
    vectors: Memory  # states, runtime values, biases, constants: the same place in every body
    temporaries: dict[Section, Memory]
    states: dict[str, Place]
    homes: dict[tuple[Section, str], str]  # (body, value) -> state it is written to in place
    wrapping: frozenset[str]
    table_contents: Mapping[str, TableContents]
    zero: int = 0
    constant_weights: dict[int, int] = field(default_factory=dict)
    table_addresses: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = field(
        default_factory=dict
    )
    table_words: int = 0
    exponent_addresses: dict[str, int] = field(default_factory=dict)
    exponent_words: list[list[int]] = field(default_factory=list)

    def __str__(self) -> str:
        """A line for everything that has a place: memory, first word, what, how much of it."""
        memories = {"weight": self.weight, "gradient": self.gradient, "vector": self.vectors}
        memories |= {f"vector in {s.name.lower()}": m for s, m in self.temporaries.items()}
        rows: list[tuple[object, ...]] = [("memory", "word", "what", "words in every lane")]
        rows += [
            (name, place.address, what or "zero", place.words(self.lanes))
            for name, memory in memories.items()
            for what, place in memory.places.items()
        ]
        rows += [
            ("weight", at, f"constant {value}", 1) for value, at in self.constant_weights.items()
        ]
        rows += [
            ("table", at, "lines", len(base)) for (base, _), at in self.table_addresses.items()
        ]
        rows += [("exponent", at, name, "") for name, at in self.exponent_addresses.items()]
        return columns(rows)

    def vector(self, section: Section, name: str) -> Place:
        home = self.homes.get((section, name))
        if home is not None:
            return self.states[home]
        if name in self.vectors.places:
            return self.vectors.places[name]
        return self.temporaries[section].places[name]

    def home(self, section: Section, name: str) -> str:
        return self.homes.get((section, name), "")

    def state_overflow(self, state: str) -> Overflow:
        return Overflow.WRAP if state in self.wrapping else Overflow.SATURATE

    def constant_weight(self, value: int) -> int:
        """Address of a weight word that holds `value` in every lane."""
        if value not in self.constant_weights:
            self.constant_weights[value] = self.weight.used
            self.weight.used += 1
        return self.constant_weights[value]

    def table(self, instr: Instr, source: Q) -> tuple[int, TableContents]:
        contents = self.table_contents[table_key(instr, source)]
        words = (contents.base, contents.slope)
        if words not in self.table_addresses:
            self.table_addresses[words] = self.table_words
            self.table_words += len(contents.base)
        return self.table_addresses[words], contents

    def exponents(self, coefficient: str, fracs: tuple[int, ...], group: int) -> int:
        """Address of a row group's extra shifts in every drain's exponent memory."""
        if not self.exponent_words:
            self.exponent_words = [[] for _ in range(self.drains)]
        if coefficient not in self.exponent_addresses:
            self.exponent_addresses[coefficient] = len(self.exponent_words[0])
            for g in range(groups(len(fracs), self.lanes)):
                self._append_exponents(fracs, g)
        before = sum(groups(in_group(len(fracs), g, self.lanes), self.drains) for g in range(group))
        return self.exponent_addresses[coefficient] + before

    def _append_exponents(self, fracs: tuple[int, ...], group: int) -> None:
        lowest = min(fracs)
        count = in_group(len(fracs), group, self.lanes)
        for chunk in range(groups(count, self.drains)):
            for drain in range(self.drains):
                lane = chunk * self.drains + drain
                extra = fracs[group * self.lanes + lane] - lowest if lane < count else 0
                self.exponent_words[drain].append(extra)


def allocate(
    program: Program,
    tables: Mapping[str, TableContents],
    stored: Mapping[Section, tuple[str, ...]],
    config: EngineConfig,
    copied: frozenset[tuple[Section, str]] = frozenset(),
) -> Allocation:
    """Lay a program out for the banks of an engine; its depths do not count.

    `copied` holds (body, state) pairs whose new value must not be written in place.
    """
    lanes = config.lanes
    weight, gradient, vectors = Memory(lanes), Memory(lanes), Memory(lanes)
    vectors.vector("", 1)  # a word of zeros
    multiplied = {
        a for b in program.bodies for i in b.instrs
        if i.op in (Op.MUL, Op.MATVEC, Op.TMATVEC) for a in i.args
    }  # fmt: skip
    streamed = _streamed_matrices(program)
    for d in program.coefficients:
        if d.name not in multiplied:
            vectors.vector(d.name, d.type.size)
        elif len(d.type.shape) == 2:
            way = Orientation.ROWS if d.name in streamed else orientation(*d.type.shape, lanes)
            weight.matrix(d.name, d.type.shape, way)
        else:
            weight.vector(d.name, d.type.size)
    states = {d.name: vectors.vector(d.name, d.type.size) for d in program.states}
    for d in program.runtime:
        vectors.vector(d.name, d.type.size)
    constants = [i for b in program.bodies for i in b.instrs if i.op is Op.CONSTANT]
    for instr in constants:
        if instr.name not in vectors.places:
            vectors.vector(instr.name, instr.type.size)
    _allocate_gradients(program, gradient, lanes)
    homes = _homes(program, stored, copied)
    # No word is shared between bodies: the unused lanes of a vector's last row group then stay
    # zero for ever, and no stale word can reach an accumulator's overflow flag.
    temporaries = {}
    used = vectors.used
    for body in program.bodies:
        memory = Memory(lanes, used=used)
        types = program.types(body)
        for name in stored.get(body.section, ()):
            if (body.section, name) not in homes:
                memory.vector(name, types[name].size)
        temporaries[body.section] = memory
        used = memory.used
    wrapping = frozenset(d.name for d in program.states if d.name.startswith("b"))
    return Allocation(
        lanes, config.drains, config.word, config.narrow, weight, gradient, vectors, temporaries,
        states, homes, wrapping, tables,
    )  # fmt: skip


def _streamed_matrices(program: Program) -> set[str]:
    """Matrices that multiply a frame input: that is only broadcast, so they are banked by rows."""
    found = set()
    for body in program.bodies:
        frame = {d.name for d in body.frame}
        for instr in body.instrs:
            if instr.op is Op.MATVEC and instr.args[1] in frame:
                found.add(instr.args[0])
    return found


def _allocate_gradients(program: Program, gradient: Memory, lanes: int) -> None:
    shapes = {a.name: a.type.shape for a in program.accumulators}
    for body in program.bodies:
        frame = {d.name for d in body.frame}
        definitions = {i.name: i for i in body.instrs}
        for name, value in body.accumulates:
            shape = shapes[name]
            if len(shape) == 2:
                streamed = definitions[value].args[1] in frame
                way = Orientation.ROWS if streamed else orientation(*shape, lanes)
                gradient.matrix(name, shape, way)
            else:
                gradient.vector(name, max(1, shape[0] if shape else 1))


def _homes(
    program: Program,
    stored: Mapping[Section, tuple[str, ...]],
    copied: frozenset[tuple[Section, str]],
) -> dict[tuple[Section, str], str]:
    homes: dict[tuple[Section, str], str] = {}
    for body in program.bodies:
        for state, value in body.updates:
            key = (body.section, value)
            inside = value in stored.get(body.section, ())
            if inside and key not in homes and (body.section, state) not in copied:
                homes[key] = state
    return homes


def constants_of(program: Program) -> dict[str, tuple[Body, Instr]]:
    """Every CONSTANT instruction by name."""
    return {i.name: (b, i) for b in program.bodies for i in b.instrs if i.op is Op.CONSTANT}
