"""What a tracer holds of a value, and the code that it writes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from echoloom.frontend.canonical import Untraceable
from echoloom.ir.formats import Type, real
from echoloom.ir.ops import Attribute, Constant, Op
from echoloom.ir.program import Instr

Floats = np.ndarray


@dataclass(frozen=True)
class Known:
    """A tensor whose elements are all the same number."""

    value: float
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Held:
    """A coefficient times a number; `name` is empty until an instruction needs one that is not a
    leaf."""

    value: Floats
    name: str = ""
    transposed: bool = False
    factor: float = 1.0

    @property
    def product(self) -> Floats:
        return self.value * self.factor

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape


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
    folded: dict[str, Floats] = field(default_factory=dict)
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
        for name, value in self.folded.items():
            if np.array_equal(value, coefficient.value):
                return name
        name = ".".join(p for p in (self.owner, self.label, f"w{len(self.folded)}") if p)
        self.folded[name] = coefficient.value
        return name

    def narrowed(self, value: Ref) -> bool:
        """Whether one number stands for a longer vector."""
        return self.ir_shapes[value.name] in ((), (1,)) and value.shape not in ((), (1,))

    def spread(self, value: Ref) -> Ref:
        """A vector of its own, where one number stood for it."""
        if not self.narrowed(value):
            return value
        ones = self.held(Held(np.ones((value.shape[0], 1))))
        return self.emit(Op.MATVEC, (ones, value.name), value.shape)

    def settled(self, value: Operand) -> str:
        """Name of a value of its own, an instruction where there was none."""
        if isinstance(value, Known):
            return self.emit(Op.CONSTANT, (), value.shape, Constant(value.value)).name
        if isinstance(value, Held):
            one = self.emit(Op.CONSTANT, (), (1,), Constant(1.0))
            column = self.held(Held(value.product.reshape(-1, 1)))
            return self.emit(Op.MATVEC, (column, one.name), value.shape).name
        value = self.spread(value)
        if not value.transposed:
            return value.name
        outer = next((i for i in self.instrs if i.name == value.name), None)
        if outer is None or outer.op is not Op.OUTER:
            raise self.untraceable(f"the transposed matrix {value.name} is used as a value")
        return self.emit(Op.OUTER, outer.args[::-1], value.shape).name
