"""`el.compile` and what it returns: a model on an engine, with its numbers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, SupportsIndex

import equinox as eqx
import jax
import numpy as np
from numpy.typing import NDArray

from echoloom.backends.compile.arguments import (
    check_output_step,
    checked_widths,
    engine_sizes,
    target_named,
)
from echoloom.backends.compile.blame import users_lines
from echoloom.backends.compile.calibration import CoefficientRange as CoefficientRange
from echoloom.backends.compile.calibration import Material, coefficient_words
from echoloom.backends.compile.lost import warn_of_lost
from echoloom.backends.compile.nudges import calibrate
from echoloom.backends.compile.rounding import Rounding, insist_on_weights, worst_roundings
from echoloom.backends.compile.targets import Target
from echoloom.backends.compile.unfit import sentences
from echoloom.backends.gradients.raw_gradients import raw_gradient
from echoloom.backends.run.integers import (
    Floats,
    RunResult,
    is_classification,
    output_type,
    to_real,
)
from echoloom.backends.run.levels import Artifact, IntegerProgram, numpy_run
from echoloom.frontend.data.arrays import real_array
from echoloom.frontend.data.samples import check_samples, host_sequence
from echoloom.frontend.models.check import check
from echoloom.frontend.models.hssm import HSSM
from echoloom.frontend.models.stack import Folding, folded_stack
from echoloom.ir.contract import Image, Timing
from echoloom.ir.passes.formats_plan import Widths
from echoloom.ir.passes.hold import NUMBER, addends
from echoloom.ir.passes.image import image, place
from echoloom.ir.program import Accumulator, Program
from echoloom.ir.sections import Section


class Overflowed(ArithmeticError):
    """The fabric would have raised its overflow flag: the numbers mean nothing."""


@dataclass(frozen=True, eq=False)
class CompiledProgram:
    """A model compiled for an engine. All numbers it gives are those of the fabric."""

    model: HSSM
    artifact: Artifact
    target: Target
    epsilons: tuple[float, ...]
    folding: Folding | None = field(default=None, repr=False)
    # The largest magnitude of every input channel on the samples; () in files of old releases.
    peaks: tuple[float, ...] = ()

    @cached_property
    def folded(self) -> Folding:
        """How raw parameters become coefficients; a loaded program traces its model for it."""
        return folded_stack(self.model) if self.folding is None else self.folding

    @property
    def ir(self) -> Program:
        """The integer program; str() of it is its text."""
        return self.artifact.program

    def __str__(self) -> str:
        return str(self.ir)

    def __getstate__(self) -> dict[str, Any]:
        """What `pickle` and `copy` take along; the folding holds traced code and is made anew."""
        return {**{f.name: getattr(self, f.name) for f in fields(self)}, "folding": None}

    @cached_property
    def image(self) -> Image:
        """Memory contents to load into the engine."""
        return image(self.artifact.mapped, self.artifact.coefficients)

    @cached_property
    def rounding(self) -> dict[str, Rounding]:
        """Which "input channel", "row" and "column" of a weight matrix (or element of a vector)
        rounding takes most of, and how much, in parts of its own largest magnitude."""
        return worst_roundings(self.artifact, self.coefficient_values(self.model), self.peaks)

    def run(self, x: Any, label: Any = None) -> RunResult:
        """All integers of x [T, inputs]; with a label or targets, of the echo too.

        ValueError for malformed input, InputRange (a ValueError) outside the calibrated range.
        """
        return numpy_run(self.artifact, *host_sequence(self.model, x, label))

    def predict(self, x: Any) -> Floats:
        """float64 view of the integer outputs. Overflowed when an overflow flag was raised."""
        result = self.run(x)
        self._insist(result)
        return to_real(result.outputs, output_type(self.ir).q)

    def gradient(self, x: Any, label: Any) -> HSSM:
        """float64 gradient of the loss of one sequence, on the raw parameters.

        A pytree like `bptt_gradient`'s. Overflowed when an overflow flag was raised.
        """
        result = self.run(x, label)
        self._insist(result)
        return self.raw_gradient(result, len(x))

    def coefficient_gradients(self, result: RunResult, length: int) -> dict[str, Floats]:
        """float64 gradients of the folded coefficients, by name, from a run's integers.

        From a batch's integers every sequence's own, with a first axis [n].
        """
        sums = {a.name: to_real(result.gradients[a.name], a.type.q)
                for a in self.ir.accumulators if a.target}  # fmt: skip
        return self.gradients_of_sums(sums, result.exponent, result.outputs.shape, length)

    def gradients_of_sums(
        self, sums: Mapping[str, Floats], exponent: Any, outputs: tuple[int, ...], length: int
    ) -> dict[str, Floats]:
        """`coefficient_gradients` from the accumulators' real values; `outputs` is the shape."""
        echo = {name for name, _ in self.ir.body(Section.ECHO_STEP).accumulates}
        common = 2.0 ** np.asarray(exponent, np.float64)
        if is_classification(self.ir):
            per_step = common / length
        else:
            common = common * 2.0 / (outputs[-1] * outputs[-2])
            per_step = common
        gradients: dict[str, Floats] = {}
        for accumulator in self.ir.accumulators:
            if accumulator.target:
                value = self._scaled(accumulator, sums[accumulator.name])
                factor = per_step if accumulator.name in echo else common
                value = value * factor.reshape(factor.shape + (1,) * (value.ndim - factor.ndim))
                gradients[accumulator.target] = gradients.get(accumulator.target, 0.0) + value
        return gradients

    def _scaled(self, accumulator: Accumulator, total: Floats) -> Floats:
        value = total * accumulator.scale
        if accumulator.divisor:
            value = value / self.coefficient(accumulator.divisor)
        return value

    def coefficient(self, name: str) -> Floats:
        """float64 view of a coefficient as the fabric holds it."""
        declared = next(d for d in self.ir.coefficients if d.name == name)
        return to_real(self.artifact.coefficients[name], declared.type.q)

    def raw_gradient(self, result: RunResult, length: int) -> HSSM:
        """Gradients of a run chained from the folded coefficients back to the raw parameters."""
        return raw_gradient(self.folded, self.model, self.coefficient_gradients(result, length))

    def coefficient_values(self, model: HSSM) -> dict[str, Floats]:
        """float64 coefficients of `model` by the program's names, before they are rounded."""
        names = {d.name for d in self.ir.coefficients}
        values = self.folded.values(model)
        values |= addends(names, values)
        return values | {n: self.coefficient(n) for n in names if n.startswith(NUMBER)}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to one file, whole or not at all; `echoloom.load` reads it."""
        from echoloom.backends.compile.archive import save

        save(self, path)

    def _insist(self, result: RunResult) -> None:
        if result.overflow:
            raise Overflowed(
                "the state path or an accumulator overflowed on this sequence, so its numbers mean "
                "nothing; compile with samples that cover its range, or with more margin"
            )

    def with_parameters(self, model: HSSM) -> CompiledProgram:
        """The same formats and schedule with another model's parameters.

        CoefficientRange names the first coefficient that its format cannot hold; ValueError for a
        model that is not of this program's sizes.
        """
        check(model)
        _check_alike(model, self.model)
        with users_lines(model, self.folded):
            words = coefficient_words(self.ir, self.coefficient_values(model))
        artifact = replace(self.artifact, coefficients=words)
        return replace(self, model=model, artifact=artifact, folding=self.folded)


ALIKE = (
    "inputs", "outputs", "hidden", "state", "complex", "task", "output_step", "substeps",
    "integrator", "activation", "classes",
)  # fmt: skip


def _check_alike(model: HSSM, compiled: HSSM) -> None:
    """ValueError unless `model` differs from the compiled one in its numbers only."""
    for name in ALIKE:
        new, old = getattr(model, name), getattr(compiled, name)
        if new != old:
            raise ValueError(
                f"the new model has {name} = {new}, but this program was compiled for {old}; "
                "compile the new model instead of reusing formats"
            )
    if _fixed_parts(model) != _fixed_parts(compiled):
        raise ValueError(
            "the new model has other blocks or units than the one that this program was compiled "
            "for; compile the new model instead of reusing formats"
        )


def _fixed_parts(model: HSSM) -> tuple[Any, list[Any]]:
    """What no parameter is: the structure, and leaves such as a module's activation."""
    return jax.tree.structure(model), jax.tree.leaves(eqx.filter(model, eqx.is_array, inverse=True))


def compile(
    model: HSSM,
    samples: Any,
    labels: Any = None,
    target: str = "ecp5-85k",
    lanes: SupportsIndex = 16,
    drains: SupportsIndex | None = None,
    slots: SupportsIndex = 4,
    widths: Widths | None = None,
    weight_margin: SupportsIndex | None = None,
) -> CompiledProgram:
    """Compile `model` for an engine of `lanes` multipliers.

    samples [n, T, inputs] is real data: every format comes from what the model does on it, with
    `widths.margin` bits to spare. labels [n] or targets [n, T', outputs] calibrate the back
    signals; without targets the largest error |tanh - target| <= 2 is assumed. `drains` results
    are requantised per cycle (default lanes / 4), `slots` row groups wait for them.
    `weight_margin` bits to spare for every coefficient (default those of `widths`, 0) let
    parameters grow 2**weight_margin times before `with_parameters` refuses them.

    ValueError in one sentence for bad samples, labels, parameters, sizes or target, for a model
    that needs more memory than an engine of these sizes can have, and for a row or column of
    weights that its matrix's format leaves so little of that the outputs move.

    Warns (Unresolved) of parameters of curved units whose gradients no word of the target resolves
    on these samples.
    """
    device = target_named(target)
    sizes = engine_sizes(lanes, drains, slots)
    widths = Widths(word=device.word, narrow=device.narrow) if widths is None else widths
    if weight_margin is not None:
        widths = replace(widths, weight_margin=weight_margin)
    widths = checked_widths(widths)
    check(model)
    check_output_step(model.output_step)
    samples = real_array("samples", samples).astype(np.float64)
    _, checked = check_samples(
        model, samples, _stand_in(model, samples) if labels is None else labels
    )
    targets = None if labels is None or model.task == "classification" else checked
    folding = folded_stack(model)
    material = Material(
        folding.graphs, folding.values(model), samples, _floats(targets), model.output_step, widths
    )
    with sentences(model), users_lines(model, folding):
        integer, nudges = calibrate(material)
        insist_on_weights(integer, material, nudges.epsilons)
        artifact = _placed(integer, widths, *sizes)
    warn_of_lost(nudges, folding, model)
    return CompiledProgram(model, artifact, device, nudges.epsilons, folding, _peaks(samples))


def calibrated_again(
    program: CompiledProgram,
    model: HSSM,
    samples: Floats,
    labels: NDArray[Any] | None,
    widths: Widths,
) -> CompiledProgram:
    """`program` with formats for `model`'s parameters on these samples: another image for the same
    engine.

    samples and labels are what `check_samples` gives, `widths` those that `program` was compiled
    with. Products keep the operand that is cut, so that only formats and nudge sizes change.
    Runaway (a ValueError) where the samples drive a state off.
    """
    check(model)
    folding = program.folded
    targets = None if model.task == "classification" else labels
    material = Material(
        folding.graphs, folding.values(model), samples, _floats(targets), model.output_step, widths
    )
    config = program.artifact.mapped.config
    with sentences(model), users_lines(model, folding):
        integer, nudges = calibrate(material, program.ir)
        artifact = _placed(integer, widths, config.lanes, config.drains, config.slots)
    return replace(
        program, model=model, artifact=artifact, epsilons=nudges.epsilons, folding=folding,
        peaks=_peaks(samples),
    )  # fmt: skip


def _peaks(samples: Floats) -> tuple[float, ...]:
    """Of few digits, so that a file's text of them has none that could change unseen."""
    return tuple(float(f"{peak:.6g}") for peak in np.abs(samples).max(axis=(0, 1)))


def _floats(targets: NDArray[Any] | None) -> Floats | None:
    return None if targets is None else targets.astype(np.float64)


def _placed(
    integer: IntegerProgram, widths: Widths, lanes: int, drains: int, slots: int
) -> Artifact:
    mapped = place(
        integer.program, integer.tables, lanes, drains, slots, widths.word, widths.narrow,
        widths.accumulator, Timing(),
    )  # fmt: skip
    return Artifact(
        integer.program, integer.coefficients, integer.tables, integer.output_step, mapped
    )


def _stand_in(model: HSSM, samples: NDArray[np.float64]) -> Any:
    """Labels that pass the sample check where the caller gave none."""
    count = len(samples) if samples.ndim else 0
    if model.task == "classification":
        return np.zeros(count, np.int64)
    steps = samples.shape[1] // model.output_step if samples.ndim == 3 else 0
    return np.zeros((count, steps, model.outputs))
