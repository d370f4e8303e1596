"""What is provable of a run-time value: its interval, its parity in p, what it depends on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from echoloom.ir import intervals
from echoloom.ir.functions import FUNCTIONS, INF
from echoloom.ir.parity import Parity, product_parity, through


@dataclass(frozen=True)
class Facts:
    """lo <= every element <= hi; parity under p -> -p; names of the inputs that it depends on."""

    lo: float = -INF
    hi: float = INF
    parity: Parity = Parity.EVEN
    inputs: frozenset[str] = frozenset()


def word(name: str, x: Facts) -> Facts:
    """Facts of a function's result; the caller has checked the domain."""
    function = FUNCTIONS[name]
    return Facts(*function.image(x.lo, x.hi), through(function.parity, x.parity), x.inputs)


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
    lo, hi = intervals.product((a.lo, a.hi), (b.lo, b.hi))
    return Facts(lo, hi, product_parity(a.parity, b.parity), a.inputs | b.inputs)


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
    lo, hi = intervals.linear(matrix, (x.lo, x.hi))
    return Facts(lo, hi, x.parity, x.inputs)
