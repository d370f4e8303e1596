"""The host's side of a run: frames in, runtime words, errors out. The same for every level.

Works on a Machine whose values are real numbers or integer words; `encode` turns a real array into
the machine's words for a named input, `decode` is not needed because outputs are left as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echoloom.ir.interpret import Machine
from echoloom.ir.ops import DynamicShift
from echoloom.ir.sections import Section

Floats = NDArray[np.float64]
Encoder = Callable[[str, Any], Any]

GAIN_LIMIT = 14  # the loss is magnified by at most 2**14
LONGEST = 62  # a sequence has at most 2**62 steps

# exp in steps that IEEE 754 defines to the last bit, so that every level can repeat the host's
# error words: libraries differ in the last bit of theirs.
LOG2_E = 1.0 / math.log(2.0)
LN2_HIGH = float.fromhex("0x1.62e42feep-1")  # ln 2 = high + low; k * high is exact for |k| < 2**20
LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
EXP_TAYLOR = tuple(1.0 / math.factorial(n) for n in reversed(range(14)))
OUT_OF_REACH = -708.0  # below, exp is not a normal number and counts as zero


class Session:
    """One forward pass and its echo on a machine, for a batch of equally long sequences."""

    def __init__(self, machine: Machine, output_step: int, encode: Encoder = lambda name, v: v):
        self.machine, self.output_step, self.encode = machine, output_step, encode

    def forward(self, samples: Floats) -> Any:
        """samples [..., T, inputs] -> logits [..., outputs] or predictions [..., T', outputs]."""
        machine, program = self.machine, self.machine.program
        machine.emitted = []
        shift, inverse = length_words(samples.shape[-2])
        machine.shifts[DynamicShift.LENGTH] = shift
        if any(d.name == "inverse_length" for d in program.runtime):
            machine.values["inverse_length"] = self.encode("inverse_length", np.asarray([inverse]))
        machine.run(Section.FORWARD_PROLOGUE)
        # Each sequence has states of its own, also where no input ever reaches them.
        for state, _ in program.body(Section.FORWARD_PROLOGUE).updates:
            at_rest = machine.values[state]
            machine.values[state] = np.broadcast_to(at_rest, samples.shape[:-2] + at_rest.shape)
        machine.run(Section.FORWARD_STEP, self._frames(samples))
        machine.run(Section.FORWARD_EPILOGUE)
        if any(d.name == "error" for d in program.runtime):
            return machine.emitted[0]
        return np.stack(machine.emitted[self.output_step - 1 :: self.output_step], axis=-2)

    def echo_classification(self, samples: Floats, error: Floats) -> None:
        """The echo pass for a normalised error [..., outputs]."""
        self.machine.values["error"] = self.encode("error", error)
        self.echo_from(samples)

    def echo_from(self, samples: Floats, steps: int | None = None) -> None:
        """The echo pass, or its first `steps` steps, for the error that the machine holds."""
        self.machine.run(Section.ECHO_PROLOGUE)
        self.machine.run(Section.ECHO_STEP, islice(self._frames(samples[..., ::-1, :]), steps))

    def echo_regression(
        self,
        samples: Floats,
        targets: Floats,
        predictions: Floats,
        steps: int | None = None,
        nudge: float = 1.0,
    ) -> NDArray[np.int64]:
        """The echo pass (or its first `steps` steps) for targets [..., T', outputs]; returns the
        gain exponent [...]. The gain, and with it every nudge, is taken times `nudge`."""
        exponent = gain_exponent(predictions - targets)
        self.machine.run(Section.ECHO_PROLOGUE)
        frames = self._regression_frames(samples, targets, nudge * 2.0**exponent)
        self.machine.run(Section.ECHO_STEP, islice(frames, steps))
        return exponent

    def _frames(self, samples: Floats) -> Iterator[Mapping[str, Any]]:
        words = self.encode("x", samples)
        for k in range(words.shape[-2]):
            yield {"x": words[..., k, :]}

    def _regression_frames(
        self, samples: Floats, targets: Floats, gain: Any
    ) -> Iterator[Mapping[str, Any]]:
        x, target = self.encode("x", samples), self.encode("target", targets)
        on = self.encode("gain", np.asarray(gain)[..., None])
        for k in reversed(range(x.shape[-2])):
            index = (k + 1) // self.output_step - 1
            hit = (k + 1) % self.output_step == 0
            yield {
                "x": x[..., k, :],
                "target": target[..., index, :] if hit else np.zeros_like(target[..., 0, :]),
                "gain": on if hit else np.zeros_like(on),
            }


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


def repeatable_exp(x: Floats) -> Floats:
    """exp(x) for x up to 700, the same bits wherever sums and products are IEEE 754's."""
    reach = np.maximum(x, OUT_OF_REACH)
    whole = np.rint(reach * LOG2_E)
    rest = (reach - whole * LN2_HIGH) - whole * LN2_LOW
    total: Any = EXP_TAYLOR[0]
    for factor in EXP_TAYLOR[1:]:
        total = total * rest + factor
    value = np.ldexp(total, whole.astype(np.int64))
    return np.where(x < OUT_OF_REACH, 0.0, value)


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
