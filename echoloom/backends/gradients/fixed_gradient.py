"""Training on the fabric's own numbers: float master weights, integer forward passes and echoes.

Before every batch the weights are rounded into the compiled program's formats; the integers of
forward pass and echo come from the program, and their sums are chained back to the raw parameters
in floats. Weights and signals grow while a model learns, so a program may have to be calibrated
again: on a fabric that is another image for the same engine.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, replace
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from echoloom.backends.compile.archive import packed, unpacked
from echoloom.backends.compile.arguments import checked_widths, engine_sizes, target_named
from echoloom.backends.compile.coefficients import CoefficientRange
from echoloom.backends.compile.pipeline import calibrated_again, compile
from echoloom.backends.compile.program import CompiledProgram
from echoloom.backends.gradients.batch_gradient import BatchGradient, batch_gradient, checked_batch
from echoloom.backends.run.excess import Overflowed, said
from echoloom.backends.run.integers import Floats, InputRange
from echoloom.backends.run.run_jax import JaxRunner
from echoloom.frontend.data.arrays import whole_number
from echoloom.frontend.models.check import check
from echoloom.frontend.models.hssm import HSSM
from echoloom.frontend.training.source import StepGradient
from echoloom.ir.flags import Flag
from echoloom.ir.passes.recorder import Runaway

CALIBRATION = 64  # sequences that formats are calibrated on, at most
# An input channel this many times smaller than the largest may have a format of its own.
SMALL_CHANNEL = 8.0
STATE = struct.Struct("<dq")  # what a state begins with


def calibration_set(samples: Floats, targets: Floats | None) -> NDArray[np.int64]:
    """Which of samples [n, T, inputs] calibrate formats: spread evenly, and those that reach
    farthest, in inputs, in targets and in the small channels of inputs."""
    spread = np.linspace(0, len(samples) - 1, min(CALIBRATION, len(samples))).astype(np.int64)
    farthest = [
        np.abs(values).reshape(len(values), -1).max(1).argmax()
        for values in (samples, targets)
        if values is not None
    ]
    peaks = np.abs(samples).max(1)
    small = peaks.max(0) < peaks.max() / SMALL_CHANNEL
    return np.unique(np.concatenate([spread, farthest, peaks[:, small].argmax(0)]))


class Clamped(ArithmeticError):
    """Signals were clamped to their words: a gradient of lower quality, but a gradient."""


class NudgesOutdated(Exception):
    """Nudge sizes were found so long ago that they may not suit the model any more."""


@dataclass(frozen=True, eq=False)
class NotHeld:
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
    ValueErrors). The nudges of a curved unit (one with a force that is not linear in q) suit the
    size of the back signals, which grow as a model learns: it is calibrated again after every
    `refresh` batches at the latest.

    Raises ValueError, in one sentence, for a model, samples or sizes that do not go together.
    """

    def __init__(
        self,
        model: HSSM,
        samples: Any,
        labels: Any,
        *,
        target: str = "ecp5-85k",
        lanes: SupportsIndex = 4,
        margin: int = 2,
        weight_margin: int = 1,
        recalibrate: bool = True,
        refresh: int = 25,
    ):
        check(model)
        lanes = whole_number("FixedGradient: lanes", lanes)
        margin = whole_number("FixedGradient: margin", margin)
        weight_margin = whole_number("FixedGradient: weight_margin", weight_margin)
        refresh = whole_number("FixedGradient: refresh", refresh)
        samples, labels = checked_batch(model, samples, labels)
        chosen = calibration_set(samples, labels if model.task == "regression" else None)
        self._samples, self._labels = samples[chosen], labels[chosen]
        self._lanes, _, _ = engine_sizes(lanes, None, slots=4)
        self._start, self._recalibrate = model, recalibrate
        self._target = target_named(target)
        self._widths = checked_widths(
            replace(self._target.widths, margin=margin, weight_margin=weight_margin)
        )
        self._program: CompiledProgram | None = None
        self._runner: JaxRunner | None = None
        self._size = 0  # of the largest batch so far
        # Share of a batch that was clamped even right after calibration, which is then no reason
        # to calibrate again.
        self._clamped = 0.0
        self._refresh, self._age = refresh, 0  # the age in batches since formats were found

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
        self._program, self._runner = program, JaxRunner(program.artifact)

    def __call__(self, model: HSSM, X: Any, y: Any) -> StepGradient:
        """The gradient of the batch X [n, T, inputs] with y, on `model`'s raw parameters."""
        X, y = checked_batch(model, X, y)
        self._size = max(self._size, len(X))
        notes: list[str] = []
        self._age += 1
        found, not_held = self._attempt(model, X, y)
        if (
            not_held is None
            and self._age > self._refresh
            and any(block.curved for block in self.program.folded.graphs.blocks)
        ):
            not_held = NotHeld(
                NudgesOutdated(f"{self._refresh} batches have passed"), np.zeros(len(X), bool)
            )
        # Two may come one after the other: a weight too large hides inputs and overflows. What is
        # still there right after it was calibrated for stays.
        met: set[type] = set()
        for _ in range(2):
            if not_held is not None and self._recalibrate and type(not_held.error) not in met:
                met.add(type(not_held.error))
                notes.append(self._calibrate(model, not_held, X, y))
                self._clamped, self._age = 0.0, 1
                found, not_held = self._attempt(model, X, y)
        if found is not None and notes:
            self._clamped = float(found.saturated.mean())
        if found is None:
            assert not_held is not None
            raise not_held.error
        return StepGradient(*found.mean(), int(found.overflowed.sum()), tuple(notes))

    def _attempt(
        self, model: HSSM, X: Floats, y: Any
    ) -> tuple[BatchGradient | None, NotHeld | None]:
        """The batch's gradient, where the formats hold it, and what they do not hold."""
        nothing = np.zeros(len(X), bool)
        try:
            program = self.program.with_parameters(model)
            assert self._runner is not None
            found = batch_gradient(program, self._runner, X, y, self._size)
        except CoefficientRange as error:
            return None, NotHeld(error, nothing)
        except InputRange as error:
            return None, NotHeld(error, ~nothing)
        if found.overflowed.any():
            lost = found.overflowed
            kept = found.first(X, y)
            error = Overflowed(f"{lost.sum()} of {len(X)} sequences overflowed: {said(kept)}", kept)
            return found, NotHeld(error, lost)
        if found.saturated.mean() > self._clamped:
            clamped = found.saturated
            kept = found.first(X, y, Flag.SATURATED)
            error = Clamped(
                f"signals of {clamped.sum()} of {len(X)} sequences were clamped: {said(kept)}"
            )
            return found, NotHeld(error, clamped)
        return found, None

    def _calibrate(self, model: HSSM, not_held: NotHeld, X: Floats, y: Any) -> str:
        """Calibrate for `model`, on the sequences not held too; what happened, in one line."""
        what = str(not_held.error).partition(";")[0]  # without the advice for users of `compile`
        samples = np.concatenate([self._samples, X[not_held.sequences]])
        labels = np.concatenate([self._labels, y[not_held.sequences]])
        try:
            self._use(calibrated_again(self.program, model, samples, labels, self._widths))
        except Runaway as error:
            if not isinstance(not_held.error, Overflowed | Clamped | NudgesOutdated):
                raise
            return f"{what}, and formats for them cannot be found: {error}"
        return f"calibrated again: {what}"

    def state(self) -> bytes:
        """The program whose formats are in use, as `save` would write it, after two numbers."""
        return STATE.pack(self._clamped, self._age) + packed(self.program)

    def restore(self, state: bytes) -> None:
        """Go on with the formats of `state`. Raises CorruptProgram (a ValueError) for other
        bytes."""
        where = "the saved state of training in fixed point"
        found = unpacked(io.BytesIO(state[STATE.size :]), where, model=self._start)
        folding = None if self._program is None else self._program.folded
        self._use(CompiledProgram(**vars(found), folding=folding))
        self._clamped, self._age = STATE.unpack(state[: STATE.size])
