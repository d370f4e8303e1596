"""Where values provably lie: interval arithmetic on code."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from echoloom.ir.corners import Forms
from echoloom.ir.ops import Constant, Op, Scale, Table
from echoloom.ir.program import Instr

Interval = tuple[float, float]
INF, LARGEST_EXPONENT = math.inf, 700.0
EVERYTHING: Interval = (-INF, INF)


def _exp(x: float) -> float:
    return math.exp(x) if x < LARGEST_EXPONENT else INF


def _softplus(x: float) -> float:
    return x if x > 30.0 else math.log1p(_exp(x))


def _inverse(x: float) -> float:
    return 0.0 if math.isinf(x) else 1.0 / x


# How an interval goes through each function; those not named may give anything.
FUNCTION_INTERVALS: Mapping[str, Callable[[float, float], Interval]] = {
    "exp": lambda lo, hi: (_exp(min(lo, LARGEST_EXPONENT - 1.0)), _exp(hi)),
    "tanh": lambda lo, hi: (math.tanh(lo), math.tanh(hi)),
    "sigmoid": lambda lo, hi: (0.0, 1.0),
    "sin": lambda lo, hi: (-1.0, 1.0),
    "cos": lambda lo, hi: (-1.0, 1.0),
    "cosh": lambda lo, hi: (1.0, INF),
    "softplus": lambda lo, hi: (_softplus(lo), _softplus(hi)),
    "log_cosh": lambda lo, hi: (0.0, INF),
    "relu": lambda lo, hi: (max(lo, 0.0), max(hi, 0.0)),
    "unit_step": lambda lo, hi: (0.0, 1.0),
    "reciprocal": lambda lo, hi: (_inverse(hi), _inverse(lo)),
    "rsqrt": lambda lo, hi: (_inverse(math.sqrt(hi)), _inverse(math.sqrt(lo))),
    "sqrt": lambda lo, hi: (math.sqrt(lo), math.sqrt(hi)),
    "log": lambda lo, hi: (math.log(lo), math.log(hi)),
    "erf": lambda lo, hi: (-1.0, 1.0),
}
POSITIVE = frozenset({"reciprocal", "rsqrt", "sqrt", "log"})


def through(function: str, x: Interval) -> Interval:
    """What a function makes of an interval; everything where x leaves its domain."""
    if function not in FUNCTION_INTERVALS or (function in POSITIVE and x[0] <= 0.0):
        return EVERYTHING
    return FUNCTION_INTERVALS[function](*x)


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
        return through(attr.function, args[0])
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
