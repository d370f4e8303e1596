"""How a function of one variable becomes a table of straight lines.

A table cuts [-2**range_bits, 2**range_bits) into 2**segment_bits equal segments with one straight
line each; the first and the last line go on for ever. Where a function's tails are straight
(sigmoid, tanh, GELU) the range ends there; otherwise it is all that the input's word can hold.
Within a segment the chord is moved by half its largest deviation, which halves its worst error.

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

from echoloom.ir.formats import Q
from echoloom.ir.functions import FUNCTIONS, Function
from echoloom.ir.ops import Op, Table
from echoloom.ir.parity import Parity
from echoloom.ir.program import Instr, Program

Floats = NDArray[np.floating]
Integers = NDArray[np.int64]
GOAL = 2.0**-14  # a table's worst error, in units of its largest result
FEWEST_SEGMENTS = 5  # bits
LONGEST_SHIFT = 62  # that every level takes


class NoTable(ValueError):
    """No table can hold a function of the argument that the instruction `value` gives it."""

    def __init__(self, function: str, problem: str, value: str = ""):
        super().__init__(problem)
        self.function, self.problem, self.value = function, problem, value

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.function, self.problem, self.value), self.__dict__


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


@dataclass(frozen=True)
class Lines:
    """Straight lines in real numbers, one a segment."""

    left: Floats  # where each begins
    span: float
    start: Floats
    slope: Floats


def range_bits(name: str, source: Q) -> int:
    """Of a table of `name` on words of `source`: to the straight tails, or all of the word."""
    tails = FUNCTIONS[name].tails
    word = source.width - 1 - source.scalar_frac
    return word if tails is None else min(tails.reach_bits, word)


@cache
def segment_bits(name: str, source: Q, largest: float, most: int, smallest: float = 0.0) -> int:
    """The fewest segments whose worst error meets GOAL; `most` bits where none does.

    `largest` is the largest result to expect; beyond it no accuracy is asked. A function with
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
    goal = GOAL * (largest if FUNCTIONS[name].tails is None else min(largest, 1.0))
    available = source.scalar_frac + reach + 1
    for bits in range(min(fewest, available), min(most, available) + 1):
        lines = _lines(name, bits, reach, source)
        if _deviation(FUNCTIONS[name], lines, largest) <= goal:
            return bits
    return min(most, available)


def _lines(name: str, bits: int, reach: int, source: Q) -> Lines:
    function = FUNCTIONS[name]
    span = 2.0 ** (reach + 1 - bits)
    left = -(2.0**reach) + span * np.arange(1 << bits)
    with np.errstate(over="ignore", invalid="ignore"):
        start = function.evaluate_beside(left, span)
        # From the left, so that a step at a segment's end belongs to the next one.
        stop = function.evaluate_beside(np.nextafter(left + span, -np.inf), span)
        inner = left[:, None] + span * np.linspace(0.0, 1.0, 17)[1:-1]
        chord = start[:, None] + (inner - left[:, None]) * ((stop - start) / span)[:, None]
        deviation = function.evaluate_beside(inner, span) - chord
        middle = (np.minimum(deviation.min(1), 0.0) + np.maximum(deviation.max(1), 0.0)) / 2
        slope = (stop - start) / span
    middle = np.where(np.isfinite(middle), middle, 0.0)
    if function.parity is not Parity.UNKNOWN:
        start = _continuous(function, start, stop, middle)
        slope = np.diff(start) / span
        start = start[:-1]
    else:
        start = start + middle
    tails = function.tails
    if tails is not None and tails.reach_bits == reach < source.width - 1 - source.scalar_frac:
        ends = function.evaluate(np.array([left[0], left[-1]]))
        slope[0], slope[-1] = tails.left, tails.right
        start[0], start[-1] = ends
    return Lines(left, span, start, slope)


def _continuous(function: Function, start: Floats, stop: Floats, middle: Floats) -> Floats:
    """Values at all segment ends, moved by half the deviation of the segments on both sides."""
    nodes = np.append(start, stop[-1])
    nodes[1:-1] += (middle[:-1] + middle[1:]) / 2
    nodes[0] += middle[0]
    nodes[-1] += middle[-1]
    if function.parity is Parity.ODD:
        nodes = (nodes - nodes[::-1]) / 2
    return nodes


def _deviation(function: Function, lines: Lines, largest: float) -> float:
    """Worst error of the lines where the function is at most `largest`."""
    grid = lines.left[:, None] + lines.span * np.linspace(0.0, 1.0, 33)[None, :-1]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        exact = function.evaluate_beside(grid, lines.span)
        line = lines.start[:, None] + lines.slope[:, None] * (grid - lines.left[:, None])
        error = np.abs(line - exact)
    return float(error[np.abs(exact) <= largest].max(initial=0.0))


@cache
def excess_bits(table: Table, source: Q, target: Q, slope_width: int) -> int:
    """Fraction bits of a result's word that slopes of `slope_width` bits cannot reach: what
    `tabulate` would refuse it for."""
    lines = _lines(table.function, table.segment_bits, table.range_bits, source)
    return max(0, -_slope_shift(FUNCTIONS[table.function], lines, source, target, slope_width))


def _slope_shift(function: Function, lines: Lines, source: Q, target: Q, slope_width: int) -> int:
    """The shift that makes the largest slope just fit, the same for every table of a function with
    the same formats; beyond the longest shift slopes lose bits, but none that reaches a result."""
    output_frac = target.scalar_frac
    # Lines that lie outside the result's word need no slope of their own.
    top = ((1 << (target.width - 1)) - 1) * 2.0**-output_frac
    inside = (np.abs(lines.start) <= 2.0 * top) & np.isfinite(lines.slope)
    largest = float(np.abs(lines.slope[inside]).max(initial=2.0**-30))
    if function.parity is not Parity.UNKNOWN:
        # Rises are rounded to even units, the steepest perhaps upwards.
        largest += largest * 2.0 ** (3 - slope_width) + 2.0 ** (1 - output_frac) / lines.span
    shift = slope_width - 1 - math.ceil(math.log2(largest * 1.0000001))
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
    lines = _lines(table.function, table.segment_bits, table.range_bits, source)
    end = (1 << (target.width - 1)) - 1
    top = end * 2.0**-output_frac
    limit = (1 << (slope_width - 1)) - 1
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
        lines = _within(lines, top)
        scaled = lines.slope * 2.0 ** (output_frac - input_frac + slope_shift)
        slope = np.clip(np.rint(scaled), -limit, limit).astype(np.int64)
        base = np.rint(lines.start * 2.0**output_frac).astype(np.int64)
    held = Lines(
        lines.left,
        lines.span,
        base * 2.0**-output_frac,
        slope * 2.0 ** (input_frac - output_frac - slope_shift),
    )
    error = _deviation(function, held, top)
    return TableContents(
        tuple(base.tolist()),
        tuple(slope.tolist()),
        table.segment_bits,
        fraction_bits,
        slope_shift,
        error,
    )


def _within(lines: Lines, top: float) -> Lines:
    """The lines as a word of at most `top` can hold them: one that begins outside begins at the
    end, and leads back to where it should arrive, or away from it and into saturation."""
    with np.errstate(invalid="ignore"):
        stop = lines.start + lines.slope * lines.span
    start = np.clip(lines.start, -top, top)
    steep = np.minimum(np.abs(np.nan_to_num(lines.slope)), 2.0**62)
    away = np.copysign(steep, lines.start)
    arrives = np.copysign(1.0, lines.start) * stop < top
    outside = np.where(arrives, (np.clip(stop, -top, top) - start) / lines.span, away)
    return Lines(
        lines.left, lines.span, start, np.where(np.abs(lines.start) <= top, lines.slope, outside)
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
