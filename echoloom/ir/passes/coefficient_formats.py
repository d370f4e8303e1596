"""Formats of what the host writes: coefficients that are multiplied, and runtime values."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from echoloom.ir.formats import Q, largest
from echoloom.ir.ops import VECTOR_PRODUCTS, Op
from echoloom.ir.passes.format_classes import finest
from echoloom.ir.program import Coefficient, Program

Floats = NDArray[np.float64]
# Bits that exponents of one vector spread over, and where it is to be trained: what is small moves
# by many times its size then.
SPREAD, TRAINED_SPREAD = 31, 4
MOST_BITS = 60  # behind the point, however small a coefficient is
# Integer bits, sign included, of what the host writes: 1/T's mantissa below 2, an error below 1,
# a gain between 1/4 and 2**GAIN_LIMIT, which has to be exact.
RUNTIME_INTEGER = {"inverse_length": 2, "error": 2, "error_step": 2, "gain": 16}


def runtime_format(name: str, width: int) -> Q:
    return Q(width, max(2, width - RUNTIME_INTEGER[name]))


def spare_bits(d: Coefficient, margin: int) -> int:
    """Of the spare bits of trained coefficients, a number that the program is made with needs
    none: it never changes."""
    return 0 if d.fixed else margin


def factors(program: Program) -> dict[str, bool]:
    """What is multiplied, and whether it is element by element only."""
    elementwise: dict[str, bool] = {}
    for body in program.bodies:
        for instr in body.instrs:
            for a in instr.args if instr.op in VECTOR_PRODUCTS else ():
                elementwise[a] = elementwise.get(a, True) and instr.op is Op.MUL
    return elementwise


def factor_formats(
    program: Program,
    values: Mapping[str, Floats],
    width: int,
    margin: int,
    matrices: Mapping[str, Q],
) -> dict[str, Q]:
    """Formats of the coefficients that are multiplied; `matrices` have theirs.

    A vector that is only multiplied element by element has an exponent for each.
    """
    elementwise = factors(program)
    return {
        d.name: matrices.get(d.name)
        or coefficient_format(
            values[d.name],
            width,
            elementwise[d.name] and len(d.type.shape) == 1,
            spare_bits(d, margin),
        )
        for d in program.coefficients
        if d.name in elementwise
    }


def coefficient_format(values: Floats, width: int, per_element: bool, margin: int = 0) -> Q:
    """The finest format that holds every value 2**margin times as large."""
    spread = TRAINED_SPREAD if margin else SPREAD

    def frac(size: float) -> int:
        bits = min(finest(size, width, margin), MOST_BITS)
        return bits if round(size * 2.0**bits) <= largest(width) else bits - 1

    sizes = [float(abs(v)) for v in values.reshape(-1)]
    # Zero fits any format; it takes the coarsest exponent that the others need.
    lowest = min([frac(s) for s in sizes if s > 0.0] or [width - 1])
    if not per_element:
        return Q(width, lowest)
    return Q(width, tuple(min(frac(s), lowest + spread) if s > 0.0 else lowest for s in sizes))
