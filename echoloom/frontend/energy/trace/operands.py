"""What a tracer holds of a value, and the code that it writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from echoloom.frontend.energy.canonical import Untraceable
from echoloom.ir.formats import Type, real
from echoloom.ir.ops import Attribute, Constant, Op
from echoloom.ir.program import Instr

Floats = np.ndarray


@dataclass(frozen=True)
class Known:
    """A tensor whose elements are all the same number."""

    value: float
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Origin:
    """How a coefficient is made of the leaves, so that it can be made again from other numbers.

    Equal origins give equal values whatever the leaves are; equal values alone may be chance.
    """

    how: str
    sources: tuple[Origin, ...] = ()
    again: Callable[..., Any] = field(compare=False, default=lambda *sources: sources[0])

    def value(self, leaves: Mapping[str, Floats]) -> Floats:
        """The coefficient for these leaves, by the very operations that made it when traced."""
        if not self.sources:
            return self.again(leaves)
        return self.again(*(source.value(leaves) for source in self.sources))


def leaf(name: str) -> Origin:
    return Origin(f"leaf {name}", again=lambda leaves: leaves[name])


def fixed(value: Floats) -> Origin:
    """Of numbers that are written into the function."""
    return Origin(f"{value.shape} {value.tobytes().hex()}", again=lambda leaves: value)


@dataclass(frozen=True, eq=False)
class Held:
    """A coefficient times a number; `name` is empty until an instruction needs one that is not a
    leaf."""

    value: Floats
    origin: Origin
    name: str = ""
    transposed: bool = False
    factor: float = 1.0

    @property
    def product(self) -> Floats:
        return self.value * self.factor

    @property
    def plain(self) -> Held:
        """The product as a coefficient of its own, where the factor is not 1."""
        factor = self.factor
        if factor == 1.0:
            return self
        return Held(self.product, self._then(f"times {factor}", lambda v: v * factor))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    def _then(self, how: str, again: Callable[[Floats], Floats]) -> Origin:
        return Origin(how, (self.origin,), again)

    def made(self, how: str, again: Callable[[Floats], Floats]) -> Held:
        """A new coefficient from this one's value; `how` says what `again` does."""
        return Held(again(self.value), self._then(how, again))

    def reshaped(self, *shape: int) -> Held:
        return self.made(f"reshape {shape}", lambda v: v.reshape(shape))

    def broadcast(self, shape: tuple[int, ...]) -> Held:
        return self.made(f"broadcast {shape}", lambda v: np.broadcast_to(v, shape))

    def turned(self) -> Held:
        """The same coefficient seen transposed."""
        return replace(
            self, value=self.value.T, origin=self._then("transpose", lambda v: v.T),
            transposed=not self.transposed,
        )  # fmt: skip


def numbers(value: Floats) -> Held:
    """A coefficient that never changes."""
    return Held(value, fixed(value))


@dataclass(frozen=True)
class Ref:
    """A run-time value; `shape` is the shape JAX sees. One number has the IR shape (1,) and stands
    for a whole vector where JAX has broadcast it; a matrix may be seen transposed."""

    name: str
    shape: tuple[int, ...]
    transposed: bool = False


Operand = Known | Held | Ref


@dataclass
class Code:
    """Instructions written so far, and the coefficients folded for them.

    Folded coefficients are called `<owner>.<label>.<number>`.
    """

    owner: str
    label: str
    instrs: list[Instr] = field(default_factory=list)
    folded: dict[str, Held] = field(default_factory=dict)
    ir_shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    where: str = ""

    def untraceable(self, problem: str) -> Untraceable:
        return Untraceable(f"{self.label or 'a function'} at {self.where}: {problem}")

    def emit(
        self, op: Op, args: tuple[str, ...], shape: tuple[int, ...], attr: Attribute | None = None
    ) -> Ref:
        name = f"t{len(self.instrs)}"
        shape = shape or (1,)
        self.instrs.append(Instr(name, op, args, Type(shape, real().format), attr))
        self.ir_shapes[name] = shape
        return Ref(name, shape)

    def held(self, coefficient: Held) -> str:
        """Name of a coefficient as an operand, its factor aside; declared where it is no leaf."""
        if coefficient.name and not coefficient.transposed:
            return coefficient.name
        for name, other in self.folded.items():
            if other.origin == coefficient.origin:
                return name
        name = ".".join(p for p in (self.owner, self.label, f"w{len(self.folded)}") if p)
        self.folded[name] = coefficient
        return name

    def narrowed(self, value: Ref) -> bool:
        """Whether one number stands for a longer vector."""
        return self.ir_shapes[value.name] in ((), (1,)) and value.shape not in ((), (1,))

    def spread(self, value: Ref) -> Ref:
        """A vector of its own, where one number stood for it."""
        if not self.narrowed(value):
            return value
        ones = self.held(numbers(np.ones((value.shape[0], 1))))
        return self.emit(Op.MATVEC, (ones, value.name), value.shape)

    def settled(self, value: Operand) -> str:
        """Name of a value of its own, an instruction where there was none."""
        if isinstance(value, Known):
            return self.emit(Op.CONSTANT, (), value.shape, Constant(value.value)).name
        if isinstance(value, Held):
            one = self.emit(Op.CONSTANT, (), (1,), Constant(1.0))
            column = self.held(value.plain.reshaped(-1, 1))
            return self.emit(Op.MATVEC, (column, one.name), value.shape).name
        value = self.spread(value)
        if not value.transposed:
            return value.name
        outer = next((i for i in self.instrs if i.name == value.name), None)
        if outer is None or outer.op is not Op.OUTER:
            raise self.untraceable(f"the transposed matrix {value.name} is used as a value")
        return self.emit(Op.OUTER, outer.args[::-1], value.shape).name
