"""Type rules of exact operations: how shapes meet, and how formats widen so that no bit is lost.

A word is taken to be in its format's symmetric range. Every word is, unless the run has raised an
overflow flag; only the negation of the most negative word would need one bit more.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from echoloom.ir.formats import Q, Real, Type
from echoloom.ir.ops import SUMS, Attribute, Op, Scale
from echoloom.ir.refusals import Refused


class InvalidProgram(Refused):
    """The program breaks a rule of the IR; the message says which, where."""


def exact_type(op: Op, args: list[Type], attr: Attribute | None = None) -> Type:
    """The type of an exact operation's result; InvalidProgram when shapes or formats do not fit.

    Sums align on the finer exponent and take one more bit, products add widths and exponents, dot
    products take log2(terms) more bits.
    """
    shape = _shape(op, args)
    if any(isinstance(a.format, Real) for a in args):
        return Type(shape, Real())
    return Type(shape, _format(op, args, attr))


def _format(op: Op, args: list[Type], attr: Attribute | None) -> Q:
    formats = [a.q for a in args]
    if op in SUMS:
        a, b = (_single(f, op) for f in formats)
        frac = max(a.scalar_frac, b.scalar_frac)
        width = max(a.width + frac - a.scalar_frac, b.width + frac - b.scalar_frac) + 1
        return Q(width, frac)
    if op is Op.SCALE:
        assert isinstance(attr, Scale)
        return formats[0].shifted(-_power(attr.factor))
    if op is Op.MUL:
        return _product(formats[0], formats[1], 0)
    if op is Op.OUTER:
        # One exponent per element belongs to axis 0, which is the left operand's; the right one's
        # are its columns'.
        right = formats[1]
        product = _product(formats[0], Q(right.width, 0), 0)
        return product.with_columns(right.fracs)
    if op is Op.MATVEC:
        matrix, vector = formats
        own = replace(matrix, columns=())
        return _product(own, _met(matrix, vector), _growth(args[0].shape[1]))
    if op is Op.TMATVEC:
        matrix, vector = (_single(f, op) for f in formats)
        return _product(matrix, vector, _growth(args[0].shape[0]))
    raise InvalidProgram(f"{op.value} has no exact type; its result's type is declared")


def _met(matrix: Q, vector: Q) -> Q:
    """The vector as a matrix product meets it: the columns' exponents added to its own, which has
    to give the same for all terms of a sum."""
    exponents = set((vector.grid + np.asarray(matrix.columns or 0)).reshape(-1).tolist())
    if len(exponents) != 1:
        raise InvalidProgram(
            f"matvec adds up terms of different exponents: those of {matrix} and {vector} do not "
            "make up for each other"
        )
    return Q(vector.width, exponents.pop())


def _growth(terms: int) -> int:
    """Bits that a sum of `terms` words of one width can need beyond that width."""
    return (terms - 1).bit_length()


def _single(q: Q, op: Op) -> Q:
    if q.per_element:
        raise InvalidProgram(f"{op.value} needs one exponent for all of an operand, got {q}")
    return q


def _power(factor: float) -> int:
    """n of a factor +-2**n."""
    mantissa, exponent = math.frexp(abs(factor))
    if mantissa != 0.5:
        raise InvalidProgram(f"scale by {factor}: an exact factor is a power of two")
    return exponent - 1


def _product(a: Q, b: Q, growth: int) -> Q:
    if a.per_element and b.per_element:
        raise InvalidProgram("a product of two values with per-element exponents is not supported")
    wide, other = (a, b) if a.per_element else (b, a)
    return replace(wide.shifted(other.scalar_frac), width=a.width + b.width + growth)


def _shape(op: Op, args: list[Type]) -> tuple[int, ...]:
    shapes = [a.shape for a in args]
    if op in (Op.ADD, Op.SUB, Op.MUL):
        a, b = shapes
        if a == b or b == ():
            return a
        if a == ():
            return b
        if op is Op.MUL and (1,) in (a, b) and len(a) == len(b) == 1:
            return b if a == (1,) else a  # one number times every element
    elif op in (Op.MATVEC, Op.TMATVEC):
        matrix, vector = shapes
        inner, outer = (1, 0) if op is Op.MATVEC else (0, 1)
        if len(matrix) == 2 and vector == (matrix[inner],):
            return (matrix[outer],)
    elif op is Op.OUTER:
        if len(shapes[0]) == len(shapes[1]) == 1:
            return shapes[0] + shapes[1]
    else:
        return shapes[0]
    raise InvalidProgram(f"{op.value} does not take shapes {', '.join(map(str, shapes))}")
