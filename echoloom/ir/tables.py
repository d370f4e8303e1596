"""Functions of one variable that fabric evaluates by table, and how a table is made.

A table cuts [-2**range_bits, 2**range_bits) into 2**segment_bits equal segments with one straight
line each; the first and the last line go on for ever, so a function whose tails are straight
(sigmoid, tanh, GELU) is right at any distance. Within a segment the chord is moved by half its
largest deviation, which halves the worst error of the chord.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echoloom.ir.formats import Q
from echoloom.ir.ops import Op, Table
from echoloom.ir.program import Instr, Program

Floats = NDArray[np.floating]

_erf = np.vectorize(math.erf, otypes=[np.float64])


def sigmoid(x: Floats) -> Floats:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def _gelu(x: Floats) -> Floats:
    return 0.5 * x * (1.0 + _erf(x / math.sqrt(2.0)))


def _gelu_slope(x: Floats) -> Floats:
    density = np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)
    return 0.5 * (1.0 + _erf(x / math.sqrt(2.0))) + x * density


@dataclass(frozen=True)
class Function:
    """A function by table. `left` and `right` are the slopes of its tails beyond the range;
    `bound` is the largest magnitude, None when unbounded."""

    evaluate: Callable[[Floats], Floats]
    range_bits: int
    left: float
    right: float
    bound: float | None


FUNCTIONS: Mapping[str, Function] = {
    "sigmoid": Function(sigmoid, 4, 0.0, 0.0, 1.0),
    "tanh": Function(np.tanh, 3, 0.0, 0.0, 1.0),
    "gelu": Function(_gelu, 3, 0.0, 1.0, None),
    "gelu_slope": Function(_gelu_slope, 3, 0.0, 0.0, 1.13),
}


@dataclass(frozen=True)
class TableContents:
    """Integers of one table: lines base[i] + slope[i] * f / 2**slope_shift, f from the segment's
    left end in input units of 2**-input_frac; results in units of 2**-output_frac."""

    base: tuple[int, ...]
    slope: tuple[int, ...]
    segment_bits: int
    fraction_bits: int
    slope_shift: int
    worst_error: float  # in real units, measured over the range


def tabulate(
    name: str,
    segment_bits: int,
    input_frac: int,
    output_frac: int,
    slope_width: int,
    output_width: int = 63,
) -> TableContents:
    """Lines of FUNCTIONS[name]; slopes fit `slope_width` signed bits, bases `output_width`.

    ValueError when an input unit is coarser than a segment.
    """
    function = FUNCTIONS[name]
    fraction_bits = input_frac + function.range_bits + 1 - segment_bits
    if fraction_bits < 0:
        raise ValueError(
            f"table {name!r} has segments finer than its input: {segment_bits} segment bits need "
            f"at least {segment_bits - function.range_bits - 1} fraction bits, got {input_frac}"
        )
    count = 1 << segment_bits
    span = 2.0 ** (function.range_bits + 1 - segment_bits)
    left = -(2.0**function.range_bits) + span * np.arange(count)
    start, stop = function.evaluate(left), function.evaluate(left + span)
    slope = (stop - start) / span
    inner = np.linspace(0.0, 1.0, 17)[1:-1]
    deviation = function.evaluate(left[:, None] + span * inner) - (
        start[:, None] + slope[:, None] * span * inner
    )
    low, high = np.minimum(deviation.min(1), 0.0), np.maximum(deviation.max(1), 0.0)
    start = start + (low + high) / 2
    slope[0], slope[-1] = function.left, function.right
    start[0], start[-1] = function.evaluate(left[:1])[0], function.evaluate(left[-1:])[0]
    # slope_shift makes the largest slope just fit: it is the same for every table of a function
    # with the same input and output formats.
    largest = float(np.abs(slope).max())
    slope_shift = slope_width - 1 - math.ceil(math.log2(largest * 1.0000001))
    slope_shift -= output_frac - input_frac
    scaled = slope * 2.0 ** (output_frac - input_frac + slope_shift)
    base_words = np.rint(start * 2.0**output_frac).astype(np.int64)
    slope_words = np.rint(scaled).astype(np.int64)
    limit = (1 << (slope_width - 1)) - 1
    slope_words = np.clip(slope_words, -limit, limit)
    if not 0 <= slope_shift < 64:
        raise ValueError(
            f"table {name!r} cannot go from {input_frac} to {output_frac} fraction bits: "
            f"its slopes would need a shift of {slope_shift}"
        )
    grid = left[:, None] + span * np.linspace(0.0, 1.0, 33)[None, :-1]
    line = base_words[:, None] * 2.0**-output_frac + (
        slope_words[:, None]
        * (grid - left[:, None])
        * 2.0 ** (input_frac - output_frac - slope_shift)
    )
    error = float(np.abs(line - function.evaluate(grid)).max())
    # A line that begins outside the result's word would saturate there: it begins at the end.
    end = (1 << (output_width - 1)) - 1
    base_words = np.clip(base_words, -end, end)
    return TableContents(
        tuple(base_words.tolist()),
        tuple(slope_words.tolist()),
        segment_bits,
        fraction_bits,
        slope_shift,
        error,
    )


def table_key(instr: Instr, source: Q) -> str:
    """Name of the table that a TABLE instruction needs: function, segments and both formats."""
    assert isinstance(instr.attr, Table)
    return (
        f"{instr.attr.function}/{instr.attr.segment_bits}/{source.scalar_frac}"
        f"/{instr.type.q.scalar_frac}"
    )


def program_tables(program: Program, slope_width: int) -> dict[str, TableContents]:
    """Contents of every table that an integer program looks into."""
    tables: dict[str, TableContents] = {}
    for body in program.bodies:
        types = program.types(body)
        for instr in body.instrs:
            if instr.op is not Op.TABLE:
                continue
            assert isinstance(instr.attr, Table)
            source = types[instr.args[0]].q
            key = table_key(instr, source)
            if key not in tables:
                tables[key] = tabulate(
                    instr.attr.function,
                    instr.attr.segment_bits,
                    source.scalar_frac,
                    instr.type.q.scalar_frac,
                    slope_width,
                    instr.type.q.width,
                )
    return tables
