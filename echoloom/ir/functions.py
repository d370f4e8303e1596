"""Functions of one variable that fabric evaluates by table: one entry a function."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
erf = np.vectorize(math.erf, otypes=[np.float64])


class Parity(enum.Flag):
    """Under p -> -p: EVEN stays, ODD changes sign; zero does both, an unknown value neither."""

    UNKNOWN = 0
    EVEN = 1
    ODD = 2
    ZERO = 3


@dataclass(frozen=True)
class Tails:
    """Beyond 2**reach_bits either way the function is a straight line, to a table's accuracy."""

    reach_bits: int
    left: float  # slopes
    right: float


@dataclass(frozen=True)
class Function:
    """`tails` is None where the table has to cover every input; `bound` is the largest magnitude,
    None when unbounded; `parity` under x -> -x, held exactly by its integers, which is possible
    where the result cannot overflow; a `positive` domain excludes x <= 0."""

    evaluate: Callable[[Floats], Floats]
    tails: Tails | None
    bound: float | None = None
    parity: Parity = Parity.UNKNOWN
    positive: bool = False


def sigmoid(x: Floats) -> Floats:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def _gelu(x: Floats) -> Floats:
    return 0.5 * x * (1.0 + erf(x / math.sqrt(2.0)))


def _gelu_slope(x: Floats) -> Floats:
    density = np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)
    return 0.5 * (1.0 + erf(x / math.sqrt(2.0))) + x * density


def _inner(x: Floats) -> Floats:
    return math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)


def _gelu_tanh(x: Floats) -> Floats:
    return 0.5 * x * (1.0 + np.tanh(_inner(x)))


def _gelu_tanh_slope(x: Floats) -> Floats:
    t = np.tanh(_inner(x))
    slope = math.sqrt(2.0 / math.pi) * (1.0 + 3.0 * 0.044715 * x * x)
    return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * slope


def _log_cosh(x: Floats) -> Floats:
    return np.abs(x) + np.log1p(np.exp(-2.0 * np.abs(x))) - math.log(2.0)


FUNCTIONS: Mapping[str, Function] = {
    "sigmoid": Function(sigmoid, Tails(4, 0.0, 0.0), 1.0),
    "tanh": Function(np.tanh, Tails(3, 0.0, 0.0), 1.0, Parity.ODD),
    "gelu": Function(_gelu, Tails(3, 0.0, 1.0)),
    "gelu_slope": Function(_gelu_slope, Tails(3, 0.0, 0.0), 1.13),
    "gelu_tanh": Function(_gelu_tanh, Tails(3, 0.0, 1.0)),
    "gelu_tanh_slope": Function(_gelu_tanh_slope, Tails(3, 0.0, 0.0), 1.13),
    "log_cosh": Function(_log_cosh, Tails(3, -1.0, 1.0), None, Parity.EVEN),
    "softplus": Function(lambda x: np.logaddexp(x, 0.0), Tails(4, 0.0, 1.0)),
    "relu": Function(lambda x: np.maximum(x, 0.0), Tails(0, 0.0, 1.0)),
    "unit_step": Function(lambda x: (x >= 0.0).astype(float), Tails(0, 0.0, 0.0), 1.0),
    "erf": Function(erf, Tails(2, 0.0, 0.0), 1.0, Parity.ODD),
    "exp": Function(np.exp, None),
    "sin": Function(np.sin, None, 1.0, Parity.ODD),
    "cos": Function(np.cos, None, 1.0, Parity.EVEN),
    "sinh": Function(np.sinh, None),
    "cosh": Function(np.cosh, None),
    "reciprocal": Function(lambda x: 1.0 / x, None, positive=True),
    "rsqrt": Function(lambda x: 1.0 / np.sqrt(x), None, positive=True),
    "sqrt": Function(np.sqrt, None, positive=True),
    "log": Function(np.log, None, positive=True),
}
