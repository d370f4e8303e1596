"""A program's coefficients as words, and whether its formats and tables can take them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from echoloom.backends.run.integers import Floats, Words, to_real
from echoloom.backends.run.levels import IntegerProgram
from echoloom.ir.formats import largest
from echoloom.ir.functions import EVERYTHING, FUNCTIONS
from echoloom.ir.intervals import intervals
from echoloom.ir.ops import Table
from echoloom.ir.program import Program
from echoloom.ir.tables import NoTable


class CoefficientRange(ValueError):
    """New parameters do not fit the formats a program was compiled with."""


class PoleRange(NoTable, CoefficientRange):
    """New parameters let the argument of a function too near to its pole."""


def coefficient_words(program: Program, values: Mapping[str, Floats]) -> dict[str, Words]:
    """Words of every coefficient; CoefficientRange names the first that its format cannot hold, or
    the first function whose argument these coefficients let too near to its pole."""
    _check_poles(program, values)
    words: dict[str, Words] = {}
    for d in program.coefficients:
        if values[d.name].shape != d.type.shape:
            raise ValueError(
                f"coefficient {d.name} has shape {list(values[d.name].shape)}, but this program "
                f"holds shape {list(d.type.shape)}; compile the new model instead of reusing "
                "formats"
            )
        scaled = np.rint(values[d.name] * 2.0**d.type.q.grid)
        if np.any(np.abs(scaled) > largest(d.type.q.width)):
            worst = np.unravel_index(np.argmax(np.abs(scaled)), scaled.shape)
            column = f"column {worst[1]} of " if d.type.q.columns else ""
            raise CoefficientRange(
                f"{column}coefficient {d.name} reaches {abs(values[d.name][worst]):.6g}, which its "
                f"format {d.type.q} cannot hold; compile the new model instead of reusing formats"
            )
        words[d.name] = scaled.astype(np.int64)
    return words


def as_held(integer: IntegerProgram) -> dict[str, Floats]:
    """float64 views of all coefficients as the fabric holds them."""
    return {
        d.name: to_real(integer.coefficients[d.name], d.type.q)
        for d in integer.program.coefficients
    }


def _check_poles(program: Program, values: Mapping[str, Floats]) -> None:
    for body in program.bodies:
        proven = intervals(body.instrs, values)
        for instr in body.instrs:
            if not isinstance(instr.attr, Table) or not FUNCTIONS[instr.attr.function].positive:
                continue
            segment = 2.0 ** (instr.attr.range_bits + 1 - instr.attr.segment_bits)
            smallest = proven.get(instr.args[0], EVERYTHING)[0]
            if smallest < segment:
                function = instr.attr.function
                raise PoleRange(
                    function,
                    f"with these parameters the argument of {function} may be as small as "
                    f"{smallest:.3g}, but a segment of its table is {segment:.3g} wide; compile "
                    "the new model instead of reusing formats",
                    instr.place,
                )
