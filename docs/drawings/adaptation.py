"""The picture of a model that learns a sensor's new mounting, from what the benchmark measured."""

from __future__ import annotations

import json
from pathlib import Path

from svg import Drawing

MEASURED = Path(__file__).parents[2] / "benchmarks" / "learning_adaptation.json"
LEFT, TOP, WIDTH, HEIGHT = 60.0, 20.0, 480.0, 220.0
# By the table's columns: the line, and what it is called.
LEARNERS = {
    "adam 0.003": ("minus", "Adam in floats, 0.003"),
    "adam 0.01": ("line", "Adam in floats, 0.01"),
    "board": ("plus", "the board's integers"),
}


def adaptation() -> Drawing:
    """Accuracy by sequences learnt: means of the seeds, and thin the board's three."""
    rows = json.loads(MEASURED.read_text())["rows"]
    sequences = [row["sequences"] for row in rows]
    d = Drawing(740, 290, "A model learns a sensor's new mounting")

    def at(count: float, percent: float) -> tuple[float, float]:
        return LEFT + WIDTH * count / sequences[-1], TOP + HEIGHT * (1 - percent / 100)

    def course(values: list[float], kind: str) -> None:
        d.curve([at(n, v) for n, v in zip(sequences, values, strict=True)], kind)

    for percent in range(0, 101, 25):
        d.curve([at(0, percent), at(sequences[-1], percent)], "thin")
        d.text(LEFT - 8, at(0, percent)[1] + 4, f"{percent} %", at="end")
    for count in (n for n in sequences if not n or 8 * n >= sequences[-1]):
        d.text(at(count, 0)[0], TOP + HEIGHT + 16, str(count), at="middle")
    d.text(LEFT + WIDTH / 2, TOP + HEIGHT + 36, "sequences learnt from", at="middle")
    old = float(rows[0]["old mounting, mean"])
    course([old] * len(rows), "free")
    ends = {("free", "in the old mounting"): old}
    for own in zip(*([float(v) for v in row["board %"].split()] for row in rows), strict=True):
        course([*own], "thin")
    for name, (kind, called) in LEARNERS.items():
        means = [float(row[f"{name}, mean"]) for row in rows]
        course(means, kind)
        ends[kind, called] = means[-1]
    y = 0.0
    for (kind, called), percent in sorted(ends.items(), key=lambda end: -end[1]):
        y = max(at(0, percent)[1], y + 15)
        d.curve([(LEFT + WIDTH + 8, y), (LEFT + WIDTH + 28, y)], kind)
        d.text(LEFT + WIDTH + 34, y + 4, f"{called}: {percent:.0f} %")
    return d
