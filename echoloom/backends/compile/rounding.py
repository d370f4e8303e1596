"""What rounding leaves of the smallest: input channels, and the rows and columns of weights.

A channel or a row that is far smaller than the others of its format keeps few bits or none, and no
overflow flag says so. Here is how much each loses, in parts of itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from echoloom.backends.compile.coefficients import as_held
from echoloom.backends.compile.stages import RealProgram, Source
from echoloom.backends.run.by_length import real_machine
from echoloom.backends.run.integers import Floats, input_types
from echoloom.backends.run.levels import IntegerProgram
from echoloom.ir.host import Host, run
from echoloom.ir.ops import VECTOR_PRODUCTS
from echoloom.ir.program import Program

# Parts of itself that a row may lose before it is asked whether it matters, and of the outputs'
# size that it may move them by.
LARGE, MATTERS = 2.0**-5, 2.0**-7
SAMPLES = 4  # sequences that it is asked on
AXES = ("row", "column")  # of a matrix; elements of a vector are rows


@dataclass(frozen=True)
class Rounding:
    """`what` is rounded by `share` of its own largest magnitude, in the worst case of its kind."""

    what: str
    share: float

    def __str__(self) -> str:
        return f"{self.what} is rounded by {self.share:.1e} of itself"


def worst_roundings(
    integer: IntegerProgram, values: Mapping[str, Floats], peaks: Sequence[float]
) -> dict[str, Rounding]:
    """The input channel, the row and the column of a weight matrix that lose most, by kind.

    `values` are the coefficients in real numbers, `peaks` the largest magnitude of every input
    channel. Elements of vectors are rows; a kind with nothing in it but zeros is left out.
    """
    found = [("input channel", channel) for channel in _channels(integer.program, peaks)]
    found += [(AXES[lines.axis], lines.worst) for lines in _lines(integer, values)]
    worst: dict[str, Rounding] = {}
    for kind, rounding in found:
        if rounding.share > (worst[kind].share if kind in worst else 0.0):
            worst[kind] = rounding
    return worst


def _channels(program: Program, peaks: Sequence[float]) -> Iterator[Rounding]:
    type_ = input_types(program)["x"]
    units = np.broadcast_to(2.0**-type_.q.grid, type_.shape)
    for index, (peak, unit) in enumerate(zip(peaks, units, strict=False)):
        if peak > 0.0:
            yield Rounding(f"input channel {index}", min(unit / 2.0 / peak, 1.0))


@dataclass(frozen=True, eq=False)
class _Lines:
    """All rows (axis 0) or columns (axis 1) of a factor, and what each loses at most, in parts of
    its largest magnitude."""

    coefficient: str
    axis: int
    rank: int
    shares: Floats

    @property
    def worst(self) -> Rounding:
        one = AXES[self.axis] if self.rank == 2 else "element"
        index = self.shares.argmax()
        return Rounding(f"{one} {index} of {self.coefficient}", float(self.shares[index]))


def _lines(integer: IntegerProgram, values: Mapping[str, Floats]) -> Iterator[_Lines]:
    instrs = [i for b in integer.program.bodies for i in b.instrs if i.op in VECTOR_PRODUCTS]
    factors = {a for i in instrs for a in i.args}
    for d in integer.program.coefficients:
        if d.name in factors and d.name in values and d.type.shape:
            sizes = values[d.name] * 2.0**d.type.q.grid  # in units of its words
            errors, sizes = np.abs(sizes - integer.coefficients[d.name]), np.abs(sizes)
            for axis in range(sizes.ndim):
                others = tuple(a for a in range(sizes.ndim) if a != axis)
                largest = sizes.max(axis=others)
                shares = errors.max(axis=others) / np.where(largest > 0.0, largest, np.inf)
                yield _Lines(d.name, axis, sizes.ndim, shares)


class Vanished(ValueError):
    """A row or column of weights that matters all but vanishes in its matrix's format."""


def insist_on_weights(integer: IntegerProgram, source: Source, real: RealProgram) -> None:
    """Vanished where rounding takes a large part of rows or columns and moves the outputs.

    `integer` was made of `source` by way of `real`.
    """
    lost: dict[str, Any] = {}
    worst = Rounding("", LARGE)
    for lines in _lines(integer, source.values):
        if lines.worst.share > LARGE:
            others = tuple(a for a in range(lines.rank) if a != lines.axis)
            large = np.expand_dims(lines.shares > LARGE, others)
            lost[lines.coefficient] = lost.get(lines.coefficient, False) | large
            worst = max(worst, lines.worst, key=lambda rounding: rounding.share)
    if not lost:
        return
    held = as_held(integer)
    rounded = {name: np.where(own, held[name], source.values[name]) for name, own in lost.items()}
    host, samples = Host(real.program, source.output_step), source.samples[:SAMPLES]
    exact, moved = (
        run(host, real_machine(real.program, values, samples).sweep, samples).outputs
        for values in (real.coefficients, real.coefficients | rounded)
    )
    part = float(np.max(np.abs(moved - exact)) / max(float(np.max(np.abs(exact))), 1e-300))
    if part > MATTERS:
        raise Vanished(
            f"{worst.what} is so much smaller than the rest that rounding takes {worst.share:.1%} "
            f"of it, and roundings of this kind move the outputs by {part:.1%} of their size; "
            "bring rows and columns to similar sizes, or compile with wider weights"
        )
