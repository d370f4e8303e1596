"""The closed set of operations, and the attributes that some of them carry.

Arithmetic is exact and widens by rule; REQUANT and TABLE are the only operations that lose bits.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from echoloom.ir.arithmetic import Overflow, Rounding


class Op(enum.Enum):
    CONSTANT = "constant"  # attr Constant: every element the same number
    READ = "read"  # attr Read: an accumulator's content
    ADD = "add"  # a + b
    SUB = "sub"  # a - b
    MUL = "mul"  # a * b by elements; one side may be a scalar
    SCALE = "scale"  # attr Scale: a * factor
    MATVEC = "matvec"  # W @ x
    TMATVEC = "tmatvec"  # W.T @ g
    OUTER = "outer"  # g[:, None] * x[None, :]
    TABLE = "table"  # attr Table: a function of one variable, by elements
    SHIFT = "shift"  # attr Shift: a * 2**-s, s a run-time register; real programs only
    REQUANT = "requant"  # attr Requant: round and narrow to the result's type


SUMS = frozenset({Op.ADD, Op.SUB})
PRODUCTS = frozenset({Op.MUL, Op.MATVEC, Op.TMATVEC, Op.OUTER})
VECTOR_PRODUCTS = PRODUCTS - {Op.OUTER}  # which may be stored; a matrix is only summed up

# R(-x) = -R(x): the roundings under which a leapfrog increment retraces itself.
ODD_ROUNDINGS = frozenset({Rounding.HALF_EVEN, Rounding.HALF_AWAY, Rounding.TO_ZERO})


class DynamicShift(enum.IntEnum):
    """Registers that a shift to the right adds to its own."""

    NONE = 0
    LENGTH = 1  # how many bits to divide a sum over T steps by, beside the factor 2**s / T
    PEAK = 2  # by how much the largest measured result is too long; never in a sweep


@dataclass(frozen=True)
class Constant:
    value: float


@dataclass(frozen=True)
class Read:
    accumulator: str


@dataclass(frozen=True)
class Scale:
    factor: float


@dataclass(frozen=True)
class Table:
    """`function` names an entry of ir.tables; `segments` is None until quantised."""

    function: str
    segment_bits: int = 0
    range_bits: int = 0  # the table covers [-2**range_bits, 2**range_bits), affine beyond


@dataclass(frozen=True)
class Shift:
    register: DynamicShift


@dataclass(frozen=True)
class Requant:
    rounding: Rounding = Rounding.HALF_EVEN
    overflow: Overflow = Overflow.SATURATE
    register: DynamicShift = DynamicShift.NONE  # a run-time shift on top of the types' own


Attribute = Constant | Read | Scale | Table | Shift | Requant

ATTRIBUTE_OF: dict[Op, type] = {
    Op.CONSTANT: Constant,
    Op.READ: Read,
    Op.SCALE: Scale,
    Op.TABLE: Table,
    Op.SHIFT: Shift,
    Op.REQUANT: Requant,
}

# How many operands: two in sums and products, none where the attribute says it all, else one.
ARITY = {op: 2 if op in SUMS | PRODUCTS else int(op not in (Op.CONSTANT, Op.READ)) for op in Op}
