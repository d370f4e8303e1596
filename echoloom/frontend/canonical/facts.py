"""What is provable of a run-time value: its interval, its parity in p, what it depends on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from echoloom.ir.functions import FUNCTIONS
from echoloom.ir.parity import Parity, product_parity, through

INF, LARGEST_EXPONENT = math.inf, 700.0


@dataclass(frozen=True)
class Facts:
    """lo <= every element <= hi; parity under p -> -p; names of the inputs that it depends on."""

    lo: float = -INF
    hi: float = INF
    parity: Parity = Parity.EVEN
    inputs: frozenset[str] = frozenset()


# How an interval goes through each function.
INTERVALS: Mapping[str, Callable[[float, float], tuple[float, float]]] = {
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


def _exp(x: float) -> float:
    return math.exp(x) if x < LARGEST_EXPONENT else INF


def _softplus(x: float) -> float:
    return x if x > 30.0 else math.log1p(_exp(x))


def _inverse(x: float) -> float:
    return 0.0 if math.isinf(x) else 1.0 / x


def word(name: str, x: Facts) -> Facts:
    """Facts of a function's result; the caller has checked the domain."""
    lo, hi = INTERVALS[name](x.lo, x.hi) if name in INTERVALS else (-INF, INF)
    return Facts(lo, hi, through(FUNCTIONS[name].parity, x.parity), x.inputs)


def power(x: Facts, n: int) -> Facts:
    """x ** n for a whole n >= 1."""
    ends = sorted((_power(x.lo, n), _power(x.hi, n)))
    if n % 2 == 0 and x.lo < 0.0 < x.hi:
        ends = [0.0, ends[1]]
    parity = x.parity
    if n % 2 == 0 and x.parity is Parity.ODD:
        parity = Parity.EVEN
    return Facts(ends[0], ends[1], parity, x.inputs)


def _power(x: float, n: int) -> float:
    try:
        return float(x**n)
    except OverflowError:
        return INF if x > 0 or n % 2 == 0 else -INF


def product(a: Facts, b: Facts) -> Facts:
    """a * b by elements."""
    ends = [_times(x, y) for x in (a.lo, a.hi) for y in (b.lo, b.hi)]
    parity = product_parity(a.parity, b.parity)
    return Facts(min(ends), max(ends), parity, a.inputs | b.inputs)


def _times(x: float, y: float) -> float:
    return 0.0 if x == 0.0 or y == 0.0 else x * y


def total(a: Facts, b: Facts) -> Facts:
    """a + b."""
    return Facts(a.lo + b.lo, a.hi + b.hi, a.parity & b.parity, a.inputs | b.inputs)


def negative(a: Facts) -> Facts:
    """-a."""
    return Facts(-a.hi, -a.lo, a.parity, a.inputs)


def of_constant(value: np.ndarray) -> Facts:
    """Facts of an array of numbers."""
    if value.size == 0:
        return Facts(0.0, 0.0)
    return Facts(float(value.min()), float(value.max()), Parity.EVEN)


def linear(matrix: np.ndarray, x: Facts) -> Facts:
    """matrix @ x, row by row."""
    positive, negative_ = np.maximum(matrix, 0.0).sum(-1), np.minimum(matrix, 0.0).sum(-1)
    lo = [_times(p, x.lo) + _times(n, x.hi) for p, n in zip(positive, negative_, strict=True)]
    hi = [_times(p, x.hi) + _times(n, x.lo) for p, n in zip(positive, negative_, strict=True)]
    return Facts(min(lo), max(hi), x.parity, x.inputs)
