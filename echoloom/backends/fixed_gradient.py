"""Training on the fabric's own numbers: float master weights, integer forward passes and echoes.

Before every batch the weights are rounded into the compiled program's formats; the integers of
forward pass and echo come from the program, and their sums are chained back to the raw parameters
in floats. Weights and signals grow while a model learns, so a program may have to be calibrated
again: on a fabric that is another image for the same engine.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from echoloom.backends.archive import program_bytes, program_from
from echoloom.backends.batched import BatchRunner
from echoloom.backends.compiled import (
    CoefficientRange,
    CompiledProgram,
    Overflowed,
    calibrated_again,
    compile,
    target_named,
)
from echoloom.backends.integers import (
    FAILURES,
    Floats,
    InputRange,
    is_classification,
    output_type,
    to_real,
)
from echoloom.backends.raw_gradients import raw_gradient
from echoloom.frontend.check import check
from echoloom.frontend.data import check_samples
from echoloom.frontend.hssm import HSSM, trainable
from echoloom.frontend.training.source import StepGradient
from echoloom.ir.engine import Flag
from echoloom.ir.passes.calibrate import Runaway
from echoloom.ir.passes.formats_plan import Widths

CALIBRATION = 64  # sequences that formats are calibrated on, at most


@dataclass(frozen=True, eq=False)
class BatchGradient:
    """What a program makes of a batch, one entry a sequence: [n] each."""

    losses: Floats
    overflowed: NDArray[np.bool_]
    saturated: NDArray[np.bool_]
    coefficients: dict[str, Floats]  # gradients of the folded coefficients, [n, ...]
    program: CompiledProgram

    def mean(self) -> tuple[jax.Array, HSSM]:
        """Loss and gradient, in the model's own float type, over the sequences that did not
        overflow; zeros where none is left."""
        kept = ~self.overflowed
        count = max(1, int(kept.sum()))
        means = {n: g[kept].sum(0) / count for n, g in self.coefficients.items()}
        model = self.program.model
        raw = raw_gradient(self.program.folded, model, means)
        own = eqx.filter(model, trainable(model))
        gradient = jax.tree.map(lambda g, p: jnp.asarray(np.asarray(g), p.dtype), raw, own)
        value = self.losses[kept].sum() / count
        return jnp.asarray(value, model.encoder.weight.dtype), gradient


def batch_gradient(
    program: CompiledProgram, runner: BatchRunner, X: Floats, y: Any, size: int
) -> BatchGradient:
    """Losses and gradients of X [n, T, inputs] with y, as `program`'s integers give them.

    A batch shorter than `size` is filled up, for which nothing has to be compiled anew.
    """
    filled = np.minimum(np.arange(max(size, len(X))), len(X) - 1)
    result = runner.run(X[filled], y[filled], program.artifact.coefficients)
    flags = (result.forward_flags | result.echo_flags)[: len(X)]
    gradients = program.coefficient_gradients(result, X.shape[1])
    return BatchGradient(
        _losses(program, result.outputs[: len(X)], y),
        flags & FAILURES != 0,
        flags & Flag.SATURATED != 0,
        {name: value[: len(X)] for name, value in gradients.items()},
        program,
    )


def _losses(program: CompiledProgram, outputs: Any, y: Any) -> Floats:
    """`loss.loss` of integer logits [n, outputs] or predictions [n, T', outputs]."""
    values = to_real(outputs, output_type(program.ir).q)
    if not is_classification(program.ir):
        return np.mean((values - y) ** 2, axis=(1, 2))
    own = np.take_along_axis(values, y[:, None], -1)
    others = np.arange(values.shape[-1]) != y[:, None]
    margins = np.where(others, values - own, -np.inf)
    return np.logaddexp(0.0, np.logaddexp.reduce(margins, axis=-1))


def fixed_value_and_grad(
    program: CompiledProgram,
) -> Callable[[HSSM, Any, Any], tuple[jax.Array, HSSM]]:
    """(model, X, y) -> (mean loss, mean gradient) of a batch, by the program's integers.

    X [n, T, inputs], y [n] or targets [n, T', outputs]; the gradient is like `bptt_gradient`'s, on
    the raw parameters of `model`, whose weights are rounded to the program's formats.

    The function raises CoefficientRange or InputRange (ValueErrors) for what the formats cannot
    hold, and Overflowed where the fabric would have overflowed.
    """
    runner = BatchRunner(program.artifact)

    def value_and_grad(model: HSSM, X: Any, y: Any) -> tuple[jax.Array, HSSM]:
        X, y = _batch(model, X, y)
        found = batch_gradient(program.with_parameters(model), runner, X, y, len(X))
        lost = np.flatnonzero(found.overflowed)
        if len(lost):
            raise Overflowed(
                f"the fabric would have overflowed on {len(lost)} of {len(X)} sequences "
                f"({', '.join(map(str, lost))}), so their numbers mean nothing; compile with "
                "samples that cover their range, or with more margin"
            )
        return found.mean()

    return value_and_grad


def _batch(model: HSSM, X: Any, y: Any) -> tuple[Floats, NDArray[Any]]:
    X, y = np.asarray(X, np.float64), np.asarray(y)
    check_samples(model, X, y)
    return X, y if model.task == "classification" else y.astype(np.float64)


def calibration_set(samples: Floats, targets: Floats | None) -> NDArray[np.int64]:
    """Which of samples [n, T, inputs] calibrate formats: spread evenly, and those that reach
    farthest, in inputs and in targets."""
    spread = np.linspace(0, len(samples) - 1, min(CALIBRATION, len(samples))).astype(np.int64)
    farthest = [
        np.abs(values).reshape(len(values), -1).max(1).argmax()
        for values in (samples, targets)
        if values is not None
    ]
    return np.unique(np.concatenate([spread, farthest]))


class Clamped(ArithmeticError):
    """Signals were clamped to their words: a gradient of lower quality, but a gradient."""


@dataclass(frozen=True, eq=False)
class Trouble:
    """What a program's formats do not hold, and which sequences of the batch [n] bool show it."""

    error: Exception
    sequences: NDArray[np.bool_]


class FixedGradient:
    """A trainer's source of gradients (`GradientSource`): the fabric's integers.

    model, samples [n, T, inputs], labels [n] (or targets [n, T', outputs]): where training starts,
    and the training split; up to some 64 of its sequences calibrate the formats, always the same.
    `margin` and `weight_margin` are the spare bits of signals and of coefficients.

    A weight that leaves its format, an input outside the calibrated range, an overflow or clamped
    signals make the program be calibrated again, on the present weights, and the batch is tried
    once more; what overflows even then is left out of the mean and counted. Without `recalibrate`
    overflows are left out at once, and the first two are errors (CoefficientRange, InputRange:
    ValueErrors).

    Raises ValueError, in one sentence, for a model, samples or sizes that do not go together.
    """

    def __init__(
        self,
        model: HSSM,
        samples: Any,
        labels: Any,
        *,
        target: str = "ecp5-85k",
        lanes: int = 4,
        margin: int = 2,
        weight_margin: int = 1,
        recalibrate: bool = True,
    ):
        check(model)
        samples, labels = _batch(model, samples, labels)
        chosen = calibration_set(samples, labels if model.task == "regression" else None)
        self._samples, self._labels = samples[chosen], labels[chosen]
        self._start, self._lanes, self._recalibrate = model, lanes, recalibrate
        self._target = target_named(target)
        self._widths = Widths(
            self._target.word, self._target.narrow, margin=margin, weight_margin=weight_margin
        )
        self._program: CompiledProgram | None = None
        self._runner: BatchRunner | None = None
        self._size = 0  # of the largest batch so far
        # Share of a batch that was clamped even right after calibration, which is then no reason
        # to calibrate again.
        self._clamped = 0.0

    @property
    def program(self) -> CompiledProgram:
        """The program whose formats are in use; its parameters are those it was calibrated for."""
        if self._program is None:
            self._use(
                compile(
                    self._start,
                    self._samples,
                    self._labels,
                    self._target.name,
                    self._lanes,
                    widths=self._widths,
                )
            )
        assert self._program is not None
        return self._program

    def _use(self, program: CompiledProgram) -> None:
        self._program, self._runner = program, BatchRunner(program.artifact)

    def __call__(self, model: HSSM, X: Any, y: Any) -> StepGradient:
        """The gradient of the batch X [n, T, inputs] with y, on `model`'s raw parameters."""
        X, y = _batch(model, X, y)
        self._size = max(self._size, len(X))
        notes: list[str] = []
        found, trouble = self._attempt(model, X, y)
        # Two may come one after the other: a weight too large hides inputs and overflows.
        for _ in range(2):
            if trouble is not None and self._recalibrate:
                notes.append(self._calibrate(model, trouble, X, y))
                self._clamped = 0.0
                found, trouble = self._attempt(model, X, y)
        if found is not None and notes:
            self._clamped = float(found.saturated.mean())
        if found is None:
            assert trouble is not None
            raise trouble.error
        return StepGradient(*found.mean(), int(found.overflowed.sum()), tuple(notes))

    def _attempt(
        self, model: HSSM, X: Floats, y: Any
    ) -> tuple[BatchGradient | None, Trouble | None]:
        """The batch's gradient, where the formats hold it, and what they do not hold."""
        nothing = np.zeros(len(X), bool)
        try:
            program = self.program.with_parameters(model)
            assert self._runner is not None
            found = batch_gradient(program, self._runner, X, y, self._size)
        except CoefficientRange as error:
            return None, Trouble(error, nothing)
        except InputRange as error:
            return None, Trouble(error, ~nothing)
        if found.overflowed.any():
            lost = found.overflowed
            error = Overflowed(f"{lost.sum()} of {len(X)} sequences overflowed")
            return found, Trouble(error, lost)
        if found.saturated.mean() > self._clamped:
            clamped = found.saturated
            error = Clamped(f"signals of {clamped.sum()} of {len(X)} sequences were clamped")
            return found, Trouble(error, clamped)
        return found, None

    def _calibrate(self, model: HSSM, trouble: Trouble, X: Floats, y: Any) -> str:
        """Calibrate for `model`, on the sequences in trouble too; what happened, in one line."""
        what = str(trouble.error).partition(";")[0]  # without the advice for users of `compile`
        samples = np.concatenate([self._samples, X[trouble.sequences]])
        labels = np.concatenate([self._labels, y[trouble.sequences]])
        try:
            self._use(calibrated_again(self.program, model, samples, labels, self._widths))
        except Runaway as error:
            if not isinstance(trouble.error, Overflowed | Clamped):
                raise
            return f"{what}, and formats for them cannot be found: {error}"
        return f"calibrated again: {what}"

    def state(self) -> bytes:
        """The program whose formats are in use, as `save` would write it, after one number."""
        return struct.pack("<d", self._clamped) + program_bytes(self.program)

    def restore(self, state: bytes) -> None:
        """Go on with the formats of `state`. Raises CorruptProgram (a ValueError) for other
        bytes."""
        where = "the saved state of training in fixed point"
        program = program_from(state[8:], self._start, where)
        self._use(program)
        (self._clamped,) = struct.unpack("<d", state[:8])
