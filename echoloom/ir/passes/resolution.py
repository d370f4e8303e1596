"""Ranges of words whose real value all but cancels: no smaller than what rounding puts there.

A sum that is zero in real numbers, such as sum(q - mean(q)), is a few units of its operands in
integers. Calibrated in floats its range would be their rounding error, and every integer overflow
it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from echoloom.ir.ops import SUMS, Op, Scale
from echoloom.ir.program import Body, Instr

# Parts of what a sum could reach. Two words differ by a few units of 28 bits with two spare ones;
# in a matrix product the rounding of 18-bit coefficients is what remains.
WORDS, COEFFICIENTS = 2.0**-22, 2.0**-16
FLOORS = {
    Op.ADD: WORDS,
    Op.SUB: WORDS,
    Op.MATVEC: COEFFICIENTS,
    Op.TMATVEC: COEFFICIENTS,
}


Floats = NDArray[np.float64]


def with_floors(
    body: Body,
    measured: Mapping[str, float],
    coefficients: Mapping[str, Floats],
    channels: Mapping[str, Floats] = MappingProxyType({}),
) -> dict[str, float]:
    """The range of every instruction: as measured, or what rounding alone can make of it.

    `measured` holds the largest magnitude of every value of the body, states and inputs too;
    `channels` those of an input's channels, which a matrix may make up for.
    """
    planned: dict[str, float] = {}
    lifted: set[str] = set()
    for instr in body.instrs:
        own = measured.get(instr.name, 0.0)
        args = [planned.get(a, measured.get(a, 0.0)) for a in instr.args]
        reach = _reach(instr, args, coefficients, channels)
        floor = FLOORS.get(instr.op, 0.0) * reach
        if not lifted.isdisjoint(instr.args):
            floor = max(floor, reach)
        if floor > own:
            lifted.add(instr.name)
        planned[instr.name] = max(own, floor)
    return planned


def _reach(
    instr: Instr,
    args: list[float],
    coefficients: Mapping[str, Floats],
    channels: Mapping[str, Floats],
) -> float:
    """The largest result that operands of these sizes can give; 0 where the function decides."""
    if not args:
        return 0.0
    sizes = [
        float(np.max(np.abs(coefficients[a]))) if a in coefficients else size
        for a, size in zip(instr.args, args, strict=True)
    ]
    held = coefficients.get(instr.args[0])
    if instr.op in SUMS:
        return max(sizes)
    if isinstance(instr.attr, Scale):
        return abs(instr.attr.factor) * args[0]
    if instr.op in (Op.MATVEC, Op.TMATVEC) and held is not None:
        if instr.op is Op.MATVEC and instr.args[1] in channels:
            return float((np.abs(held) @ channels[instr.args[1]]).max())
        rows = np.abs(held).sum(axis=1 if instr.op is Op.MATVEC else 0)
        return float(rows.max()) * args[1]
    if instr.op in (Op.MUL, Op.OUTER):
        return sizes[0] * sizes[1]
    return 0.0
