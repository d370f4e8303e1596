"""Functions of one variable that fabric evaluates by table: FUNCTIONS says all there is of each.

NumPy's values (and the tables made of them), JAX's values and derivatives, the rules of both
tracers, ONNX's nodes, intervals and parities are read from here. A function made of what an array
namespace offers (ELEMENTARY) is added by one entry.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Interval = tuple[float, float]
# f(a, x): x an array, or what stands for one, and a the namespace of functions for such as it.
Formula = Callable[[Any, Any], Any]
INF = math.inf
EVERYTHING: Interval = (-INF, INF)

# What every array namespace offers under NumPy's names, beside `erf`, the normal distribution
# function `ndtr`, operators between arrays and numbers, and `(x >= 0.0).astype(x.dtype)`.
ELEMENTARY = (
    "exp", "log", "log1p", "sqrt", "sin", "cos", "sinh", "cosh", "tanh", "abs", "sign", "maximum",
    "logaddexp",
)  # fmt: skip


class Parity(enum.Flag):
    """Under p -> -p: EVEN stays, ODD changes sign; zero does both, an unknown value neither."""

    UNKNOWN = 0
    EVEN = 1
    ODD = 2
    ZERO = 3


class Corner(enum.Enum):
    """What happens at x = 0, where a function is not smooth."""

    BEND = enum.auto()  # it is max(x, 0)
    JUMP = enum.auto()


@dataclass(frozen=True)
class Tails:
    """Beyond 2**reach_bits either way the function is a straight line, to a table's accuracy."""

    reach_bits: int
    left: float  # slopes
    right: float


@dataclass(frozen=True)
class Function:
    """One function: its formula, and what the compiler may take for granted.

    `primitive` is what JAX calls it, where it has it as one operation. `slope` is the derivative, a
    formula in functions of FUNCTIONS and products, where JAX's own is none; a function with
    neither is itself the slope of another, which nothing differentiates. `parity` under x -> -x is
    held exactly by the table's integers, which is possible where the result cannot overflow. A
    `positive` domain excludes x <= 0. `tails` is None where a table has to cover every input.
    """

    formula: Formula
    primitive: str = ""
    slope: Formula | None = None
    range: Interval = EVERYTHING  # where all values lie
    rising: bool = False  # these two: an interval's ends go to its image's, else to the range's
    falling: bool = False
    parity: Parity = Parity.UNKNOWN
    positive: bool = False
    tails: Tails | None = None
    corner: Corner | None = None
    written: str = ""  # in messages about x, where that is not name(x)

    def evaluate(self, x: Floats) -> Floats:
        """Its values under NumPy; float64 for float64."""
        return self.formula(NUMPY, x)

    def evaluate_beside(self, x: Floats, span: float) -> Floats:
        """The same; where it has a pole at zero, arguments go down to `span` only."""
        return self.evaluate(np.maximum(x, span) if self.positive else x)

    def image(self, lo: float, hi: float) -> Interval:
        """Where values for lo <= x <= hi lie: everywhere where x may leave the domain."""
        if self.positive and lo <= 0.0:
            return EVERYTHING
        if not (self.rising or self.falling):
            return self.range
        with np.errstate(over="ignore"):
            low, high = (float(self.evaluate(np.asarray(x))) for x in (lo, hi))
        return (low, high) if self.rising else (high, low)

    @property
    def bound(self) -> float | None:
        """The largest magnitude, None when unbounded."""
        largest = max(map(abs, self.range))
        return largest if math.isfinite(largest) else None

    @property
    def is_slope(self) -> bool:
        """Whether it is there as the derivative of another only."""
        return not self.primitive and self.slope is None


_erf = np.vectorize(math.erf, otypes=[np.float64])
NUMPY = SimpleNamespace(
    erf=_erf,
    ndtr=lambda x: 0.5 * (1.0 + _erf(x / math.sqrt(2.0))),
    **{name: getattr(np, name) for name in ELEMENTARY},
)


def _sigmoid(a: Any, x: Any) -> Any:
    return 0.5 * (1.0 + a.tanh(0.5 * x))


def _gelu_slope(a: Any, x: Any) -> Any:
    return a.ndtr(x) + x * (a.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi))


_TANH_SCALE, _TANH_CUBE = math.sqrt(2.0 / math.pi), 0.044715


def _tanh_of_cubic(a: Any, x: Any) -> Any:
    return a.tanh(_TANH_SCALE * (x + _TANH_CUBE * x**3))


def _gelu_tanh_slope(a: Any, x: Any) -> Any:
    t = _tanh_of_cubic(a, x)
    slope = _TANH_SCALE * (1.0 + 3.0 * _TANH_CUBE * x * x)
    return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * slope


def _log_cosh(a: Any, x: Any) -> Any:
    # log(cosh(x)) itself overflows beyond |x| = 90 in float32.
    return a.abs(x) + a.log1p(a.exp(-2.0 * a.abs(x))) - math.log(2.0)


def _asinh(a: Any, x: Any) -> Any:
    return a.sign(x) * a.log(a.abs(x) + a.sqrt(1.0 + x * x))


_POSITIVE, _UNIT, _BOTH = (0.0, INF), (0.0, 1.0), (-1.0, 1.0)

FUNCTIONS: Mapping[str, Function] = {
    "sigmoid": Function(_sigmoid, "logistic", range=_UNIT, tails=Tails(4, 0.0, 0.0)),
    "tanh": Function(
        lambda a, x: a.tanh(x), "tanh",
        range=_BOTH, rising=True, parity=Parity.ODD, tails=Tails(3, 0.0, 0.0),
    ),
    # The exact GELU, x * Phi(x), with Phi the normal distribution function.
    "gelu": Function(
        lambda a, x: x * a.ndtr(x), slope=lambda f, x: f.gelu_slope(x), tails=Tails(3, 0.0, 1.0)
    ),
    "gelu_slope": Function(_gelu_slope, range=(-0.13, 1.13), tails=Tails(3, 0.0, 0.0)),
    # GELU in its tanh form, 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))): jax.nn.gelu's default.
    "gelu_tanh": Function(
        lambda a, x: 0.5 * x * (1.0 + _tanh_of_cubic(a, x)),
        slope=lambda f, x: f.gelu_tanh_slope(x), tails=Tails(3, 0.0, 1.0),
    ),
    "gelu_tanh_slope": Function(_gelu_tanh_slope, range=(-0.13, 1.13), tails=Tails(3, 0.0, 0.0)),
    "log_cosh": Function(
        _log_cosh, slope=lambda f, x: f.tanh(x),
        range=_POSITIVE, parity=Parity.EVEN, tails=Tails(3, -1.0, 1.0),
    ),
    "softplus": Function(
        lambda a, x: a.logaddexp(x, 0.0), slope=lambda f, x: f.sigmoid(x),
        range=_POSITIVE, rising=True, tails=Tails(4, 0.0, 1.0),
    ),
    # Its slope at 0 is jax.nn.relu's, 0; JAX has others too (`frontend/energy/vocabulary.py`).
    "relu": Function(
        lambda a, x: a.maximum(x, 0.0), slope=lambda f, x: 1.0 - f.unit_step(-x),
        range=_POSITIVE, rising=True, tails=Tails(0, 0.0, 1.0), corner=Corner.BEND,
    ),
    # 1 where x >= 0, else 0. Its own slope is zero wherever it has one.
    "unit_step": Function(
        lambda a, x: (x >= 0.0).astype(x.dtype), slope=lambda f, x: f.zeros_like(x),
        range=_UNIT, tails=Tails(0, 0.0, 0.0), corner=Corner.JUMP,
    ),
    "erf": Function(
        lambda a, x: a.erf(x), "erf", range=_BOTH, parity=Parity.ODD, tails=Tails(2, 0.0, 0.0)
    ),
    "exp": Function(lambda a, x: a.exp(x), "exp", range=_POSITIVE, rising=True),
    "sin": Function(lambda a, x: a.sin(x), "sin", range=_BOTH, parity=Parity.ODD),
    "cos": Function(lambda a, x: a.cos(x), "cos", range=_BOTH, parity=Parity.EVEN),
    "sinh": Function(lambda a, x: a.sinh(x), "sinh"),
    "cosh": Function(lambda a, x: a.cosh(x), "cosh", range=(1.0, INF)),
    "asinh": Function(
        _asinh, "asinh", lambda f, x: f.rsqrt(1.0 + x * x), rising=True, parity=Parity.ODD
    ),
    # For x > 0; the compiler asks for a lower bound that it can prove.
    "reciprocal": Function(
        lambda a, x: 1.0 / x, slope=lambda f, x: -(f.reciprocal(x) ** 2),
        range=_POSITIVE, falling=True, positive=True, written="1 / x",
    ),
    "rsqrt": Function(
        lambda a, x: 1.0 / a.sqrt(x), "rsqrt", lambda f, x: -0.5 * f.rsqrt(x) ** 3,
        range=_POSITIVE, falling=True, positive=True, written="1 / sqrt(x)",
    ),
    "sqrt": Function(
        lambda a, x: a.sqrt(x), "sqrt", lambda f, x: 0.5 * f.rsqrt(x),
        range=_POSITIVE, rising=True, positive=True,
    ),
    "log": Function(
        lambda a, x: a.log(x), "log", lambda f, x: f.reciprocal(x), rising=True, positive=True
    ),
}  # fmt: skip

# By the name of the operation in a jaxpr, JAX's own or this package's, which function it is.
OPERATIONS: Mapping[str, str] = {
    **{name: name for name in FUNCTIONS},
    **{function.primitive: name for name, function in FUNCTIONS.items() if function.primitive},
}
