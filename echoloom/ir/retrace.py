"""Checks that the echo's free copy takes exactly the forward pass's steps backwards.

A pass moves each position and momentum through a chain of values by increments. The echo undoes it
if its chains are the forward pass's in reverse: its last increment the same operations, on the same
formats, as the first one of the forward pass, made of the same values of the other chains. One
fraction bit more in one pass, or two stages exchanged, and the free copy misses its start. The
check compares the expressions, so no run of the program is needed.

An increment is odd or even in the momentum as `reversible` demands, so the sign of p is no matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from echoloom.ir.formats import Q, Type
from echoloom.ir.places import Copy
from echoloom.ir.program import Instr, Program
from echoloom.ir.refusals import Part, Value
from echoloom.ir.reversible import Path, paths
from echoloom.ir.sections import Section
from echoloom.ir.verifier import InvalidProgram

# Operation, attribute, type, then the numbers of its operands; or where a value comes from.
Expression = tuple[object, ...]


def check_retrace(program: Program) -> Program:
    """InvalidProgram names the first free state that the echo does not undo; returns `program`."""
    shared: dict[Expression, int] = {}
    forward = _Pass(program, Section.FORWARD_STEP, shared)
    echo = _Pass(program, Section.ECHO_STEP, shared)
    blocks = {name: own.block for own, name in program.coordinates().items()}
    for state in forward.chains:
        lost = "the echo does not retrace ", Value(state, blocks.get(state))
        if state not in echo.chains:
            raise InvalidProgram(*lost, ": it does not update it")
        there, back = forward.increments(state), echo.increments(state)
        if len(there) != len(back):
            raise InvalidProgram(
                *lost, f": forward moves it {len(there)} times, echo {len(back)} times"
            )
        for one, other in zip(there, back, strict=True):
            if one.number != other.number:
                raise InvalidProgram(*lost, ": ", *_difference(forward, echo, one, other))
    return program


@dataclass(frozen=True)
class _Increment:
    """How `value` comes from the one before it in a chain; equal numbers are equal expressions."""

    value: str
    increment: str
    number: int


@dataclass
class _Pass:
    """One pass over the free copies. `shared` numbers the expressions of both passes."""

    program: Program
    section: Section
    shared: dict[Expression, int]
    chains: Mapping[str, Path] = field(default_factory=dict)
    _known: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        body = self.program.body(self.section)
        free = {name for c, name in self.program.coordinates().items() if c.copy is Copy.FREE}
        self.definitions = {i.name: i for i in body.instrs}
        self.types = self.program.types(body)
        self.chains = {s: p for s, p in paths(body).items() if s in free}
        self._places: dict[str, Expression] = {}
        for state, path in self.chains.items():
            # A path leads back in time from the new value; so does the echo from the old one.
            order = path.values[::-1] if self.section is Section.FORWARD_STEP else path.values
            for place, value in enumerate(order):
                self._places[value] = ("state", state, place, _format(self.types[value]))

    def increments(self, state: str) -> list[_Increment]:
        """Every move of `state`, in the order of the forward pass."""
        path = self.chains[state]
        moves = [
            _Increment(value, increment, self._move(value, before, increment))
            for value, before, increment in zip(
                path.values[:-1], path.values[1:], path.increments, strict=True
            )
        ]
        return moves[::-1] if self.section is Section.FORWARD_STEP else moves

    def _move(self, value: str, before: str, increment: str) -> int:
        added = self.definitions[value]
        how: list[object] = [added.op.value, repr(added.attr)]
        if before not in added.args:  # a requantised sum
            total = self.definitions[added.args[0]]
            how += [total.op.value, _format(total.type)]
        ends = {_format(self.types[value]), _format(self.types[before])}
        return self._number(("move", *how, *sorted(ends), self.expression(increment)))

    def expression(self, name: str) -> int:
        """The number of a value in terms of coefficients, frame and the chains' values."""
        if name not in self._known:
            self._known[name] = self._number(self.describe(name))
        return self._known[name]

    def describe(self, name: str) -> Expression:
        if name in self._places:
            return self._places[name]
        instr = self.definitions.get(name)
        if instr is None:
            return ("given", name, _format(self.types[name]))
        operation = (instr.op.value, repr(instr.attr), _format(instr.type))
        return (*operation, *(self.expression(a) for a in instr.args))

    def _number(self, expression: Expression) -> int:
        return self.shared.setdefault(expression, len(self.shared))


def _format(type_: Type) -> str:
    return str(type_) if isinstance(type_.format, Q) else str(type_.shape)


def _difference(
    forward: _Pass, echo: _Pass, one: _Increment, other: _Increment
) -> tuple[Part, ...]:
    """Where two increments first part: the operands that differ while the operations agree."""
    a, b = one.increment, other.increment
    if forward.expression(a) == echo.expression(b):
        a, b = one.value, other.value
    while True:
        x, y = forward.definitions.get(a), echo.definitions.get(b)
        following = _parting(forward, echo, x, y)
        if following is None:
            return "forward has ", *_short(forward, a), ", echo has ", *_short(echo, b)
        a, b = following


def _parting(
    forward: _Pass, echo: _Pass, x: Instr | None, y: Instr | None
) -> tuple[str, str] | None:
    if x is None or y is None or len(x.args) != len(y.args):
        return None
    if forward.describe(x.name)[:3] != echo.describe(y.name)[:3]:
        return None
    for a, b in zip(x.args, y.args, strict=True):
        if forward.expression(a) != echo.expression(b):
            return a, b
    return None


def _short(of: _Pass, name: str) -> tuple[Part, ...]:
    described = " ".join(str(part) for part in of.describe(name) if isinstance(part, str))
    return Value(name), f" = {described}"
