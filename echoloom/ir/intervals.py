"""Where values provably lie: interval arithmetic on code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from echoloom.ir.corners import Forms
from echoloom.ir.functions import EVERYTHING, FUNCTIONS, Interval
from echoloom.ir.ops import Constant, Op, Scale, Table
from echoloom.ir.program import Instr


def times(x: float, y: float) -> float:
    """x y, where nothing times infinity is nothing."""
    return 0.0 if x == 0.0 or y == 0.0 else x * y


def product(a: Interval, b: Interval) -> Interval:
    ends = [times(x, y) for x in a for y in b]
    return min(ends), max(ends)


def linear(matrix: NDArray[np.float64], x: Interval) -> Interval:
    """matrix @ x for every x whose elements lie in the interval, over all rows."""
    positive, negative = np.maximum(matrix, 0.0).sum(-1), np.minimum(matrix, 0.0).sum(-1)
    lo = [times(p, x[0]) + times(n, x[1]) for p, n in zip(positive, negative, strict=True)]
    hi = [times(p, x[1]) + times(n, x[0]) for p, n in zip(positive, negative, strict=True)]
    return min(lo), max(hi)


def intervals(
    instrs: Iterable[Instr], coefficients: Mapping[str, NDArray[np.float64]]
) -> dict[str, Interval]:
    """Where every instruction's elements lie, whatever the states and inputs are; in a quantised
    program before its roundings."""
    found: dict[str, Interval] = {}
    same: dict[str, str] = {}  # a word, and the value that it is cut from

    def of(name: str) -> Interval:
        if name in coefficients:
            return float(coefficients[name].min()), float(coefficients[name].max())
        return found.get(name, EVERYTHING)

    forms = Forms(of)
    for instr in instrs:
        if instr.op is Op.REQUANT:
            same[instr.name] = same.get(instr.args[0], instr.args[0])
        lo, hi = _interval(instr, [of(a) for a in instr.args], coefficients)
        if instr.op is Op.MUL and len({same.get(a, a) for a in instr.args}) == 1:
            lo = max(lo, 0.0)
        if (cornered := forms.add(instr)) is not None:
            lo, hi = max(lo, cornered[0]), min(hi, cornered[1])
        found[instr.name] = lo, hi
    return found


def _interval(
    instr: Instr, args: list[Interval], coefficients: Mapping[str, NDArray[np.float64]]
) -> Interval:
    attr = instr.attr
    if isinstance(attr, Constant):
        return attr.value, attr.value
    if isinstance(attr, Scale):
        return product(args[0], (attr.factor, attr.factor))
    if isinstance(attr, Table):
        return FUNCTIONS[attr.function].image(*args[0])
    if instr.op is Op.REQUANT:
        return args[0]
    if instr.op is Op.ADD:
        return args[0][0] + args[1][0], args[0][1] + args[1][1]
    if instr.op is Op.SUB:
        return args[0][0] - args[1][1], args[0][1] - args[1][0]
    if instr.op is Op.MUL:
        return product(*args)
    if instr.op in (Op.MATVEC, Op.TMATVEC) and instr.args[0] in coefficients:
        matrix = coefficients[instr.args[0]]
        return linear(matrix if instr.op is Op.MATVEC else matrix.T, args[1])
    return EVERYTHING
