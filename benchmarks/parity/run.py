"""The parity table: float BPTT, float RHEL and fixed-point RHEL under one budget.

    .venv/bin/python benchmarks/parity/run.py

Trains every task, unit and gradient with three seeds, one process a core, and prints the table. A
run that was cut off goes on where it stopped (its state is under build/parity). What a run came to
is written to benchmarks/parity/results, and is trained again only after that file is removed; other
seeds or steps belong in another folder (--results).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from queue import SimpleQueue

from rich.console import Console
from table import GRADIENTS, RESULTS, UNITS, show
from tasks import TASKS, Missing, load

progress = Console(stderr=True)
STEPS, BATCH, LEARNING_RATE, SEEDS = 200, 16, 5e-3, (0, 1, 2)
HIDDEN, STATE, BLOCKS = 16, 8, 2
# The linear unit's own spread of steps; one for the nonlinear unit, as in its published runs.
STEP = {"linear": None, "nonlinear": 0.1}
NORM_SAMPLES = 64
Row = tuple[str, str, str]  # task, unit, gradient


def train(
    task: str, unit: str, gradient: str, folder: Path, steps: int, seeds: tuple[int, ...]
) -> dict[str, object]:
    """Trains all seeds of one row and gives what `echoloom train` writes as result.json."""
    import msgspec
    import numpy as np

    from echoloom.cli.train_run import make_source
    from echoloom.frontend.data.data_sets import Data
    from echoloom.frontend.training.run import train_run
    from echoloom.frontend.training.run_file import Run
    from echoloom.frontend.training.summary import summary

    own = load(task, folder)
    X, X_test = (samples.astype(np.float32) for samples in (own.X, own.X_test))
    data = Data(X, own.y, X_test=X_test, y_test=own.y_test)
    run = msgspec.convert(
        {
            "data": {"source": task},
            "model": {
                "hidden": HIDDEN, "state": STATE, "blocks": BLOCKS, "unit": unit,
                "task": own.kind, "output_step": own.output_step, "step": STEP[unit],
            },
            "optimiser": {"name": "adam", "learning_rate": LEARNING_RATE},
            "training": {
                "gradient": gradient, "steps": steps, "batch": BATCH, "seeds": seeds,
                "evaluate_every": max(1, steps // 4), "checkpoint_every": max(1, steps // 8),
                "norm_samples": NORM_SAMPLES,
            },
        },
        Run,
    )  # fmt: skip
    own_seeds = "" if seeds == SEEDS else "-" + "-".join(map(str, seeds))
    place = Path("build/parity") / f"{task}-{unit}-{gradient}-{steps}{own_seeds}"
    return summary(run, data, train_run(run, data, place, make_source=make_source))


def one_core(row: Row, cores: SimpleQueue[int], options: argparse.Namespace) -> str:
    """One row in a process of its own, bound to one core; the last line of what it said."""
    core = cores.get()
    command = [
        sys.executable, __file__, "--only", *row, "--data", str(options.data),
        "--results", str(options.results), "--steps", str(options.steps),
        "--seeds", *map(str, options.seeds),
    ]  # fmt: skip
    # What JAX compiled for one seed serves the others.
    cached = {"JAX_COMPILATION_CACHE_DIR": str(Path("build/parity/compiled").absolute())}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=os.environ | cached,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )  # fmt: skip
    finally:
        cores.put(core)
    said = done.stderr.strip().splitlines() or ["done"]
    return f"{' '.join(row)}: {'done' if done.returncode == 0 else said[-1]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of .npz")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--steps", type=int, default=STEPS, help="of Adam, the same for all")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--units", nargs="+", choices=UNITS, default=list(UNITS))
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--only", nargs=3, metavar=("TASK", "UNIT", "GRADIENT"))
    options = parser.parse_args()
    if options.only is not None:
        task, unit, gradient = options.only
        result = train(task, unit, gradient, options.data, options.steps, tuple(options.seeds))
        options.results.mkdir(parents=True, exist_ok=True)
        path = options.results / f"{task}-{unit}-{gradient}.json"
        path.write_text(json.dumps(result, indent=1) + "\n")
        return
    rows = []
    for task in options.tasks:
        try:
            load(task, options.data)
        except Missing as missing:
            progress.print(f"left out: {missing}")
            continue
        rows += [row for row in product((task,), options.units, GRADIENTS)
                 if not (options.results / f"{'-'.join(row)}.json").exists()]  # fmt: skip
    cores: SimpleQueue[int] = SimpleQueue()
    available = sorted(os.sched_getaffinity(0))
    for core in available:
        cores.put(core)
    with ThreadPoolExecutor(len(available)) as pool:
        for number, line in enumerate(pool.map(lambda row: one_core(row, cores, options), rows), 1):
            progress.print(f"{number}/{len(rows)} {line}")
    show(options.results)


if __name__ == "__main__":
    main()
