"""The host's arithmetic between samples, passes and gradients, as nodes: ir.objective in float64.

Every operation here is one that IEEE 754 defines to the last bit (sums in one order, products,
quotients, comparisons, rounding), so the words that come out are the host's own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from echoloom.backends.onnx.functions import Namespace, Node
from echoloom.backends.onnx.writer import Scope
from echoloom.ir.formats import Q, largest
from echoloom.ir.objective import GAIN_LIMIT, LONGEST, repeatable_exp

DOUBLE, INT64 = 11, 7  # ONNX's numbers for element types
SMALLEST = -997  # 2**-997 < 1e-300, the smallest error that objective.normalised_error scales


class Host(Scope):
    """Nodes of the outermost scope, in float64 unless an integer is meant.

    Reductions name their axes from the front: of no sequences at all, onnxruntime keeps the axes
    that were named from the back.
    """

    def real(self, value: Any) -> str:
        return self.constant(value, np.float64)

    def put(self, kind: str, *inputs: str, name: str, **attributes: Any) -> str:
        return self.node(kind, *inputs, name=name, **attributes)

    def reals_named(self, name: str) -> Namespace:
        """Formulas in float64."""
        return Namespace(self, name, np.float64)

    def wholes_named(self, name: str) -> Namespace:
        """Formulas in int64."""
        return Namespace(self, name, np.int64)

    def words(self, value: str, q: Q, name: str) -> tuple[str, str]:
        """Words of a float64 tensor, rounded half to even and clamped to the format, and where it
        lay outside (or was no number)."""
        a = self.reals_named(name)
        rounded = a.rint(a.node(value) * 2.0**q.grid)
        within = a.abs(rounded) <= float(largest(q.width))
        words = a.where(within, rounded, 0.0).astype(np.int64)
        return words.name, a.op("Not", within).name

    def reals(self, words: str, q: Q, name: str) -> str:
        """float64 view of words."""
        a = self.reals_named(name)
        return (a.node(words).astype(np.float64) * 2.0**-q.grid).name

    def length(self, x: str) -> tuple[str, str, str]:
        """(T, s, r) of x [batch, T, n], as objective.length_words; r has shape [1]."""
        a = self.reals_named("T")
        shape = self.put("Shape", x, name="x.shape")
        steps = self.put("Gather", shape, self.integer(1), name="T", axis=0)
        powers = np.int64(1) << np.arange(LONGEST, dtype=np.int64)
        longer = a.op("Greater", steps, self.constant(powers))
        shift = a.op("ReduceSum", longer.astype(np.int64), keepdims=0)
        ratio = a.power_of_two(shift, 0, LONGEST) / a.node(steps).astype(np.float64)
        return steps, shift.name, a.op("Reshape", ratio, self.integers(1)).name

    def class_of(self, label: str, classes: int) -> tuple[str, str]:
        """label [batch], 0 where it is no class, and where that is so [batch]."""
        a = self.wholes_named("label")
        given = a.node(label)
        outside = a.op("Or", given < 0, given > classes - 1)
        return a.where(outside, 0, label).name, outside.name

    def softmax_error(self, logits: str, label: str, classes: int) -> str:
        """objective.softmax_error of logits [batch, classes] and label [batch]."""
        a = self.reals_named("softmax")
        x, column = a.node(logits), a.op("Unsqueeze", label, self.integers(-1))
        own = a.op("GatherElements", x, column, axis=1)
        is_own = a.op("Equal", column, self.constant(np.arange(classes, dtype=np.int64)))
        exponentials = repeatable_exp(x - self._most(a, x, 1), a)
        probabilities = exponentials / self._in_order(exponentials)
        others = a.where(is_own, 0.0, repeatable_exp(a.minimum(x - own, 700.0), a))
        rest = self._in_order(others)
        return a.where(is_own, -(rest / (rest + 1.0)), probabilities).name

    def _in_order(self, x: Node) -> Node:
        """Sum over the last axis, first element first."""
        sums = x.of.op("CumSum", x, self.integer(-1))
        return x.of.op("Gather", sums, self.integers(-1), axis=-1)

    def _most(self, a: Namespace, x: Node, *axes: int, keepdims: int = 1) -> Node:
        """The largest over some axes."""
        return a.op("ReduceMax", x, self.integers(*axes), keepdims=keepdims)

    def normalised(self, error: str) -> tuple[str, str]:
        """objective.normalised_error of error [batch, n]: (error * 2**-e, e [batch])."""
        a = self.reals_named("error")
        most = self._most(a, a.abs(a.node(error)), 1)
        exponent = self._frexp(most, SMALLEST, 2)
        exponent = a.where(most > 0.0, exponent, self.integer(0))
        scaled = a.node(error) * a.power_of_two(exponent, SMALLEST, 2, sign=-1)
        return scaled.name, a.op("Squeeze", exponent, self.integers(-1)).name

    def _frexp(self, x: Node, low: int, high: int) -> Node:
        """e with 2**(e-1) <= x < 2**e, of x [batch, 1] below 2**high and taken as at least
        2**low."""
        reached = (x >= 2.0 ** np.arange(low + 1.0, high + 1.0)).astype(np.int64)
        count = x.of.op("ReduceSum", reached, self.integers(1), keepdims=1)
        return x.of.op("Add", count, self.integer(low + 1))

    def gain(self, error: str) -> str:
        """objective.gain_exponent of error [batch, T', n], as [batch]."""
        a = self.reals_named("gain")
        most = self._most(a, a.abs(a.node(error)), 1, 2, keepdims=0)
        column = a.op("Unsqueeze", most, self.integers(-1))
        # At least 2**-GAIN_LIMIT, so at most GAIN_LIMIT - 1: no cap is needed.
        exponent = -self._frexp(a.maximum(column, 2.0**-GAIN_LIMIT), -GAIN_LIMIT - 1, 60)
        return a.op("Squeeze", exponent, self.integers(-1)).name

    def spread(self, x: str, steps: str, every: int, name: str) -> str:
        """[batch, T', n] at steps every-1, 2*every-1, ... of [batch, T, n], zero elsewhere;
        `x` is int64 or float64, as its zeros are (`Where` keeps the type)."""
        a = self.wholes_named(name)
        after = a.op("Range", 0, steps, 1) + 1
        number = after / every - 1
        rows = a.op("Gather", x, a.where(number < 0, 0, number), axis=1)
        hit = a.op("Equal", a.op("Mod", after, every), 0)
        return a.where(a.op("Unsqueeze", hit, self.integers(-1)), rows, rows - rows).name
