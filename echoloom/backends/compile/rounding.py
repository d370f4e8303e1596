"""What rounding leaves of the smallest: input channels, and the rows and columns of weights.

A channel or a row that is far smaller than the others of its format keeps few bits or none, and no
overflow flag says so. Here is how much each loses, in parts of itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from echoloom.backends.compile.stages import Epsilons, Source, real_program
from echoloom.backends.run.integers import Floats, input_types, to_real
from echoloom.backends.run.levels import IntegerProgram
from echoloom.ir.host import Host, run
from echoloom.ir.ops import Op
from echoloom.ir.program import Program
from echoloom.ir.real import RULES
from echoloom.ir.staged import StagedMachine

# Parts of itself that a row may lose before it is asked whether it matters, and of the outputs'
# size that it may move them by.
LARGE, MATTERS = 2.0**-5, 2.0**-7
SAMPLES = 4  # sequences that it is asked on
PRODUCTS = (Op.MUL, Op.MATVEC, Op.TMATVEC)


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
    found = {"input channel": list(_channels(integer.program, peaks)), "row": [], "column": []}
    for name, errors, sizes in _weights(integer, values):
        for axis, kind in enumerate(("row", "column")[: sizes.ndim]):
            one = kind if sizes.ndim == 2 else "element"
            for index, share in enumerate(_shares(errors, sizes, axis).tolist()):
                found[kind].append(Rounding(f"{one} {index} of {name}", share))
    worst = {kind: max(rows, key=lambda r: r.share) for kind, rows in found.items() if rows}
    return {kind: rounding for kind, rounding in worst.items() if rounding.share > 0.0}


def _channels(program: Program, peaks: Sequence[float]) -> Iterator[Rounding]:
    type_ = input_types(program)["x"]
    units = np.broadcast_to(2.0**-type_.q.grid, type_.shape)
    for index, (peak, unit) in enumerate(zip(peaks, units, strict=False)):
        if peak > 0.0:
            yield Rounding(f"input channel {index}", min(unit / 2.0 / peak, 1.0))


def _weights(
    integer: IntegerProgram, values: Mapping[str, Floats]
) -> Iterator[tuple[str, Floats, Floats]]:
    """Name, errors and sizes of every factor, in units of its words."""
    instrs = [i for b in integer.program.bodies for i in b.instrs if i.op in PRODUCTS]
    factors = {a for i in instrs for a in i.args}
    for d in integer.program.coefficients:
        if d.name in factors and d.name in values and d.type.shape:
            sizes = values[d.name] * 2.0**d.type.q.grid
            yield d.name, np.abs(sizes - integer.coefficients[d.name]), np.abs(sizes)


def _shares(errors: Floats, sizes: Floats, axis: int) -> Floats:
    """By row (axis 0) or column (1): the largest error in parts of the largest size."""
    others = tuple(a for a in range(sizes.ndim) if a != axis)
    largest = sizes.max(axis=others)
    return errors.max(axis=others) / np.where(largest > 0.0, largest, np.inf)


class Vanished(ValueError):
    """A row or column of weights that matters all but vanishes in its matrix's format."""


def insist_on_weights(integer: IntegerProgram, source: Source, epsilons: Epsilons) -> None:
    """Vanished where rounding takes a large part of rows or columns and moves the outputs.

    `integer` was made of `source`, with these nudge sizes.
    """
    rounded: dict[str, Floats] = {}
    worst = Rounding("", 0.0)
    formats = {d.name: d.type.q for d in integer.program.coefficients}
    for name, errors, sizes in _weights(integer, source.values):
        lost = np.zeros(sizes.shape, bool)
        for axis, kind in enumerate(("row", "column")[: sizes.ndim]):
            shares = _shares(errors, sizes, axis)
            lost |= (shares > LARGE).reshape([-1 if a == axis else 1 for a in range(sizes.ndim)])
            if shares.max() > max(LARGE, worst.share):
                one = kind if sizes.ndim == 2 else "element"
                worst = Rounding(f"{one} {shares.argmax()} of {name}", float(shares.max()))
        if lost.any():
            words = to_real(integer.coefficients[name], formats[name])
            rounded[name] = np.where(lost, words, source.values[name])
    if not rounded:
        return
    real, samples = real_program(source, epsilons), source.samples[:SAMPLES]
    host = Host(real.program, source.output_step)
    exact, moved = (
        run(host, StagedMachine(real.program, RULES, dict(values)).sweep, samples).outputs
        for values in (real.coefficients, real.coefficients | rounded)
    )
    part = float(np.max(np.abs(moved - exact)) / max(float(np.max(np.abs(exact))), 1e-300))
    if part > MATTERS:
        raise Vanished(
            f"{worst.what} is so much smaller than the rest that rounding takes {worst.share:.1%} "
            f"of it, and roundings of this kind move the outputs by {part:.1%} of their size; "
            "bring rows and columns to similar sizes, or compile with wider weights"
        )
