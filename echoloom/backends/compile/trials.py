"""One precision tried: the integers of a program on sequences, and how good their gradients are.

What is tried travels to other processes: a `Bench` holds no traced code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from echoloom.backends.compile.coefficients import coefficient_words
from echoloom.backends.compile.raw_gradients import coefficient_gradients
from echoloom.backends.compile.stages import tensor_formats
from echoloom.backends.run.batched import batch_run
from echoloom.backends.run.integers import Floats, Words
from echoloom.backends.run.levels import IntegerProgram
from echoloom.ir.ops import Op
from echoloom.ir.passes.calibrate import Ranges
from echoloom.ir.passes.formats_plan import plan_formats
from echoloom.ir.passes.quantise import settled
from echoloom.ir.precision import Precision
from echoloom.ir.program import Program
from echoloom.ir.retrace import check_retrace
from echoloom.ir.tables import program_tables
from echoloom.ir.verifier import verify


@dataclass(frozen=True, eq=False)
class Bench:
    """A real program with its coefficients and ranges, and sequences X [n, T, inputs] with labels
    or targets that precisions are tried on. `largest`: what the weights that learn reach, which
    keep `spared` bits beyond."""

    program: Program
    coefficients: Mapping[str, Floats]
    ranges: Ranges
    largest: Mapping[str, Floats]
    spared: int
    output_step: int
    X: Floats
    y: Any


@dataclass(frozen=True, eq=False)
class Found:
    """What became of a precision: gradients by folded coefficient [n, ...] and Flag bits [n]; bits
    that exact values and sums over time need, and lines of all tables. `refused`: the sentence
    that says why there is nothing of all that."""

    gradients: Mapping[str, Floats]
    flags: Words
    exact_bits: int
    sum_bits: int
    lines: int
    refused: str = ""


def integers(bench: Bench, precision: Precision) -> IntegerProgram:
    """The program of a precision. ValueError where there is none."""
    learned = tensor_formats(bench.largest, precision.widths.narrow, bench.spared)
    plan = plan_formats(bench.program, bench.coefficients, bench.ranges, precision, {}, learned)
    program = check_retrace(verify(settled(plan)[0]))
    tables = program_tables(program, precision.widths.narrow)
    held = coefficient_words(program, bench.coefficients)
    return IntegerProgram(program, held, tables, bench.output_step)


def tried(bench: Bench, precision: Precision) -> Found:
    """A precision on the bench's sequences."""
    try:
        integer = integers(bench, precision)
        result = batch_run(integer, bench.X, bench.y)
    except ValueError as error:
        return Found({}, np.zeros(len(bench.X), np.int64), 0, 0, 0, str(error))
    gradients = coefficient_gradients(integer, result, bench.X.shape[1])
    exact = max(
        i.type.q.width for b in integer.program.bodies for i in b.instrs if i.op is not Op.READ
    )
    contents = {(t.base, t.slope) for t in integer.tables.values()}
    return Found(
        gradients,
        result.forward_flags | result.echo_flags,
        exact,
        _sum_bits(integer.program, result.gradients, bench.X.shape[1]),
        sum(len(base) for base, _ in contents),
    )


def _sum_bits(program: Program, sums: Mapping[str, Words], length: int) -> int:
    """Bits that the sums over time need: those of the echo as they were, any other at most."""
    bits = [int(np.max(np.abs(own))).bit_length() + 1 for own in sums.values()]
    for body in program.bodies:
        types = program.types(body)
        bits += [types[value].q.width + length.bit_length()
                 for name, value in body.accumulates if name not in sums]  # fmt: skip
    return max(bits)
