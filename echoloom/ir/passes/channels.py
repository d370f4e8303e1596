"""An exponent for every channel of a streamed input, and for the columns that the channels meet.

One format for channels of 1000 and of 0.001 leaves no bits to the small ones, and one for a matrix
whose columns make up for such sizes none to the small columns. A product W x only asks that the
exponents of x_j and of column j have the same sum for every j. What a channel and its column have
bits for beyond that sum is slack, and goes where there is more than enough: from the wide word of
the input first, then from both alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echoloom.ir.formats import Q
from echoloom.ir.ops import Op
from echoloom.ir.passes.coefficient_formats import TRAINED_SPREAD, coefficient_format
from echoloom.ir.passes.format_classes import Formats, finest
from echoloom.ir.program import Program
from echoloom.ir.sections import Section
from echoloom.ir.word import Word

Floats = NDArray[np.float64]
# Exponents of channels that differ from the common one by no more than this are not worth having.
NEAR = 3
# Bits that an input's words of the full width keep at least.
KEPT = 12
# Binary orders of magnitude below the largest channel at which a channel counts as silent.
SILENT = 100


@dataclass(frozen=True)
class Channels:
    """Formats of inputs by name, and of the matrices that they meet; both may be empty."""

    inputs: Mapping[str, Q]
    matrices: Mapping[str, Q]


def channel_formats(
    program: Program,
    values: Mapping[str, Floats],
    sizes: Mapping[str, Floats],
    formats: Formats,
    narrow: int,
    weight_margin: int,
    uniform: frozenset[str] = frozenset(),
) -> Channels:
    """Formats of the inputs whose channels need exponents of their own, and of their matrices.

    `values` are the coefficients', `sizes` the largest magnitudes of every input's channels. An
    input that meets one of the `uniform` matrices keeps one exponent.
    """
    inputs, matrices = {}, {}
    for name, matrix in met_matrices(program).items():
        if name in sizes and matrix not in uniform:
            word = Word(Section.FORWARD_STEP, name)
            own, common = formats.of(word), formats.q(word)
            spare = TRAINED_SPREAD if weight_margin else max(0, own.width - own.margin - narrow)
            found = exponents(
                [
                    finest(size, own.width, own.margin) if size > 0.0 else None
                    for size in audible(sizes[name])
                ],
                [
                    coefficient_format(c, narrow, False, weight_margin).scalar_frac
                    if c.any()
                    else None
                    for c in values[matrix].T
                ],
                common.scalar_frac,
                spare,
                max(spare, own.width - 1 - own.margin - KEPT),
            )
            if found is not None:
                inputs[name] = Q(own.width, found[0])
                matrices[matrix] = Q(narrow, 0).with_columns(found[1])
    return Channels(inputs, matrices)


def met_matrices(program: Program) -> dict[str, str]:
    """Inputs whose channels may have exponents of their own, and the one matrix that each meets.

    Such an input is multiplied by a learned matrix, which meets nothing else, and is the right
    side of outer products: there an exponent is the host's affair.
    """
    learned = {a.target for a in program.accumulators}
    names = {d.name for body in program.bodies for d in body.frame}
    users = [i for body in program.bodies for i in body.instrs]
    found: dict[str, str] = {}
    for name in names:
        own = [i for i in users if name in i.args]
        matrices = {i.args[0] for i in own if i.op is Op.MATVEC}
        outer = all(i.op is Op.MATVEC or (i.op is Op.OUTER and i.args[0] != name) for i in own)
        if not outer or len(matrices) != 1 or not matrices <= learned:
            continue
        (matrix,) = matrices
        met = [i for i in users if matrix in i.args]
        if all(i.op is Op.MATVEC and i.args == (matrix, name) for i in met):
            found[name] = matrix
    return found


def exponents(
    channels: Sequence[int | None],
    columns: Sequence[int | None],
    common: int,
    spare: int,
    most: int,
) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Exponents of an input's channels and of a matrix's columns; None where one does for all.

    `channels` and `columns` are the finest that each may have, None where all is zero. `common` is
    the finest that all channels may have; of slack, a channel gives up `spare` bits before the
    column gives any, and `most` at most.
    """
    both = [
        a + b for a, b in zip(channels, columns, strict=True) if a is not None and b is not None
    ]
    if not both:
        return None
    total = min(both)
    chosen: list[int | None] = []
    for alone, column in zip(channels, columns, strict=True):
        if alone is None or column is None:
            chosen.append(alone)
            continue
        slack = alone + column - total
        shared = max(slack - spare, 0) // 2
        chosen.append(alone - min(slack, spare) - min(shared, most - spare))
    coarsest = min(e for e in chosen if e is not None)
    # A silent channel takes no scale, but a column too large for that takes its own.
    own = tuple(
        max(coarsest, total - column if column is not None else coarsest) if e is None else e
        for e, column in zip(chosen, columns, strict=True)
    )
    if all(abs(e - common) <= NEAR for e in own):
        return None
    return own, tuple(total - e for e in own)


def audible(sizes: Floats) -> Floats:
    """The largest magnitudes of channels, 0 for those that count as silent."""
    largest = float(np.max(sizes, initial=0.0))
    return np.where(sizes > largest * 2.0**-SILENT, sizes, 0.0)
