"""Gradients of the integers against float64 backpropagation: python benchmarks/quality.py

For every data set and choice of word lengths: the worst tensor over sequences of the test split,
each with the label that the model finds least likely, so that there is a gradient to compare.

BasicMotions comes inside the package aeon, with the demo's model. SelfRegulationSCP1 and Heartbeat
(UEA archive) are measured where --data has them, as NAME/NAME.npz with X_train and X_test
[n, T, channels], y_train and y_test [n], X perhaps as integers to be divided by `div`; their models
have the paper's size and are trained for a few epochs first.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import output

import echoloom as el
from echoloom.backends.compiled import coefficient_words
from echoloom.backends.integers import RunResult
from echoloom.backends.levels import Artifact, numpy_run
from echoloom.backends.quality import TensorQuality, float64, worst_of
from echoloom.backends.targets import TARGETS
from echoloom.cli.data import load_data
from echoloom.frontend.checkpoint import load_model
from echoloom.frontend.hssm import with_statistics
from echoloom.frontend.stack import coefficient_values, stack_graphs
from echoloom.frontend.trace import path_name
from echoloom.frontend.train import train
from echoloom.ir.engine import Timing
from echoloom.ir.passes.assemble import assemble
from echoloom.ir.passes.calibrate import PROBE, Ranges, choose_epsilons, measure
from echoloom.ir.passes.image import place
from echoloom.ir.passes.quantise import Widths, quantise
from echoloom.ir.passes.simplify import simplify
from echoloom.ir.program import Program
from echoloom.ir.tables import program_tables

CHECKPOINT = Path(__file__).parents[1] / "examples" / "basic_motions.eqx"
UEA = ("SelfRegulationSCP1", "Heartbeat")
VARIANTS = (
    Widths(),
    Widths(margin=1),
    Widths(margin=0),
    Widths(word=26),
    Widths(word=24),
    Widths(word=30),
    Widths(narrow=20),
)


@dataclass(frozen=True, eq=False)
class Case:
    """A trained model, the samples that calibrate it and those that judge it."""

    name: str
    model: el.HSSM
    calibration: np.ndarray  # [n, T, inputs]
    xs: np.ndarray  # [m, T, inputs]
    labels: np.ndarray  # [m]
    accuracy: float


def case(
    name: str, model: el.HSSM, X: np.ndarray, X_test: np.ndarray, y_test: np.ndarray, count: int
) -> Case:
    logits = np.asarray(jax.vmap(model)(jnp.asarray(X_test, model.encoder.weight.dtype)))
    accuracy = float(np.mean(logits.argmax(1) == y_test))
    index = np.linspace(0, len(X_test) - 1, count).astype(int)
    return Case(name, model, X, X_test[index], logits[index].argmin(1), accuracy)


def basic_motions(count: int) -> Case:
    data = load_data("BasicMotions", normalise=True)
    assert data.X_test is not None and data.y_test is not None
    model = load_model(CHECKPOINT)
    return case("BasicMotions", model, data.X, data.X_test, data.y_test, count)


def uea(folder: Path, name: str, count: int, epochs: int) -> Case:
    """A model of the paper's size after a few epochs, which suffice for a gradient to be wanted."""
    with np.load(folder / name / f"{name}.npz", allow_pickle=False) as stored:
        X, X_test = (stored[f"X_{part}"] / stored["div"] for part in ("train", "test"))
        y, y_test = stored["y_train"].astype(np.int64), stored["y_test"].astype(np.int64)
    mean, deviation = X.mean(axis=(0, 1)), X.std(axis=(0, 1))
    X, X_test = (X - mean) / deviation, (X_test - mean) / deviation
    classes = int(y.max()) + 1
    model = el.HSSM(X.shape[2], classes, hidden=64, state=16, blocks=2, key=jax.random.key(0))
    model = with_statistics(model, jnp.asarray(X[:64], model.encoder.weight.dtype))
    model = train(model, X, y, epochs=epochs, learning_rate=3e-3, batch=20, progress=True)
    return case(name, model, X[:: max(1, len(X) // 24)], X_test, y_test, count)


def calibrated(case: Case) -> tuple[Program, Ranges, tuple[float, ...]]:
    """The real program and its ranges: `el.compile` up to the choice of word lengths."""
    graphs, values = stack_graphs(case.model), coefficient_values(case.model)
    epsilons = (PROBE,) * len(case.model.blocks)
    program = simplify(assemble(graphs, epsilons))
    ranges = measure(program, values, case.calibration, None, 1)
    epsilons = choose_epsilons(ranges, epsilons)
    program = simplify(assemble(graphs, epsilons))
    return program, measure(program, values, case.calibration, None, 1), epsilons


def compiled(
    case: Case, program: Program, ranges: Ranges, epsilons: tuple[float, ...], widths: Widths
) -> el.CompiledProgram:
    """The rest of `el.compile`."""
    values = coefficient_values(case.model)
    integers = quantise(program, values, ranges, widths)
    tables = program_tables(integers, widths.narrow)
    sizes = (16, 4, 4, widths.word, widths.narrow, widths.accumulator)
    mapped = place(integers, tables, *sizes, Timing())
    words = coefficient_words(integers, values)
    artifact = Artifact(integers, words, tables, 1, mapped)
    return el.CompiledProgram(case.model, artifact, TARGETS["ecp5-85k"], epsilons)


def sequence(result: RunResult, index: int) -> RunResult:
    """One sequence of a batch's result."""
    values: dict[str, Any] = {}
    for item in fields(RunResult):
        value = getattr(result, item.name)
        one = {n: v[index] for n, v in value.items()} if isinstance(value, dict) else value[index]
        values[item.name] = one
    return RunResult(**values)


def tensors(gradient: el.HSSM) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_flatten_with_path(gradient)[0]
    return {path_name(path): np.ravel(np.asarray(leaf, np.float64)) for path, leaf in leaves}


def quality(
    program: el.CompiledProgram, case: Case, exact: Sequence[dict[str, np.ndarray]]
) -> tuple[dict[str, TensorQuality], int, int]:
    """Worst figures by tensor; sequences with a clamped word; sequences refused for an overflow."""
    batch = numpy_run(program.artifact, case.xs, case.labels)
    found: dict[str, list[TensorQuality]] = {}
    refused = saturated = 0
    for index, wanted in enumerate(exact):
        result = sequence(batch, index)
        saturated += result.saturated
        if result.overflow:
            refused += 1
            continue
        length = case.xs.shape[1]
        for name, value in tensors(program.raw_gradient(result, length)).items():
            norms = np.linalg.norm(value), np.linalg.norm(wanted[name])
            cosine = float(value @ wanted[name] / (norms[0] * norms[1]))
            ratio = float(norms[0] / norms[1])
            found.setdefault(name, []).append(TensorQuality(cosine, ratio))
    return {name: worst_of(values) for name, values in found.items()}, saturated, refused


def rows(case: Case) -> list[dict[str, Any]]:
    with jax.enable_x64(True):
        model = float64(case.model)
        exact = [
            tensors(el.bptt_gradient(model, jnp.asarray(x), int(label)))
            for x, label in zip(case.xs, case.labels, strict=True)
        ]
    program, ranges, epsilons = calibrated(case)
    found = []
    for widths in VARIANTS:
        began = time.monotonic()
        worst, saturated, refused = quality(
            compiled(case, program, ranges, epsilons, widths), case, exact
        )
        cosine = min(worst, key=lambda name: worst[name].cosine)
        ratio = max(worst, key=lambda name: abs(worst[name].norm_ratio - 1.0))
        found.append(
            {
                "data set": case.name,
                "word": widths.word,
                "narrow": widths.narrow,
                "margin": widths.margin,
                "cosine": f"{worst[cosine].cosine:.6f}",
                "of": cosine,
                "norm ratio": f"{worst[ratio].norm_ratio:.4f}",
                "of ": ratio,
                "saturated": saturated,
                "refused": refused,
            }
        )
        sizes = f"word {widths.word}, narrow {widths.narrow}, margin {widths.margin}"
        output.progress.print(f"  {sizes}: {time.monotonic() - began:.0f} s")
    return found


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
    for each in cases:
        output.progress.print(f"{each.name}: float test accuracy {each.accuracy:.1%}")
        table += rows(each)
    title = f"worst tensor over {options.sequences} sequences"
    output.show(title, table, ("echoloom", "jax", "numpy", "aeon"), options.json)


if __name__ == "__main__":
    main()
