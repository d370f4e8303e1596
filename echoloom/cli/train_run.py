"""`echoloom train run.toml`: every seed of a run file, and the table of what they came to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import asdict
from rich import box
from rich.table import Table

from echoloom.backends.gradients.fixed_gradient import FixedGradient
from echoloom.cli.outcome import Reporter
from echoloom.frontend.data.data_sets import Data
from echoloom.frontend.models.hssm import HSSM
from echoloom.frontend.training.run import host_source, train_run
from echoloom.frontend.training.run_file import Run, read_run, run_data
from echoloom.frontend.training.scores import measure_name
from echoloom.frontend.training.source import GradientSource
from echoloom.frontend.training.summary import SeedResult, summary
from echoloom.frontend.training.watch import Bar


def make_source(run: Run, model: HSSM, data: Data) -> GradientSource:
    """The gradients that the run file asks for."""
    if run.training.gradient != "rhel-fixed":
        return host_source(run, model, data)
    return FixedGradient(model, data.X, data.y, **asdict(run.fixed))


def carry_out(say: Reporter, path: Path, folder: Path, fresh: bool) -> None:
    """Trains what the run file at `path` describes into `folder`, and says what came of it."""
    run = read_run(path)
    data = run_data(run, path)
    say.notes(data.notes)
    results = train_run(
        run, data, folder, make_source=make_source, fresh=fresh,
        watch=lambda seed: Bar(f"seed {seed}", say.errors),
    )  # fmt: skip
    say.result |= {"folder": str(folder), **summary(run, data, results)}
    say.show(_table(results, say.result))
    say.show(f"wrote {folder}")


def _table(results: Sequence[SeedResult], overall: Mapping[str, Any]) -> Table:
    """A line a seed; of more than one also mean ± standard deviation, as `summary` has them."""
    measure = measure_name(results[0].model.task)
    splits = list(results[0].scores)
    table = Table(title=f"{measure.replace('_', ' ')} by seed", box=box.SIMPLE_HEAD)
    table.add_column("seed")
    for name in (*splits, "steps", "seconds", "overflows"):
        table.add_column(name, justify="right")
    for result in results:
        stop = " early" if result.counters.stopped else ""
        table.add_row(
            str(result.seed),
            *(_shown(result.scores[split].measure, measure) for split in splits),
            f"{result.counters.step}{stop}", f"{result.counters.seconds:.1f}",
            str(result.overflows),
        )  # fmt: skip
    if len(results) > 1:
        table.add_section()
        for title, key in (("mean", "mean"), ("±", "deviation")):
            values = (overall[f"{split}_{measure}"][key] for split in splits)
            table.add_row(title, *(_shown(value, measure) for value in values))
    return table


def _shown(value: float, measure: str) -> str:
    return f"{value:.1%}" if measure == "accuracy" else f"{value:.4g}"
