"""Addresses for everything a program keeps by name: weights, vectors, sums over steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from echoloom.ir.arithmetic import Overflow
from echoloom.ir.contract import EngineConfig
from echoloom.ir.ops import Op
from echoloom.ir.passes.layout import (
    Extent,
    Memory,
    Orientation,
    Place,
    filled,
    in_a_row,
    matrix,
    memory,
    orientation,
)
from echoloom.ir.program import Instr, Program
from echoloom.ir.sections import Section

Owner = tuple[Section | None, str]  # of words: a body's own value, or what is in all of them


@dataclass(frozen=True)
class Allocation:
    """Where a program's words are in an engine's banks."""

    lanes: int
    weight: Memory  # coefficients that something is multiplied by
    gradient: Memory
    vectors: Memory  # states, runtime values, biases, constants: the same place in every body
    temporaries: Mapping[Section, Memory]
    states: Mapping[str, Place]
    homes: Mapping[tuple[Section, str], str]  # (body, value) -> state it is written to in place
    wrapping: frozenset[str]  # states

    def rows(self) -> Iterator[tuple[object, ...]]:
        """Memory, first word, what is there, and how many words of every lane it takes."""
        memories = {"weight": self.weight, "gradient": self.gradient, "vector": self.vectors}
        memories |= {f"vector in {s.name.lower()}": m for s, m in self.temporaries.items()}
        for name, bank in memories.items():
            for what, place in bank.places.items():
                yield name, place.address, what or "zero", place.words(self.lanes)

    def vector(self, section: Section, name: str) -> Place:
        body, name = self.owner(section, name)
        return (self.vectors if body is None else self.temporaries[body]).places[name]

    def owner(self, section: Section, name: str) -> Owner:
        """Whose words a body's value has."""
        home = self.homes.get((section, name))
        if home is not None:
            return None, home
        return (None if name in self.vectors.places else section), name

    def home(self, section: Section, name: str) -> str:
        return self.homes.get((section, name), "")

    def state_overflow(self, state: str) -> Overflow:
        return Overflow.WRAP if state in self.wrapping else Overflow.SATURATE


def allocate(
    program: Program,
    stored: Mapping[Section, tuple[str, ...]],
    config: EngineConfig,
    copied: frozenset[tuple[Section, str]] = frozenset(),
    bases: frozenset[Owner] = frozenset(),
    besides: Mapping[str, Extent] = MappingProxyType({}),
) -> Allocation:
    """Lay a program out for the banks of an engine; its depths do not count.

    `stored` names the values of each body that take words, in order; `copied` holds (body, state)
    pairs whose new value must not be written in place. `bases` come first in vector memory: the
    drains' copies of it need not hold the rest. `besides` are words of vector memory that no body
    knows.
    """
    lanes = config.lanes
    homes = _homes(program, stored, copied)
    # No word is shared between bodies: the unused lanes of a vector's last row group then stay
    # zero for ever, and no stale word can reach an accumulator's overflow flag.
    shared = (*_vectors(program), *besides.items())
    words: list[tuple[Owner, Extent]] = [((None, n), extent) for n, extent in shared]
    for body in program.bodies:
        types = program.types(body)
        words += [
            ((body.section, name), Extent(types[name].size))
            for name in stored.get(body.section, ())
            if (body.section, name) not in homes
        ]
    words.sort(key=lambda word: word[0] not in bases)
    places = in_a_row(lanes, words)

    def part(owner: Section | None) -> Memory:
        return memory(lanes, {name: at for (whose, name), at in places.items() if whose is owner})

    vectors = part(None)
    return Allocation(
        lanes,
        filled(lanes, _weights(program, lanes)),
        filled(lanes, _sums(program, lanes)),
        vectors,
        {body.section: part(body.section) for body in program.bodies},
        {d.name: vectors.places[d.name] for d in program.states},
        homes,
        frozenset(program.coordinates().values()),
    )


def _multiplied(program: Program) -> frozenset[str]:
    products = (Op.MUL, Op.MATVEC, Op.TMATVEC)
    return frozenset(
        a for b in program.bodies for i in b.instrs if i.op in products for a in i.args
    )


def _vectors(program: Program) -> Iterator[tuple[str, Extent]]:
    yield "", Extent(1)  # a word of zeros
    multiplied = _multiplied(program)
    addends = [d for d in program.coefficients if d.name not in multiplied]
    for d in (*addends, *program.states, *program.runtime):
        yield d.name, Extent(d.type.size)
    for name, instr in constants_of(program).items():
        yield name, Extent(instr.type.size)


def _weights(program: Program, lanes: int) -> Iterator[tuple[str, Extent]]:
    multiplied, streamed = _multiplied(program), _streamed_matrices(program)
    for d in program.coefficients:
        if d.name in multiplied and len(d.type.shape) == 2:
            way = Orientation.ROWS if d.name in streamed else orientation(*d.type.shape, lanes)
            yield d.name, matrix(d.type.shape, way)
        elif d.name in multiplied:
            yield d.name, Extent(d.type.size)


def _streamed_matrices(program: Program) -> set[str]:
    """Matrices that multiply a frame input: that is only broadcast, so they are banked by rows."""
    found = set()
    for body in program.bodies:
        frame = {d.name for d in body.frame}
        for instr in body.instrs:
            if instr.op is Op.MATVEC and instr.args[1] in frame:
                found.add(instr.args[0])
    return found


def _sums(program: Program, lanes: int) -> Iterator[tuple[str, Extent]]:
    shapes = {a.name: a.type.shape for a in program.accumulators}
    for body in program.bodies:
        frame = {d.name for d in body.frame}
        definitions = {i.name: i for i in body.instrs}
        for name, value in body.accumulates:
            shape = shapes[name]
            if len(shape) == 2:
                streamed = definitions[value].args[1] in frame
                way = Orientation.ROWS if streamed else orientation(*shape, lanes)
                yield name, matrix(shape, way)
            else:
                yield name, Extent(max(1, shape[0] if shape else 1))


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


def constants_of(program: Program) -> dict[str, Instr]:
    """Every CONSTANT instruction by name."""
    return {i.name: i for b in program.bodies for i in b.instrs if i.op is Op.CONSTANT}
