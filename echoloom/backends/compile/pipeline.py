"""`el.compile`: from a model and samples to a program on an engine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from echoloom.backends.compile.arguments import (
    check_output_step,
    checked_widths,
    engine_sizes,
    target_named,
)
from echoloom.backends.compile.blame import users_lines
from echoloom.backends.compile.lost import warn_of_lost
from echoloom.backends.compile.nudges import choose_nudges
from echoloom.backends.compile.program import CompiledProgram
from echoloom.backends.compile.rounding import insist_on_weights
from echoloom.backends.compile.stages import integers_at, traced
from echoloom.backends.compile.unfit import sentences
from echoloom.backends.run.integers import Floats
from echoloom.backends.run.levels import Artifact, IntegerProgram
from echoloom.frontend.data.arrays import real_array
from echoloom.frontend.data.samples import check_samples
from echoloom.frontend.models.check import check
from echoloom.frontend.models.hssm import HSSM
from echoloom.ir.contract import EngineConfig, Timing
from echoloom.ir.passes.image import place
from echoloom.ir.passes.quantise import cuts
from echoloom.ir.widths import Widths


def compile(
    model: HSSM,
    samples: Any,
    labels: Any = None,
    target: str = "ecp5-85k",
    lanes: SupportsIndex = 16,
    drains: SupportsIndex | None = None,
    slots: SupportsIndex = EngineConfig.slots,
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
    widths = device.widths if widths is None else widths
    if weight_margin is not None:
        widths = replace(widths, weight_margin=weight_margin)
    widths = checked_widths(widths)
    check(model)
    check_output_step(model.output_step)
    samples = real_array("samples", samples).astype(np.float64)
    _, checked = check_samples(
        model, samples, _stand_in(model, samples) if labels is None else labels
    )
    source = traced(model, samples, _targets(model, None if labels is None else checked), widths)
    with sentences(model), users_lines(model, source.folding):
        nudges = choose_nudges(source)
        integer = integers_at(source, nudges.epsilons)
        insist_on_weights(integer, source, nudges.epsilons)
        artifact = _placed(integer, widths, *sizes)
    warn_of_lost(nudges, source.folding, model)
    return CompiledProgram(
        model, artifact, device, nudges.epsilons, _peaks(samples), source.folding
    )


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
    source = traced(model, samples, _targets(model, labels), widths, program.folded)
    config = program.artifact.mapped.config
    with sentences(model), users_lines(model, source.folding):
        nudges = choose_nudges(source)
        integer = integers_at(source, nudges.epsilons, cuts(program.ir, widths))
        artifact = _placed(integer, widths, config.lanes, config.drains, config.slots)
    return replace(
        program, model=model, artifact=artifact, epsilons=nudges.epsilons, folding=source.folding,
        peaks=_peaks(samples),
    )  # fmt: skip


def _peaks(samples: Floats) -> tuple[float, ...]:
    """Of few digits, so that a file's text of them has none that could change unseen."""
    return tuple(float(f"{peak:.6g}") for peak in np.abs(samples).max(axis=(0, 1)))


def _targets(model: HSSM, labels: NDArray[Any] | None) -> Floats | None:
    if labels is None or model.task == "classification":
        return None
    return labels.astype(np.float64)


def _placed(
    integer: IntegerProgram, widths: Widths, lanes: int, drains: int, slots: int
) -> Artifact:
    config = EngineConfig.of(widths, lanes, drains, slots)
    mapped = place(integer.program, integer.tables, config, Timing())
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
