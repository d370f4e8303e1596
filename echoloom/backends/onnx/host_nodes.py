"""The host's arithmetic between samples, passes and gradients, as nodes: ir.objective in float64.

Every operation here is one that IEEE 754 defines to the last bit (sums in one order, products,
quotients, comparisons, rounding), so the words that come out are the host's own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from echoloom.backends.onnx.writer import Scope
from echoloom.ir.formats import Q, largest
from echoloom.ir.objective import (
    EXP_TAYLOR,
    GAIN_LIMIT,
    LN2_HIGH,
    LN2_LOW,
    LOG2_E,
    LONGEST,
    OUT_OF_REACH,
)

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

    def words(self, value: str, q: Q, name: str) -> tuple[str, str]:
        """Words of a float64 tensor, rounded half to even and clamped to the format, and where it
        lay outside (or was no number)."""
        limit = largest(q.width)
        scaled = self.put("Mul", value, self.real(2.0**q.grid), name=f"{name}.scaled")
        rounded = self.put("Round", scaled, name=f"{name}.rounded")
        size = self.put("Abs", rounded, name=f"{name}.size")
        within = self.put("LessOrEqual", size, self.real(float(limit)), name=f"{name}.within")
        outside = self.put("Not", within, name=f"{name}.outside")
        safe = self.put("Where", within, rounded, self.real(0.0), name=f"{name}.held")
        return self.put("Cast", safe, name=f"{name}.words", to=INT64), outside

    def reals(self, words: str, q: Q, name: str) -> str:
        """float64 view of words."""
        double = self.put("Cast", words, name=f"{name}.double", to=DOUBLE)
        return self.put("Mul", double, self.real(2.0**-q.grid), name=f"{name}.real")

    def length(self, x: str) -> tuple[str, str, str]:
        """(T, s, r) of x [batch, T, n], as objective.length_words; r has shape [1]."""
        shape = self.put("Shape", x, name="x.shape")
        steps = self.put("Gather", shape, self.integer(1), name="T", axis=0)
        powers = np.int64(1) << np.arange(LONGEST, dtype=np.int64)
        longer = self.put("Greater", steps, self.constant(powers), name="T.longer")
        counts = self.put("Cast", longer, name="T.counts", to=INT64)
        shift = self.put("ReduceSum", counts, name="T.shift", keepdims=0)
        whole = self.put("Gather", self.constant(2.0 ** np.arange(LONGEST + 1.0)), shift,
                         name="T.power", axis=0)  # fmt: skip
        real = self.put("Cast", steps, name="T.real", to=DOUBLE)
        ratio = self.put("Div", whole, real, name="T.ratio")
        return steps, shift, self.put("Reshape", ratio, self.integers(1), name="T.inverse")

    def exponential(self, x: str, name: str) -> str:
        """objective.repeatable_exp."""
        reach = self.put("Max", x, self.real(OUT_OF_REACH), name=f"{name}.reach")
        times = self.put("Mul", reach, self.real(LOG2_E), name=f"{name}.times")
        whole = self.put("Round", times, name=f"{name}.whole")
        high = self.put("Mul", whole, self.real(LN2_HIGH), name=f"{name}.high")
        low = self.put("Mul", whole, self.real(LN2_LOW), name=f"{name}.low")
        rest = self.put("Sub", reach, high, name=f"{name}.nearly")
        rest = self.put("Sub", rest, low, name=f"{name}.rest")
        sum_ = self.real(EXP_TAYLOR[0])
        for index, factor in enumerate(EXP_TAYLOR[1:]):
            product = self.put("Mul", sum_, rest, name=f"{name}.product{index}")
            sum_ = self.put("Add", product, self.real(factor), name=f"{name}.sum{index}")
        least, most = -1023, 1023
        powers = self.constant(2.0 ** np.arange(least, most + 1.0))
        exponent = self.put("Cast", whole, name=f"{name}.exponent", to=INT64)
        index = self.put("Sub", exponent, self.integer(least), name=f"{name}.index")
        power = self.put("Gather", powers, index, name=f"{name}.power", axis=0)
        value = self.put("Mul", sum_, power, name=f"{name}.value")
        lost = self.put("Less", x, self.real(OUT_OF_REACH), name=f"{name}.lost")
        return self.put("Where", lost, self.real(0.0), value, name=name)

    def total(self, x: str, name: str) -> str:
        """Sum over the last axis, first element first."""
        sums = self.put("CumSum", x, self.integer(-1), name=f"{name}.sums")
        return self.put("Gather", sums, self.integers(-1), name=name, axis=-1)

    def class_of(self, label: str, classes: int) -> tuple[str, str]:
        """label [batch], 0 where it is no class, and where that is so [batch]."""
        below = self.put("Less", label, self.integer(0), name="label.below")
        above = self.put("Greater", label, self.integer(classes - 1), name="label.above")
        outside = self.put("Or", below, above, name="label.outside")
        return self.put("Where", outside, self.integer(0), label, name="label.held"), outside

    def softmax_error(self, logits: str, label: str, classes: int) -> str:
        """objective.softmax_error of logits [batch, classes] and label [batch]."""
        column = self.put("Unsqueeze", label, self.integers(-1), name="label.column")
        own = self.put("GatherElements", logits, column, name="logits.own", axis=1)
        every = self.constant(np.arange(classes, dtype=np.int64))
        is_own = self.put("Equal", column, every, name="label.here")
        top = self.put("ReduceMax", logits, self.integers(1), name="logits.top", keepdims=1)
        below = self.put("Sub", logits, top, name="logits.below")
        exponentials = self.exponential(below, "softmax.exp")
        sum_ = self.total(exponentials, "softmax.sum")
        probabilities = self.put("Div", exponentials, sum_, name="softmax")
        ahead = self.put("Sub", logits, own, name="logits.ahead")
        ahead = self.put("Min", ahead, self.real(700.0), name="logits.ahead_capped")
        others = self.exponential(ahead, "others.exp")
        others = self.put("Where", is_own, self.real(0.0), others, name="others")
        rest = self.total(others, "others.sum")
        whole = self.put("Add", self.real(1.0), rest, name="others.whole")
        share = self.put("Div", rest, whole, name="others.share")
        missing = self.put("Neg", share, name="others.missing")
        return self.put("Where", is_own, missing, probabilities, name="error.softmax")

    def normalised(self, error: str) -> tuple[str, str]:
        """objective.normalised_error of error [batch, n]: (error * 2**-e, e [batch])."""
        size = self.put("Abs", error, name="error.size")
        largest_ = self.put("ReduceMax", size, self.integers(1), name="error.largest", keepdims=1)
        exponent = self.frexp(largest_, SMALLEST, 2, "error")
        some = self.put("Greater", largest_, self.real(0.0), name="error.some")
        exponent = self.put("Where", some, exponent, self.integer(0), name="error.exponent")
        factor = self.power_of_two(exponent, -1, SMALLEST, 2, "error.factor")
        scaled = self.put("Mul", error, factor, name="error.normalised")
        return scaled, self.put("Squeeze", exponent, self.integers(-1), name="exponent.loss")

    def frexp(self, x: str, low: int, high: int, name: str) -> str:
        """e with 2**(e-1) <= x < 2**e, of x [batch, 1] below 2**high and taken as at least
        2**low."""
        thresholds = self.constant(2.0 ** np.arange(low + 1.0, high + 1.0))
        reached = self.put("GreaterOrEqual", x, thresholds, name=f"{name}.reached")
        counts = self.put("Cast", reached, name=f"{name}.counts", to=INT64)
        count = self.put("ReduceSum", counts, self.integers(1), name=f"{name}.count", keepdims=1)
        return self.put("Add", count, self.integer(low + 1), name=f"{name}.frexp")

    def power_of_two(self, exponent: str, sign: int, low: int, high: int, name: str) -> str:
        """2.0**(sign * exponent) for exponent in low..high."""
        powers = self.constant(2.0 ** (sign * np.arange(low, high + 1.0)))
        index = self.put("Sub", exponent, self.integer(low), name=f"{name}.index")
        return self.put("Gather", powers, index, name=name, axis=0)

    def gain(self, error: str) -> str:
        """objective.gain_exponent of error [batch, T', n], as [batch]."""
        size = self.put("Abs", error, name="error.size")
        largest_ = self.put("ReduceMax", size, self.integers(1, 2), name="error.largest",
                            keepdims=0)  # fmt: skip
        column = self.put("Unsqueeze", largest_, self.integers(-1), name="error.column")
        least = self.put("Max", column, self.real(2.0**-GAIN_LIMIT), name="error.least")
        exponent = self.frexp(least, -GAIN_LIMIT - 1, 60, "error")
        minus = self.put("Neg", exponent, name="error.minus")
        # At least 2**-GAIN_LIMIT, so at most GAIN_LIMIT - 1: no cap is needed.
        return self.put("Squeeze", minus, self.integers(-1), name="gain.exponent")

    def spread(self, x: str, steps: str, every: int, name: str) -> str:
        """[batch, T', n] at steps every-1, 2*every-1, ... of [batch, T, n], zero elsewhere;
        `x` is int64 or float64, as its zeros are (`Where` keeps the type)."""
        one = self.integer(1)
        index = self.put("Range", self.integer(0), steps, one, name=f"{name}.step")
        after = self.put("Add", index, one, name=f"{name}.after")
        number = self.put("Div", after, self.integer(every), name=f"{name}.number")
        before = self.put("Sub", number, one, name=f"{name}.before")
        none = self.put("Less", before, self.integer(0), name=f"{name}.none")
        held = self.put("Where", none, self.integer(0), before, name=f"{name}.source")
        gathered = self.put("Gather", x, held, name=f"{name}.gathered", axis=1)
        rest = self.put("Mod", after, self.integer(every), name=f"{name}.rest")
        hit = self.put("Equal", rest, self.integer(0), name=f"{name}.hit")
        hit = self.put("Unsqueeze", hit, self.integers(-1), name=f"{name}.hits")
        zeros = self.put("Sub", gathered, gathered, name=f"{name}.zeros")
        return self.put("Where", hit, gathered, zeros, name=f"{name}.frames")
