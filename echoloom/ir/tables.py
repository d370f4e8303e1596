"""How a function of one variable becomes a table of straight lines.

A table cuts [-2**range_bits, 2**range_bits) into 2**segment_bits equal segments with one straight
line each; the first and the last line go on for ever. Where a function's tails are straight
(sigmoid, tanh, GELU) the range ends there; otherwise it is all that the input's word can hold.

An odd or even function has an odd or even table, bit for bit: its lines meet at the segments' ends
and rise by even numbers of units, so that rounding half to even is the same from either side. That
is what lets a velocity go through a table and still turn round exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from echoloom.ir.formats import Q, largest
from echoloom.ir.functions import FUNCTIONS, Function
from echoloom.ir.ops import Op, Table
from echoloom.ir.parity import Parity
from echoloom.ir.places import Place
from echoloom.ir.program import Instr, Program
from echoloom.ir.straight_lines import Lines, straight_lines, within, worst_deviation

Integers = NDArray[np.int64]
GOAL = 2.0**-14  # a table's worst error, in units of its largest result
FEWEST_SEGMENTS = 5  # bits
LONGEST_SHIFT = 62  # that every level takes


class NoTable(ValueError):
    """No table can hold a function of its argument; `place` is where it is evaluated."""

    def __init__(self, function: str, problem: str, place: Place | None = None):
        super().__init__(problem)
        self.function, self.problem, self.place = function, problem, place

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.function, self.problem, self.place), self.__dict__


@dataclass(frozen=True)
class TableContents:
    """Integers of one table: lines base[i] + slope[i] * f / 2**slope_shift, f from the segment's
    left end in input units of 2**-input_frac; results in units of 2**-output_frac."""

    base: tuple[int, ...]
    slope: tuple[int, ...]
    segment_bits: int
    fraction_bits: int
    slope_shift: int
    # In real units, measured wherever the result fits its word; of functions of positive numbers
    # not within the first segment beside zero, where their tables are level.
    worst_error: float


def range_bits(name: str, source: Q) -> int:
    """Of a table of `name` on words of `source`: to the straight tails, or all of the word."""
    tails = FUNCTIONS[name].tails
    word = source.width - 1 - source.scalar_frac
    return word if tails is None else min(tails.reach_bits, word)


@cache
def segment_bits(name: str, source: Q, highest: float, most: int, smallest: float = 0.0) -> int:
    """The fewest segments whose worst error meets GOAL; `most` bits where none does.

    `highest` is the largest result to expect; beyond it no accuracy is asked. A function with
    straight tails bends where its results are near 1, so large ones on a tail excuse nothing.
    `smallest` is the least argument of a function with a pole at zero: NoTable where even `most`
    segments cannot tell it from zero.
    """
    reach = range_bits(name, source)
    fewest = FEWEST_SEGMENTS
    if FUNCTIONS[name].positive:
        finest = 2.0 ** (reach + 1 - min(most, source.scalar_frac + reach + 1))
        if smallest < finest:
            raise NoTable(
                name,
                f"the argument of {name} may be as small as {smallest:.3g}, but the {1 << most} "
                f"segments of its table, which has to reach {2.0**reach:g}, are {finest:.3g} wide; "
                f"declare a larger lower bound, such as jnp.maximum(x, {finest:.3g}), or scale the "
                "argument down",
            )
        fewest = max(fewest, reach + 1 - math.floor(math.log2(smallest)))
    goal = GOAL * (highest if FUNCTIONS[name].tails is None else min(highest, 1.0))
    available = source.scalar_frac + reach + 1
    for bits in range(min(fewest, available), min(most, available) + 1):
        lines = straight_lines(name, bits, reach, source)
        if worst_deviation(FUNCTIONS[name], lines, highest) <= goal:
            return bits
    return min(most, available)


@cache
def excess_bits(table: Table, source: Q, target: Q, slope_width: int) -> int:
    """Fraction bits of a result's word that slopes of `slope_width` bits cannot reach: what
    `tabulate` would refuse it for."""
    lines = straight_lines(table.function, table.segment_bits, table.range_bits, source)
    return max(0, -_slope_shift(FUNCTIONS[table.function], lines, source, target, slope_width))


def _slope_shift(function: Function, lines: Lines, source: Q, target: Q, slope_width: int) -> int:
    """The shift that makes the largest slope just fit, the same for every table of a function with
    the same formats; beyond the longest shift slopes lose bits, but none that reaches a result."""
    output_frac = target.scalar_frac
    # Lines that lie outside the result's word need no slope of their own.
    top = largest(target.width) * 2.0**-output_frac
    inside = (np.abs(lines.start) <= 2.0 * top) & np.isfinite(lines.slope)
    steepest = float(np.abs(lines.slope[inside]).max(initial=2.0**-30))
    if function.parity is not Parity.UNKNOWN:
        # Rises are rounded to even units, the steepest perhaps upwards.
        steepest += steepest * 2.0 ** (3 - slope_width) + 2.0 ** (1 - output_frac) / lines.span
    shift = slope_width - 1 - math.ceil(math.log2(steepest * 1.0000001))
    return min(shift - (output_frac - source.scalar_frac), LONGEST_SHIFT)


def tabulate(table: Table, source: Q, target: Q, slope_width: int) -> TableContents:
    """Integers of a table from words of `source` to words of `target`; slopes fit `slope_width`.

    ValueError when a segment is finer than an input unit, or the slopes need too long a shift.
    """
    function = FUNCTIONS[table.function]
    input_frac, output_frac = source.scalar_frac, target.scalar_frac
    fraction_bits = input_frac + table.range_bits + 1 - table.segment_bits
    if fraction_bits < 0:
        raise ValueError(
            f"table {table.function!r} has segments finer than its input: {table.segment_bits} "
            f"segment bits need at least {table.segment_bits - table.range_bits - 1} fraction "
            f"bits, got {input_frac}"
        )
    lines = straight_lines(table.function, table.segment_bits, table.range_bits, source)
    end, limit = largest(target.width), largest(slope_width)
    top = end * 2.0**-output_frac
    slope_shift = _slope_shift(function, lines, source, target, slope_width)
    if slope_shift < 0:
        raise ValueError(
            f"table {table.function!r} cannot go from {input_frac} to {output_frac} fraction bits: "
            f"its slopes would need a shift of {slope_shift}"
        )
    if function.parity is not Parity.UNKNOWN:
        base, slope = _symmetric(
            function, lines, fraction_bits, slope_shift, output_frac, limit, end
        )
    else:
        lines = within(lines, top)
        scaled = lines.slope * 2.0 ** (output_frac - input_frac + slope_shift)
        slope = np.clip(np.rint(scaled), -limit, limit).astype(np.int64)
        base = np.rint(lines.start * 2.0**output_frac).astype(np.int64)
    held = Lines(
        lines.left,
        lines.span,
        base * 2.0**-output_frac,
        slope * 2.0 ** (input_frac - output_frac - slope_shift),
    )
    error = worst_deviation(function, held, top)
    return TableContents(
        tuple(base.tolist()),
        tuple(slope.tolist()),
        table.segment_bits,
        fraction_bits,
        slope_shift,
        error,
    )


def _symmetric(
    function: Function,
    lines: Lines,
    fraction_bits: int,
    slope_shift: int,
    output_frac: int,
    limit: int,
    end: int,
) -> tuple[Integers, Integers]:
    """Bases and slopes of an odd or even table: the right half, and its image on the left. What
    lies outside the result's word is level at its end: lines that meet cannot saturate alike."""
    half = len(lines.left) // 2
    unit = max(2, 1 << max(fraction_bits - slope_shift, 0))  # rises are even and exact
    per_rise = 2.0 ** (slope_shift - fraction_bits)
    start = lines.start[half:] * 2.0**output_frac / unit
    start = np.append(start, start[-1] + lines.slope[-1] * lines.span * 2.0**output_frac / unit)
    highest = end // unit
    nodes = np.clip(np.rint(start), -highest, highest) * unit
    steepest = math.floor(limit / per_rise / unit) * unit
    rises = np.clip(np.diff(nodes), -steepest, steepest)
    nodes = nodes[0] + np.concatenate([[0.0], np.cumsum(rises)])
    slopes = rises * per_rise
    sign = -1.0 if function.parity is Parity.ODD else 1.0
    base = np.concatenate([sign * nodes[:0:-1], nodes[:-1]])
    slope = np.concatenate([-sign * slopes[::-1], slopes])
    return base.astype(np.int64), slope.astype(np.int64)


def table_key(instr: Instr, source: Q) -> str:
    """Name of the table that a TABLE instruction needs: function, segments, range and formats."""
    assert isinstance(instr.attr, Table)
    return (
        f"{instr.attr.function}/{instr.attr.segment_bits}/{instr.attr.range_bits}"
        f"/{source.width}.{source.scalar_frac}/{instr.type.q.width}.{instr.type.q.scalar_frac}"
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
                tables[key] = tabulate(instr.attr, source, instr.type.q, slope_width)
    return tables
