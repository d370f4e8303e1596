"""What a tracer holds of a value, and the code that it writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from echoloom.frontend.energy.canonical import Untraceable
from echoloom.frontend.energy.folding import HostExpression
from echoloom.ir.formats import Type, real
from echoloom.ir.ops import Attribute, Constant, Op
from echoloom.ir.program import Instr

Floats = np.ndarray


@dataclass(frozen=True)
class Splat:
    """A tensor whose elements are all the same number."""

    value: float
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Folded:
    """A coefficient times a number; `name` is empty until an instruction needs one that is not a
    leaf."""

    value: Floats
    expression: HostExpression
    name: str = ""
    transposed: bool = False
    factor: float = 1.0

    @property
    def plain(self) -> Folded:
        """The product as a coefficient of its own, where the factor is not 1."""
        factor = self.factor
        return self if factor == 1.0 else self.made(f"times {factor}", lambda v: v * factor)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    def made(self, operation: str, compute: Callable[[Floats], Floats]) -> Folded:
        """A new coefficient from this one, its factor aside; `operation` says what `compute`
        does."""
        return Folded(compute(self.value), self.expression.then(operation, compute))

    def reshaped(self, *shape: int) -> Folded:
        return self.made(f"reshape {shape}", lambda v: v.reshape(shape))

    def broadcast(self, shape: tuple[int, ...]) -> Folded:
        return self.made(f"broadcast {shape}", lambda v: np.broadcast_to(v, shape))

    def turned(self) -> Folded:
        """The same coefficient seen transposed."""
        seen = self.made("transpose", lambda v: v.T)
        return replace(seen, name=self.name, transposed=not self.transposed, factor=self.factor)


def numbers(value: Floats) -> Folded:
    """A coefficient that never changes."""
    written = f"{value.shape} {value.tobytes().hex()}"
    return Folded(value, HostExpression(written, (), lambda: value))


@dataclass(frozen=True)
class Ref:
    """A run-time value; `shape` is the shape JAX sees. One number has the IR shape (1,) and stands
    for a whole vector where JAX has broadcast it; a matrix may be seen transposed."""

    name: str
    shape: tuple[int, ...]
    transposed: bool = False


Operand = Splat | Folded | Ref


@dataclass
class Code:
    """Instructions written so far, and the coefficients folded for them, which are called
    `<label>.<number>` of their owner."""

    owner: str
    label: str
    instrs: list[Instr] = field(default_factory=list)
    folded: dict[str, Folded] = field(default_factory=dict)
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

    def named(self, own: str) -> str:
        """What code calls the coefficient `own` of the owner."""
        return f"{self.owner}.{own}"

    def coefficient(self, folded: Folded) -> str:
        """Name of a coefficient as an operand, its factor aside; declared where it is no leaf."""
        if folded.name and not folded.transposed:
            return folded.name
        for own, other in self.folded.items():
            if other.expression == folded.expression:
                return self.named(own)
        own = ".".join(p for p in (self.label, f"w{len(self.folded)}") if p)
        self.folded[own] = folded
        return self.named(own)

    def narrowed(self, value: Ref) -> bool:
        """Whether one number stands for a longer vector."""
        return self.ir_shapes[value.name] in ((), (1,)) and value.shape not in ((), (1,))

    def spread(self, value: Ref) -> Ref:
        """A vector of its own, where one number stood for it."""
        if not self.narrowed(value):
            return value
        ones = self.coefficient(numbers(np.ones((value.shape[0], 1))))
        return self.emit(Op.MATVEC, (ones, value.name), value.shape)

    def materialised(self, value: Operand) -> str:
        """Name of a value of its own, an instruction where there was none."""
        if isinstance(value, Splat):
            return self.emit(Op.CONSTANT, (), value.shape, Constant(value.value)).name
        if isinstance(value, Folded):
            one = self.emit(Op.CONSTANT, (), (1,), Constant(1.0))
            column = self.coefficient(value.plain.reshaped(-1, 1))
            return self.emit(Op.MATVEC, (column, one.name), value.shape).name
        value = self.spread(value)
        if not value.transposed:
            return value.name
        outer = next((i for i in self.instrs if i.name == value.name), None)
        if outer is None or outer.op is not Op.OUTER:
            raise self.untraceable(f"the transposed matrix {value.name} is used as a value")
        return self.emit(Op.OUTER, outer.args[::-1], value.shape).name
