"""The parity table from the results in the repository, as `python benchmarks/parity/table.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"
UNITS = ("linear", "nonlinear")
GRADIENTS = ("bptt", "rhel", "rhel-fixed")
# arXiv 2506.05259, its table of long sequences: accuracy in % of BPTT and RHEL by unit.
PAPER = {
    ("Heartbeat", "linear"): "73.9 / 73.5",
    ("Heartbeat", "nonlinear"): "74.5 / 73.9",
    ("SelfRegulationSCP1", "linear"): "86.4 / 86.1",
    ("SelfRegulationSCP1", "nonlinear"): "86.8 / 85.6",
    ("SelfRegulationSCP2", "linear"): "63.9 / 61.4",
    ("SelfRegulationSCP2", "nonlinear"): "54.0 / 54.0",
}


def values(result: dict[str, Any]) -> np.ndarray:
    """What a row's seeds came to on the test split: accuracy in %, or mean squared error x 100."""
    name = "accuracy" if result["task"] == "classification" else "squared_error"
    return 100.0 * np.array([seed[f"test_{name}"] for seed in result["seeds"]])


def rows(folder: Path) -> list[dict[str, str]]:
    """The table's rows; a result that is not there is a dash."""
    found = {p.stem: json.loads(p.read_text()) for p in sorted(folder.glob("*.json"))}
    tasks = dict.fromkeys(stem.split("-")[0] for stem in found)
    lines = []
    for task in tasks:
        for unit in UNITS:
            own = {g: found.get(f"{task}-{unit}-{g}") for g in GRADIENTS}
            if not any(own.values()):
                continue
            scores = {g: values(result) for g, result in own.items() if result is not None}
            line = {"task": task, "unit": unit}
            for gradient in GRADIENTS:
                line[gradient] = spread(scores.get(gradient))
            line["fixed - BPTT"] = distance(scores.get("bptt"), scores.get("rhel-fixed"))
            fixed = own["rhel-fixed"]
            overflows = "-" if fixed is None else str(sum(s["overflows"] for s in fixed["seeds"]))
            line["overflows"] = overflows
            line["paper, BPTT / RHEL"] = PAPER.get((task, unit), "-")
            lines.append(line)
    return lines


def spread(scores: np.ndarray | None) -> str:
    return "-" if scores is None else f"{scores.mean():.1f} ± {scores.std(ddof=1):.1f}"


def distance(float_scores: np.ndarray | None, fixed_scores: np.ndarray | None) -> str:
    """The difference of the means, in BPTT's standard deviations too."""
    if float_scores is None or fixed_scores is None:
        return "-"
    apart, deviation = fixed_scores.mean() - float_scores.mean(), float_scores.std(ddof=1)
    return f"{apart:+.1f} ({apart / deviation:+.1f} sd)" if deviation else f"{apart:+.1f}"


def show(folder: Path = RESULTS) -> None:
    """Prints the table."""
    table = Table(box=box.MARKDOWN)
    lines = rows(folder)
    if not lines:
        raise SystemExit(f"{folder}: there are no results; benchmarks/parity/run.py makes them")
    for name in lines[0]:
        table.add_column(name, justify="left" if name in ("task", "unit") else "right")
    for line in lines:
        table.add_row(*line.values())
    Console(width=200).print(table)


if __name__ == "__main__":
    show()
