"""Every function that a program may look up, spelled in operators that onnxruntime has for both
float types; it has neither Erf, Softplus, Sinh nor Cosh for float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
from numpy.polynomial import chebyshev

from echoloom.backends.onnx.writer import Scope


class Formula:
    """Writes nodes that compute with one function's argument; names count up."""

    def __init__(self, s: Scope, name: str, dtype: type):
        self.s, self.name, self.dtype, self.count = s, name, dtype, 0

    def op(self, kind: str, *inputs: str | float) -> str:
        self.count += 1
        names = [x if isinstance(x, str) else self.s.constant(x, self.dtype) for x in inputs]
        return self.s.node(kind, *names, name=f"{self.name}.{kind.lower()}{self.count}")

    def mul(self, a: str | float, b: str | float) -> str:
        return self.op("Mul", a, b)

    def add(self, a: str | float, b: str | float) -> str:
        return self.op("Add", a, b)

    def sub(self, a: str | float, b: str | float) -> str:
        return self.op("Sub", a, b)


Spelling = Callable[[Formula, str], str]
ERF_REACH = 6.0  # erf(6) is 1 to the last bit of float64


@cache
def _erf_factors() -> tuple[float, ...]:
    """Factors of u**n in log(erfc(x)) + x**2, u in -1..1 for 1 / (1 + x/2) with x in 0..6."""
    low = 1.0 / (1.0 + ERF_REACH / 2.0)
    u = np.cos(np.pi * (np.arange(400) + 0.5) / 400)
    x = 2.0 / (low + (1.0 - low) * (u + 1.0) / 2.0) - 2.0
    y = np.array([math.log(math.erfc(v)) for v in x]) + x * x
    return tuple(float(c) for c in chebyshev.cheb2poly(chebyshev.chebfit(u, y, 27)))


def erf(f: Formula, x: str) -> str:
    if f.dtype is np.float32:
        return f.op("Erf", x)
    low = 1.0 / (1.0 + ERF_REACH / 2.0)
    size = f.op("Min", f.op("Abs", x), ERF_REACH)
    t = f.op("Reciprocal", f.add(f.mul(size, 0.5), 1.0))
    u = f.sub(f.mul(t, 2.0 / (1.0 - low)), (1.0 + low) / (1.0 - low))
    factors = _erf_factors()
    total: str | float = factors[-1]
    for factor in reversed(factors[:-1]):
        total = f.add(f.mul(total, u), factor)
    complement = f.op("Exp", f.sub(total, f.mul(size, size)))
    return f.mul(f.op("Sign", x), f.sub(1.0, complement))


def _normal(f: Formula, x: str) -> str:
    """(1 + erf(x / sqrt 2)) / 2."""
    return f.mul(f.add(erf(f, f.mul(x, math.sqrt(0.5))), 1.0), 0.5)


def gelu_slope(f: Formula, x: str) -> str:
    density = f.op("Exp", f.mul(f.mul(x, x), -0.5))
    return f.add(_normal(f, x), f.mul(f.mul(x, density), 1.0 / math.sqrt(2.0 * math.pi)))


def _tanh_half(f: Formula, x: str) -> tuple[str, str]:
    """tanh of GELU's polynomial in x, and x squared."""
    square = f.mul(x, x)
    inner = f.mul(x, f.add(f.mul(square, 0.044715), 1.0))
    return f.op("Tanh", f.mul(inner, math.sqrt(2.0 / math.pi))), square


def gelu_tanh(f: Formula, x: str) -> str:
    return f.mul(f.mul(x, 0.5), f.add(_tanh_half(f, x)[0], 1.0))


def gelu_tanh_slope(f: Formula, x: str) -> str:
    t, square = _tanh_half(f, x)
    slope = f.mul(f.add(f.mul(square, 3.0 * 0.044715), 1.0), math.sqrt(2.0 / math.pi))
    curve = f.mul(f.mul(x, f.sub(1.0, f.mul(t, t))), slope)
    return f.mul(f.add(f.add(t, 1.0), curve), 0.5)


def log_cosh(f: Formula, x: str) -> str:
    size = f.op("Abs", x)
    tail = f.op("Log", f.add(f.op("Exp", f.mul(size, -2.0)), 1.0))
    return f.sub(f.add(size, tail), math.log(2.0))


def softplus(f: Formula, x: str) -> str:
    tail = f.op("Log", f.add(f.op("Exp", f.op("Neg", f.op("Abs", x))), 1.0))
    return f.add(f.op("Relu", x), tail)


def unit_step(f: Formula, x: str) -> str:
    at_least = f.op("GreaterOrEqual", x, 0.0)
    return f.op("Where", at_least, 1.0, 0.0)


def sinh(f: Formula, x: str) -> str:
    """(e^x - e^-x) / 2, but through tanh(x/2) near zero, where the difference has few digits."""
    half = f.op("Tanh", f.mul(x, 0.5))
    near = f.op("Div", f.mul(half, 2.0), f.sub(1.0, f.mul(half, half)))
    far = f.mul(f.sub(f.op("Exp", x), f.op("Exp", f.op("Neg", x))), 0.5)
    return f.op("Where", f.op("Less", f.op("Abs", x), 1.0), near, far)


def cosh(f: Formula, x: str) -> str:
    return f.mul(f.add(f.op("Exp", x), f.op("Exp", f.op("Neg", x))), 0.5)


def _operator(kind: str) -> Spelling:
    return lambda f, x: f.op(kind, x)


SPELLINGS: Mapping[str, Spelling] = {
    "sigmoid": lambda f, x: f.mul(f.add(f.op("Tanh", f.mul(x, 0.5)), 1.0), 0.5),
    "tanh": _operator("Tanh"),
    "gelu": lambda f, x: f.mul(x, _normal(f, x)),
    "gelu_slope": gelu_slope,
    "gelu_tanh": gelu_tanh,
    "gelu_tanh_slope": gelu_tanh_slope,
    "log_cosh": log_cosh,
    "softplus": softplus,
    "relu": _operator("Relu"),
    "unit_step": unit_step,
    "erf": erf,
    "exp": _operator("Exp"),
    "sin": _operator("Sin"),
    "cos": _operator("Cos"),
    "sinh": sinh,
    "cosh": cosh,
    "reciprocal": _operator("Reciprocal"),
    "rsqrt": lambda f, x: f.op("Reciprocal", f.op("Sqrt", x)),
    "sqrt": _operator("Sqrt"),
    "log": _operator("Log"),
}
