"""What `precision="auto"` finds, and whether it holds on fresh sequences: python
benchmarks/precision.py

For every case: the word lengths that were found for an ECP5 of 85,000 LUTs, the worst tensor over
fresh sequences (the test split, each with the label that the model finds least likely), what
the engine costs beside the 28/18/54 bits that programs have otherwise, of equal lanes. `float32`
are the figures of float32 backpropagation on the same sequences: how well they can be had at all.
Cases with data of --data, a folder with NAME/NAME.npz as benchmarks/quality.py takes them, and with
published/NAME.eqx as benchmarks/published.py does, are left out where it has none of them.
`heart rate` is a regression over T = 49,920 from sensors at a wrist, `strung` the demo's model on
as many steps of motions.
"""

from __future__ import annotations

import os

# Before anything imports JAX: the reference is float64.
os.environ.setdefault("JAX_ENABLE_X64", "1")

import math
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import output
from precision_cases import LONG, PUBLISHED, heart_rate, nonlinear, published, strung_motions
from quality_cases import Case, basic_motions, uea

import echoloom as el
from echoloom.backends.chips.cost import Cost, cost_of
from echoloom.backends.chips.resources import chip_of
from echoloom.backends.compile.figures import BatchQuality, sequences_quality
from echoloom.backends.compile.pipeline import Arguments, compiled
from echoloom.backends.compile.search import Searched, Unmet
from echoloom.backends.gradients.quality import batch_quality
from echoloom.frontend.gradients.bptt import per_sequence
from echoloom.frontend.gradients.exact import Tensors, exact_gradients, tensors

TARGET = "ecp5-85k"


def auto(case: Case, lanes: int, workers: int) -> tuple[el.CompiledProgram, Searched, float]:
    """The program, how it was found, and in how many seconds."""
    found: dict[str, Any] = {}
    arguments = Arguments(case.model, case.calibration, case.targets, TARGET, lanes, None, 4, None,
                          None, precision="auto")  # fmt: skip
    began = time.monotonic()
    if workers > 1:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            program = compiled(
                replace(arguments, executor=pool), lambda s, made: found.update({s.name: made})
            )
    else:
        program = compiled(arguments, lambda s, made: found.update({s.name: made}))
    return program, found["search"], time.monotonic() - began


def single(case: Case, exact: Tensors) -> BatchQuality:
    """Figures of float32 backpropagation through time."""
    narrow = jax.tree.map(
        lambda leaf: jnp.asarray(leaf, jnp.float32) if eqx.is_inexact_array(leaf) else leaf,
        case.model,
    )
    chunk = math.isqrt(LONG) if case.xs.shape[1] == LONG else None
    found = per_sequence(narrow, jnp.asarray(case.xs, jnp.float32), jnp.asarray(case.labels), chunk)
    return sequences_quality(tensors(found), exact, np.zeros(len(case.xs), np.int64))


def worst(quality: BatchQuality) -> tuple[str, str]:
    """The worst cosine and norm ratio with their tensors."""
    tensors = quality.by_tensor()
    cosine = min(tensors, key=lambda name: tensors[name].cosine)
    ratio = max(tensors, key=lambda name: abs(tensors[name].norm_ratio - 1.0))
    return (
        f"{tensors[cosine].cosine:.6f} {cosine}",
        f"{tensors[ratio].norm_ratio:.5f} {ratio}",
    )


def row(case: Case, lanes: int, workers: int) -> dict[str, Any]:
    """One line of the table."""
    exact = exact_gradients(case.model, case.xs, case.labels)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        program, searched, seconds = auto(case, lanes, workers)
    for warning in caught:
        if warning.category is Unmet:
            output.progress.print(f"{case.name}: {warning.message}")
    output.progress.print(f"{case.name}:\n{searched}")
    uniform = el.compile(case.model, case.calibration, case.targets, target=TARGET, lanes=lanes)
    found = worst(batch_quality(program, case.xs, case.labels, exact))
    before = worst(batch_quality(uniform, case.xs, case.labels, exact))
    costs = [cost_of(p.image.config, chip_of(TARGET)) for p in (program, uniform)]
    assert program.precision is not None
    widths = program.precision.widths
    both: Callable[[Callable[[Cost], int]], str] = lambda of: " / ".join(  # noqa: E731
        f"{of(cost):,}" for cost in costs
    )
    return {
        "case": case.name,
        "T": case.xs.shape[1],
        "word/narrow/sum/gradient": f"{widths.word}/{widths.narrow}/{widths.accumulator}"
        f"/{widths.gradient_bits}",
        "nudges": " ".join(f"2^{e}" for e in program.precision.nudges or ()),
        "worst cosine": found[0],
        "worst norm ratio": found[1],
        "with 28/18/54": f"{before[0]}, {before[1]}",
        "float32": ", ".join(worst(single(case, exact))),
        "multipliers": both(lambda cost: cost.multipliers),
        "block RAMs": both(lambda cost: cost.blocks),
        "memory bits": both(lambda cost: cost.bits),
        "trials": len(searched.trials),
        "s": f"{seconds:.0f}",
    }


def main() -> None:
    parser = output.arguments((__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of data")
    parser.add_argument("--sequences", type=int, default=8, help="fresh sequences a case")
    parser.add_argument("--epochs", type=int, default=3, help="of SelfRegulationSCP1, Heartbeat")
    parser.add_argument("--lanes", type=int, default=4, help="of all engines")
    parser.add_argument("--workers", type=int, default=1, help="processes that make trials")
    parser.add_argument("--only", metavar="CASE", action="append", help="one case; repeatable")
    options = parser.parse_args()
    count = options.sequences
    cases: dict[str, Callable[[], Case]] = {
        "linear": lambda: basic_motions(count),
        "nonlinear": lambda: nonlinear(count, 30),
        "strung": lambda: strung_motions(count),
    }
    for name in ("SelfRegulationSCP1", "Heartbeat"):
        if (options.data / name / f"{name}.npz").is_file():
            cases[name] = lambda name=name: uea(options.data, name, count, options.epochs)
    if (options.data / "TROIKA_PPG" / "TROIKA_PPG.npz").is_file():
        cases["heart rate"] = lambda: heart_rate(options.data)
    if (options.data / "published" / f"{PUBLISHED}.eqx").is_file():
        cases["published"] = lambda: published(options.data)
    for name in options.only or ():
        if name not in cases:
            parser.error(f"--only is {name!r}, but the cases are {', '.join(cases)}")
    table = [
        row(make(), options.lanes, options.workers)
        for name, make in cases.items()
        if not options.only or name in options.only
    ]
    title = f"auto precision; cost on {TARGET} beside 28/18/54, {options.lanes} lanes"
    output.show(title, table, ("echoloom", "jax", "numpy", "aeon"), options.json)


if __name__ == "__main__":
    main()
