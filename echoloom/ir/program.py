"""Graphs (one traced function) and programs (a whole model, forward and echo).

A program is straight-line code in six bodies. A body of a step section runs once per time step.
State keeps its value between iterations and bodies; a body reads the old value and its
`updates` take effect together at the end. `accumulate` adds to an accumulator, which starts from
zero at the first iteration of the body.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from echoloom.ir.formats import Type
from echoloom.ir.ops import Attribute, Op
from echoloom.ir.places import Coordinate, Label, Place
from echoloom.ir.printer import attributes, braces, written
from echoloom.ir.sections import Section


@dataclass(frozen=True)
class Instr:
    """`name = op(args) : type`; every name is assigned once in its body.

    `place` says whose value it is, None outside the blocks. In the text the name prints it, so
    programs of equal texts are equal.
    """

    name: str
    op: Op
    args: tuple[str, ...]
    type: Type
    attr: Attribute | None = None
    place: Place | None = field(default=None, compare=False)

    @classmethod
    def of(
        cls, label: Label, op: Op, args: tuple[str, ...], type: Type, attr: Attribute | None = None
    ) -> Instr:
        return cls(label.text, op, args, type, attr, label.place)

    @property
    def label(self) -> Label:
        return Label(self.name, self.place)

    @property
    def kin(self) -> object:
        """Equal for the values of a body that are one word in all copies of a unit."""
        if self.place is None or self.place.copy is None:
            return self.name
        return self.place.block, self.place.word


@dataclass(frozen=True)
class Declaration:
    """A named, typed value that exists before any instruction: coefficient, state, input."""

    name: str
    type: Type


@dataclass(frozen=True)
class Coefficient(Declaration):
    """Constant during a run: made of the parameters of block number `block` or (None) of the rest.

    A `fixed` one is a number of the code itself, which no parameter changes; one that is `half_of`
    another has the other's value. The name prints this too.
    """

    block: int | None = field(default=None, compare=False)
    fixed: bool = field(default=False, compare=False)
    half_of: str = field(default="", compare=False)


@dataclass(frozen=True)
class State(Declaration):
    """Keeps its value: a unit's `coordinate`, which a step moves, or a vector (None) that waits for
    another body. The name prints the coordinate."""

    coordinate: Coordinate | None = field(default=None, compare=False)

    @property
    def label(self) -> Label:
        c = self.coordinate
        return Label(self.name, None if c is None else Place(c.block, c.copy, c.letter.value))


@dataclass(frozen=True)
class Accumulator:
    """A sum over steps.

    `target` is the coefficient whose gradient the host gets by adding up, over all accumulators
    with that target, scale * value (/ the coefficient `divisor`, where one is named).
    """

    name: str
    type: Type
    scale: float = 1.0
    target: str = ""
    divisor: str = ""


@dataclass(frozen=True)
class Leaf(Declaration):
    """A coefficient that a traced function reads: `path` within its argument `owner`. A result
    that is the derivative by it has its name."""

    owner: str
    path: str

    def of(self, target: str) -> str:
        """Its name in a program, where the argument is called `target`."""
        return f"{target}.{self.path}"


@dataclass(frozen=True)
class Graph:
    """One traced function: coefficients and inputs by name, straight-line code, named results."""

    inputs: tuple[Declaration, ...]
    instrs: tuple[Instr, ...]
    outputs: tuple[tuple[str, str], ...]  # (result name, value name)

    def leaves(self) -> dict[str, Leaf]:
        """The coefficients by name."""
        return {d.name: d for d in self.inputs if isinstance(d, Leaf)}

    def __str__(self) -> str:
        """The inputs that it reads, its code as a program's text has it, and its results."""
        read = {a for i in self.instrs for a in i.args} | {value for _, value in self.outputs}
        lines = [f"input {d.name} : {d.type}" for d in self.inputs if d.name in read]
        lines += _code_lines(self.instrs)
        lines += [f"{name} = {value}" for name, value in self.outputs]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Body:
    """Code of one section. `frame` lists the streamed inputs in stream order."""

    section: Section
    frame: tuple[Declaration, ...] = ()
    instrs: tuple[Instr, ...] = ()
    updates: tuple[tuple[str, str], ...] = ()  # (state, value)
    accumulates: tuple[tuple[str, str], ...] = ()  # (accumulator, value)
    emits: tuple[str, ...] = ()


class Task(enum.Enum):
    """What the host makes of a program's outputs, and tells its echo."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"


@dataclass(frozen=True)
class Program:
    """A whole model. `runtime` values are written by the host before a pass."""

    name: str
    coefficients: tuple[Coefficient, ...]
    runtime: tuple[Declaration, ...]
    states: tuple[State, ...]
    accumulators: tuple[Accumulator, ...]
    bodies: tuple[Body, ...]
    task: Task = Task.REGRESSION

    def body(self, section: Section) -> Body:
        for body in self.bodies:
            if body.section is section:
                return body
        return Body(section)

    @property
    def is_classification(self) -> bool:
        return self.task is Task.CLASSIFICATION

    def coordinates(self) -> dict[Coordinate, str]:
        """The names of the units' states."""
        return {d.coordinate: d.name for d in self.states if d.coordinate is not None}

    def globals(self) -> Iterator[Declaration]:
        yield from self.coefficients
        yield from self.runtime
        yield from self.states

    def types(self, body: Body) -> dict[str, Type]:
        """Type of every name visible in `body`."""
        types = {d.name: d.type for d in self.globals()}
        types.update((d.name, d.type) for d in body.frame)
        types.update((i.name, i.type) for i in body.instrs)
        return types

    def __str__(self) -> str:
        """The program's text, which `parser` reads; ValueError when a name cannot be written."""
        return "\n".join(_lines(self)) + "\n"


def uses(body: Body) -> dict[str, int]:
    """How often each name is read in a body, by instructions or by its results."""
    counts: dict[str, int] = {}
    for name in _reads(body):
        counts[name] = counts.get(name, 0) + 1
    return counts


def _reads(body: Body) -> Iterable[str]:
    for instr in body.instrs:
        yield from instr.args
    for _, value in (*body.updates, *body.accumulates):
        yield value
    yield from body.emits


def _lines(program: Program) -> Iterator[str]:
    yield f"program {written(program.name)}"
    for keyword, declarations in (
        ("coefficient", program.coefficients),
        ("runtime", program.runtime),
        ("state", program.states),
    ):
        if declarations:
            yield ""
        for d in declarations:
            yield f"{keyword} {written(d.name)} : {d.type}"
    if program.accumulators:
        yield ""
    for a in program.accumulators:
        settings = {"scale": a.scale, "target": a.target, "divisor": a.divisor}
        given = {name: value for name, value in settings.items() if value != ""}
        yield f"accumulator {written(a.name)} {braces(given)} : {a.type}"
    for body in program.bodies:
        yield ""
        yield f"{body.section.name.lower()}:"
        yield from (f"  {line}" for line in _body_lines(body))


def _named(instrs: Iterable[Instr]) -> Callable[[str], str]:
    computed = {i.name for i in instrs}
    return lambda value: ("%" if value in computed else "") + written(value)


def _code_lines(instrs: Iterable[Instr]) -> Iterator[str]:
    name = _named(instrs)
    for i in instrs:
        args = ", ".join(map(name, i.args))
        inside = "" if i.attr is None else braces(attributes(i.attr)) + " "
        yield f"{name(i.name)} = {i.op.value}({args}) {inside}: {i.type}"


def _body_lines(body: Body) -> Iterator[str]:
    name = _named(body.instrs)
    for d in body.frame:
        yield f"frame {written(d.name)} : {d.type}"
    yield from _code_lines(body.instrs)
    for state, value in body.updates:
        yield f"{written(state)} <- {name(value)}"
    for accumulator, value in body.accumulates:
        yield f"accumulate {written(accumulator)} += {name(value)}"
    for value in body.emits:
        yield f"emit {name(value)}"
