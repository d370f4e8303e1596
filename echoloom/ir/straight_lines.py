"""Straight lines for a function of one variable, one a segment, in real numbers.

Within a segment the chord is moved by half its largest deviation, which halves its worst error.
Lines of an odd or even function meet at the segments' ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echoloom.ir.formats import Q
from echoloom.ir.functions import FUNCTIONS, Function
from echoloom.ir.parity import Parity

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Lines:
    """Straight lines in real numbers, one a segment."""

    left: Floats  # where each begins
    span: float
    start: Floats
    slope: Floats


def straight_lines(name: str, bits: int, reach: int, source: Q) -> Lines:
    """2**bits lines from -2**reach to 2**reach, for words of `source`."""
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


def worst_deviation(function: Function, lines: Lines, largest: float) -> float:
    """Worst error of the lines where the function is at most `largest`."""
    grid = lines.left[:, None] + lines.span * np.linspace(0.0, 1.0, 33)[None, :-1]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        exact = function.evaluate_beside(grid, lines.span)
        line = lines.start[:, None] + lines.slope[:, None] * (grid - lines.left[:, None])
        error = np.abs(line - exact)
    return float(error[np.abs(exact) <= largest].max(initial=0.0))


def within(lines: Lines, top: float) -> Lines:
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
