"""Formulas as nodes, of operators that onnxruntime has for both float types; it has neither Erf,
Softplus, Sinh nor Cosh for float64.

A formula of `ir.functions` is run once, with a `Namespace` in NumPy's place and a `Node` as its x:

    0.5 * (1.0 + a.tanh(0.5 * x))    Mul, Tanh, Add, Mul
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev

from echoloom.backends.onnx.writer import Scope, element_of
from echoloom.ir.functions import FUNCTIONS

# Functions that ONNX has as operators, by NumPy's names.
OPERATORS = {
    "exp": "Exp", "log": "Log", "sqrt": "Sqrt", "sin": "Sin", "cos": "Cos", "tanh": "Tanh",
    "abs": "Abs", "sign": "Sign", "maximum": "Max", "minimum": "Min", "rint": "Round",
    "where": "Where",
}  # fmt: skip
ERF_REACH = 6.0  # erf(6) is 1 to the last bit of float64


@cache
def _erf_factors() -> tuple[float, ...]:
    """Factors of u**n in log(erfc(x)) + x**2, u in -1..1 for 1 / (1 + x/2) with x in 0..6."""
    low = 1.0 / (1.0 + ERF_REACH / 2.0)
    u = np.cos(np.pi * (np.arange(400) + 0.5) / 400)
    x = 2.0 / (low + (1.0 - low) * (u + 1.0) / 2.0) - 2.0
    y = np.array([math.log(math.erfc(v)) for v in x]) + x * x
    return tuple(float(c) for c in chebyshev.cheb2poly(chebyshev.chebfit(u, y, 27)))


class Namespace:
    """Writes nodes of one formula, whose names count up; functions are NumPy's and SciPy's, numbers
    of type `dtype`."""

    def __init__(self, s: Scope, name: str, dtype: type):
        self.s, self.name, self.dtype, self.count = s, name, dtype, 0

    def node(self, name: str) -> Node:
        """A value that is there already."""
        return Node(self, name)

    def op(self, kind: str, *inputs: Operand, **attributes: Any) -> Node:
        """A new node; its inputs are nodes, names of other values, and numbers."""
        self.count += 1
        names = [
            x.name if isinstance(x, Node) else x if isinstance(x, str) else
            self.s.constant(x, self.dtype) for x in inputs
        ]  # fmt: skip
        name = f"{self.name}.{kind.lower()}{self.count}"
        return Node(self, self.s.node(kind, *names, name=name, **attributes))

    def __getattr__(self, name: str) -> Callable[..., Node]:
        return partial(self.op, OPERATORS[name])

    def ldexp(self, x: Node | float, exponent: Node) -> Node:
        """x times 2**exponent, for exponents of normal float64 numbers."""
        return self.power_of_two(exponent, -1023, 1023) * x

    def power_of_two(self, exponent: Operand, low: int, high: int, sign: int = 1) -> Node:
        """2**(sign * exponent) for whole exponents in low..high."""
        powers = self.s.constant(2.0 ** (sign * np.arange(low, high + 1.0)), self.dtype)
        index = self.op("Sub", exponent, self.s.integer(low))
        return self.op("Gather", powers, index, axis=0)

    def log1p(self, x: Node) -> Node:
        return self.op("Log", x + 1.0)

    def sinh(self, x: Node) -> Node:
        """(e^x - e^-x) / 2; near zero, where that has few digits, through tanh(x/2)."""
        half = self.tanh(x * 0.5)
        near = half * 2.0 / (1.0 - half * half)
        far = (self.exp(x) - self.exp(-x)) * 0.5
        return self.op("Where", self.op("Less", self.abs(x), 1.0), near, far)

    def cosh(self, x: Node) -> Node:
        return (self.exp(x) + self.exp(-x)) * 0.5

    def logaddexp(self, x: Node, y: Node | float) -> Node:
        return self.maximum(x, y) + self.log1p(self.exp(-self.abs(x - y)))

    def erf(self, x: Node) -> Node:
        if self.dtype is np.float32:
            return self.op("Erf", x)
        low = 1.0 / (1.0 + ERF_REACH / 2.0)
        size = self.op("Min", self.abs(x), ERF_REACH)
        t = self.op("Reciprocal", size * 0.5 + 1.0)
        u = t * (2.0 / (1.0 - low)) - (1.0 + low) / (1.0 - low)
        factors = _erf_factors()
        total: Node | float = factors[-1]
        for factor in reversed(factors[:-1]):
            total = u * total + factor
        return self.sign(x) * (1.0 - self.exp(total - size * size))

    def ndtr(self, x: Node) -> Node:
        return 0.5 * (self.erf(x * math.sqrt(0.5)) + 1.0)


@dataclass(frozen=True)
class Node:
    """A node's result, which formulas take for an array."""

    of: Namespace
    name: str

    @property
    def dtype(self) -> type:
        return self.of.dtype

    def astype(self, dtype: type) -> Node:
        return self.of.op("Cast", self, to=element_of(dtype))

    def __add__(self, other: Operand) -> Node:
        return self.of.op("Add", self, other)

    def __mul__(self, other: Operand) -> Node:
        return self.of.op("Mul", self, other)

    __radd__, __rmul__ = __add__, __mul__

    def __sub__(self, other: Operand) -> Node:
        return self.of.op("Sub", self, other)

    def __rsub__(self, other: float) -> Node:
        return self.of.op("Sub", other, self)

    def __truediv__(self, other: Operand) -> Node:
        return self.of.op("Div", self, other)

    def __rtruediv__(self, other: float) -> Node:
        return self.of.op("Div", other, self)

    def __neg__(self) -> Node:
        return self.of.op("Neg", self)

    def __pow__(self, exponent: int) -> Node:
        return self if exponent == 1 else self * self ** (exponent - 1)

    def __ge__(self, other: Operand) -> Node:
        return self.of.op("GreaterOrEqual", self, other)

    def __lt__(self, other: Operand) -> Node:
        return self.of.op("Less", self, other)

    def __gt__(self, other: Operand) -> Node:
        return self.of.op("Greater", self, other)

    def __le__(self, other: Operand) -> Node:
        return self.of.op("LessOrEqual", self, other)


Operand = Node | str | float | np.ndarray


def spelled(s: Scope, function: str, x: str, name: str, dtype: type) -> str:
    """Writes `function` of the value `x`; the nodes' names begin with `name`."""
    namespace = Namespace(s, name, dtype)
    return FUNCTIONS[function].formula(namespace, namespace.node(x)).name
