"""Gradients of the integers against float64 backpropagation: python benchmarks/quality.py

For every data set and choice of word lengths: the worst tensor over sequences of the test split,
each with the label that the model finds least likely, so that there is a gradient to compare. The
last column compares with the gradient at the rounded weights: what is left without their rounding.

BasicMotions comes inside the package aeon, with the demo's model. SelfRegulationSCP1 and Heartbeat
(UEA archive) are measured where --data has them, as NAME/NAME.npz with X_train and X_test
[n, T, channels], y_train and y_test [n], and `div`, by which X is to be divided; their models
have the paper's size and are trained for a few epochs first.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import output
from quality_cases import Case, Tensors, basic_motions, exact_gradients, tensors, uea

import echoloom as el
from echoloom.backends.compile.coefficients import coefficient_words
from echoloom.backends.compile.figures import TensorQuality, worst_of
from echoloom.backends.compile.stages import probed, ranges, real_program, traced
from echoloom.backends.compile.targets import TARGETS
from echoloom.backends.run.levels import Artifact, numpy_run
from echoloom.ir.contract import EngineConfig, Timing
from echoloom.ir.host import RunResult
from echoloom.ir.passes.calibrate import Ranges
from echoloom.ir.passes.image import place
from echoloom.ir.passes.quantise import quantise
from echoloom.ir.program import Program
from echoloom.ir.tables import program_tables
from echoloom.ir.widths import Widths

UEA = ("SelfRegulationSCP1", "Heartbeat")
VARIANTS = (
    Widths(),
    Widths(margin=1),
    Widths(margin=0),
    Widths(word=30),
    Widths(word=26),
    Widths(word=24),
    Widths(word=22),
    Widths(word=20),
    Widths(narrow=16),
    Widths(narrow=20),
)


@dataclass(frozen=True, eq=False)
class Calibrated:
    """`el.compile` up to the choice of word lengths, which is all that the variants differ in."""

    case: Case
    program: Program
    values: dict[str, np.ndarray]
    ranges: Ranges
    epsilons: tuple[float, ...]

    def compile(self, widths: Widths) -> el.CompiledProgram:
        """The rest of `el.compile`."""
        integers = quantise(self.program, self.values, self.ranges, widths)
        tables = program_tables(integers, widths.narrow)
        mapped = place(integers, tables, EngineConfig.of(widths, 16, 4, 4), Timing())
        artifact = Artifact(integers, coefficient_words(integers, self.values), tables, 1, mapped)
        return el.CompiledProgram(self.case.model, artifact, TARGETS["ecp5-85k"], self.epsilons)


def calibrate(case: Case) -> Calibrated:
    source = traced(case.model, case.calibration)
    _, epsilons = probed(source)
    real = real_program(source, epsilons)
    return Calibrated(case, real.program, real.coefficients, ranges(source, real), epsilons)


def sequence(result: RunResult, index: int) -> RunResult:
    """One sequence of a batch's result."""
    values: dict[str, Any] = {}
    for item in fields(RunResult):
        value = getattr(result, item.name)
        one = {n: v[index] for n, v in value.items()} if isinstance(value, dict) else value[index]
        values[item.name] = one
    return RunResult(**values)


def judge(found: Sequence[Tensors], exact: Sequence[Tensors]) -> dict[str, TensorQuality]:
    """Worst figures over sequences, by tensor."""
    worst: dict[str, list[TensorQuality]] = {}
    for own, wanted in zip(found, exact, strict=True):
        for name, value in own.items():
            norms = np.linalg.norm(value), np.linalg.norm(wanted[name])
            cosine = float(value @ wanted[name] / (norms[0] * norms[1]))
            worst.setdefault(name, []).append(TensorQuality(cosine, float(norms[0] / norms[1])))
    return {name: worst_of(values) for name, values in worst.items()}


def row(calibrated: Calibrated, widths: Widths, exact: Sequence[Tensors]) -> dict[str, Any]:
    """One line of the table. "Clamped" counts sequences with a saturated feed-forward word.

    Raises ArithmeticError for an overflow, which margins are there to prevent.
    """
    case, program = calibrated.case, calibrated.compile(widths)
    batch = numpy_run(program.artifact, case.xs, case.labels)
    if batch.overflow:
        raise ArithmeticError(f"{case.name} overflowed with {widths}")
    results = [sequence(batch, index) for index in range(len(exact))]
    length = case.xs.shape[1]
    found = [tensors(program.raw_gradient(result, length)) for result in results]
    worst = judge(found, exact)
    cosine = min(worst, key=lambda name: worst[name].cosine)
    ratio = max(worst, key=lambda name: abs(worst[name].norm_ratio - 1.0))
    rounded = worst_of(judge(found, exact_gradients(case, program)))
    return {
        "data set": case.name,
        "word": widths.word,
        "narrow": widths.narrow,
        "margin": widths.margin,
        "worst cosine": f"{worst[cosine].cosine:.6f} {cosine}",
        "worst norm ratio": f"{worst[ratio].norm_ratio:.4f} {ratio}",
        "clamped": sum(result.saturated for result in results),
        "at rounded weights": f"{rounded.cosine:.6f} {rounded.norm_ratio:.4f}",
    }


def main() -> None:
    parser = output.arguments((__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of .npz")
    parser.add_argument("--sequences", type=int, default=8, help="test sequences a data set")
    parser.add_argument("--epochs", type=int, default=3, help="of SelfRegulationSCP1, Heartbeat")
    options = parser.parse_args()
    cases = [basic_motions(options.sequences)]
    for name in UEA:
        if (options.data / name / f"{name}.npz").is_file():
            output.progress.print(f"training a model for {name}")
            cases.append(uea(options.data, name, options.sequences, options.epochs))
        else:
            output.progress.print(f"{name} left out: it is not in {options.data}")
    table: list[dict[str, Any]] = []
    for case in cases:
        output.progress.print(f"{case.name}: float test accuracy {case.accuracy:.1%}")
        exact, calibrated = exact_gradients(case), calibrate(case)
        for widths in VARIANTS:
            began = time.monotonic()
            table.append(row(calibrated, widths, exact))
            sizes = f"word {widths.word}, narrow {widths.narrow}, margin {widths.margin}"
            output.progress.print(f"  {sizes}: {time.monotonic() - began:.0f} s")
    title = f"worst tensor over {options.sequences} sequences"
    output.show(title, table, ("echoloom", "jax", "numpy", "aeon"), options.json)


if __name__ == "__main__":
    main()
