"""What a run is for: which outputs it gives, and what its echo is told of a label or of targets.

A classification has one output, of the mean over time, and one error for every step. A regression
has an output at every so-many steps, and there the echo is told the target and a gain. All of it is
float64 and the host's own, so that every level is told the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

GAIN_LIMIT = 14  # the loss is magnified by at most 2**14
LONGEST = 62  # a sequence has at most 2**62 steps

# exp in steps that IEEE 754 defines to the last bit, so that every level can repeat the host's
# error words: libraries differ in the last bit of theirs.
LOG2_E = 1.0 / math.log(2.0)
LN2_HIGH = float.fromhex("0x1.62e42feep-1")  # ln 2 = high + low; k * high is exact for |k| < 2**20
LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
EXP_TAYLOR = tuple(1.0 / math.factorial(n) for n in reversed(range(14)))
OUT_OF_REACH = -708.0  # below, exp is not a normal number and counts as zero


# Runtime vectors of a classification: the error of the head's own gradients, and the one that is
# pulled back into the steps, where a program that learns has the two apart.
ERROR, ERROR_STEP = "error", "error_step"


@dataclass(frozen=True)
class SharedError:
    """How the errors of sequences are told whose gradient sums are added up.

    All are times 2**-exponent. A mean over time shares its error among the T steps, so that the
    steps' sums of a longer sequence weigh less: by `length`/T, `length` being the least T.
    """

    exponent: int
    length: int

    def weight(self, length: int) -> float:
        """What the error of a sequence of so many steps is times, in its steps."""
        return self.length / length


class Told(NamedTuple):
    """What an echo is told, in real numbers.

    `runtime` [..., size] holds for the whole sweep, `frames` [..., T', size] at the steps that gave
    an output; `exponent` [...]: gradients are to be multiplied by 2**exponent.
    """

    runtime: Mapping[str, Floats]
    frames: Mapping[str, Floats]
    exponent: NDArray[np.int64]


class Objective(Protocol):
    """How a run's outputs are taken and judged; leading axes count sequences."""

    @property
    def every(self) -> int:
        """Each so-manieth value that a sweep emits is an output."""
        ...

    def rows(self, length: int, started: int = 0) -> int:
        """How many outputs a sweep gives that takes a sequence from `started` steps to T."""
        ...

    def runtime(self, length: int) -> Mapping[str, Floats]:
        """What a forward sweep of T steps is told."""
        ...

    def outputs(self, rows: Any) -> Any:
        """The run's outputs from those of a sweep [..., rows, outputs]."""
        ...

    def told(
        self, outputs: Floats, labels: Any, nudge: float, shared: SharedError | None = None
    ) -> Told:
        """What the echo is told. The error, and with it every nudge, is taken times `nudge`, a
        power of two, which the exponent makes up for."""
        ...

    def losses(self, outputs: Floats, labels: Any) -> Floats:
        """The loss of every sequence [...]."""
        ...

    def shares(self, outputs: tuple[int, ...], length: int) -> tuple[float, float]:
        """What a gradient is times: one that is told once, and one summed over the T steps, for
        outputs of this shape."""
        ...


@dataclass(frozen=True)
class Classification:
    """Logits [..., outputs], labels [...]; the cross entropy of their softmax."""

    every: int = 1

    def rows(self, length: int, started: int = 0) -> int:
        """One: the logits of the mean over time."""
        return 1

    def runtime(self, length: int) -> Mapping[str, Floats]:
        """What the mean over time is, but for a power of two, times the sum."""
        return {"inverse_length": np.asarray([length_words(length)[1]])}

    def outputs(self, rows: Any) -> Any:
        """Logits [..., outputs]."""
        return rows[..., 0, :]

    def told(
        self, outputs: Floats, labels: Any, nudge: float = 1.0, shared: SharedError | None = None
    ) -> Told:
        """The error of the logits, normalised or with the shared exponent."""
        error = softmax_error(outputs, np.asarray(labels))
        if shared is None:
            error, exponent = normalised_error(error)
        else:
            exponent = np.full(error.shape[:-1], shared.exponent, np.int64)
            error = np.ldexp(error, -shared.exponent)
        return Told({ERROR: error * nudge}, {}, exponent - _log2(nudge))

    def losses(self, outputs: Floats, labels: Any) -> Floats:
        """-log softmax(logits)[label], without cancellation where the label is nearly certain."""
        column = np.asarray(labels)[..., None]
        own = np.take_along_axis(outputs, column, -1)
        others = np.arange(outputs.shape[-1]) != column
        margins = np.where(others, outputs - own, -np.inf)
        return np.logaddexp(0.0, np.logaddexp.reduce(margins, axis=-1))

    def shares(self, outputs: tuple[int, ...], length: int) -> tuple[float, float]:
        """The mean over time shares its error among the steps."""
        return 1.0, 1.0 / length


@dataclass(frozen=True)
class Regression:
    """Predictions [..., T', outputs] of steps `every` - 1, 2 * `every` - 1, ..., targets of that
    shape; the mean square."""

    every: int

    def rows(self, length: int, started: int = 0) -> int:
        """T', as many as come in these steps."""
        return length // self.every - started // self.every

    def runtime(self, length: int) -> Mapping[str, Floats]:
        """Nothing."""
        return {}

    def outputs(self, rows: Any) -> Any:
        """Predictions [..., T', outputs]."""
        return rows

    def told(
        self, outputs: Floats, labels: Any, nudge: float = 1.0, shared: SharedError | None = None
    ) -> Told:
        """Targets, and a gain that brings the largest error near 1, or the shared one."""
        targets = np.asarray(labels, np.float64)
        if shared is None:
            exponent = gain_exponent(outputs - targets)
        else:
            exponent = np.full(targets.shape[:-2], -shared.exponent, np.int64)
        gain = np.asarray(nudge * 2.0**exponent, np.float64)[..., None, None]
        gain = np.broadcast_to(gain, (*targets.shape[:-1], 1))
        return Told({}, {"target": targets, "gain": gain}, -exponent - _log2(nudge))

    def losses(self, outputs: Floats, labels: Any) -> Floats:
        """The mean square over steps and outputs."""
        return np.mean((outputs - labels) ** 2, axis=(-2, -1))

    def shares(self, outputs: tuple[int, ...], length: int) -> tuple[float, float]:
        """Every step has its own error: the derivative of a mean square."""
        share = 2.0 / (outputs[-1] * outputs[-2])
        return share, share


def _log2(power: float) -> int:
    return math.frexp(power)[1] - 1


def length_words(length: int) -> tuple[int, float]:
    """(s, r) with 1/T = r * 2**-s and 1 <= r < 2 or r = 1: how the fabric divides by T."""
    shift = math.ceil(math.log2(length)) if length > 1 else 0
    return shift, 2.0**shift / length


def softmax_error(logits: Floats, labels: NDArray[np.int64]) -> Floats:
    """softmax(logits) - one-hot(label), without cancellation where the label is nearly certain."""
    logits = np.asarray(logits, np.float64)
    own = np.take_along_axis(logits, labels[..., None], -1)
    exponentials = repeatable_exp(logits - logits.max(-1, keepdims=True))
    probabilities = exponentials / _in_order(exponentials)
    others = repeatable_exp(np.clip(logits - own, None, 700.0))
    np.put_along_axis(others, labels[..., None], 0.0, -1)
    rest = _in_order(others)
    np.put_along_axis(probabilities, labels[..., None], -rest / (1.0 + rest), -1)
    return probabilities


def repeatable_exp(x: Any, a: Any = np) -> Any:
    """exp(x) for x up to 700, the same bits wherever sums and products are IEEE 754's.

    `a` is the namespace of functions for such as x: NumPy, or one that stands for it.
    """
    reach = a.maximum(x, OUT_OF_REACH)
    whole = a.rint(reach * LOG2_E)
    rest = (reach - whole * LN2_HIGH) - whole * LN2_LOW
    total: Any = EXP_TAYLOR[0]
    for factor in EXP_TAYLOR[1:]:
        total = rest * total + factor
    value = a.ldexp(total, whole.astype(np.int64))
    return a.where(x < OUT_OF_REACH, 0.0, value)


def _in_order(x: Floats) -> Floats:
    """Sum over the last axis, first element first: np.sum may take another order."""
    return np.cumsum(x, axis=-1)[..., -1:]


def normalised_error(error: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """error * 2**-e with its largest magnitude in [0.5, 1), and e, one for each sequence."""
    largest = np.abs(error).max(-1)
    exponent = np.where(largest > 0, np.frexp(np.maximum(largest, 1e-300))[1], 0)
    return np.ldexp(error, -exponent[..., None]), exponent.astype(np.int64)


def gain_exponent(error: Floats) -> NDArray[np.int64]:
    """e with the largest of error [..., T', outputs] times 2**e in [0.5, 1), as far as allowed."""
    largest = np.abs(error).max((-1, -2))
    exponent = -np.frexp(np.maximum(largest, 2.0**-GAIN_LIMIT))[1]
    return np.minimum(exponent, GAIN_LIMIT).astype(np.int64)
