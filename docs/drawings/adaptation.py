"""The picture of a model that learns a sensor's new mounting, from what the benchmark measured."""

from __future__ import annotations

import json
from pathlib import Path

from svg import Drawing

MEASURED = Path(__file__).parents[2] / "benchmarks" / "learning_adaptation.json"
LEFT, TOP, WIDTH, HEIGHT = 60.0, 30.0, 480.0, 220.0


def adaptation() -> Drawing:
    """Accuracy by sequences learnt: every seed thin, their mean thick."""
    rows = json.loads(MEASURED.read_text())["rows"]
    most = rows[-1]["sequences"]
    d = Drawing(720, 300, "A model learns a sensor's new mounting")

    def at(sequences: float, percent: float) -> tuple[float, float]:
        return LEFT + WIDTH * sequences / most, TOP + HEIGHT * (1 - percent / 100)

    for percent in range(0, 101, 25):
        d.curve([at(0, percent), at(most, percent)], "thin")
        d.text(LEFT - 8, at(0, percent)[1] + 4, f"{percent} %", at="end")
    for row in rows:
        x, y = at(row["sequences"], 0)
        if row["sequences"] * 8 >= most or not row["sequences"]:
            d.text(x, y + 16, str(row["sequences"]), at="middle")
    d.text(LEFT + WIDTH / 2, TOP + HEIGHT + 34, "sequences learnt from", at="middle")
    old = float(rows[0]["old mounting, mean"])
    d.curve([at(0, old), at(most, old)], "free")
    d.text(at(most, old)[0] + 8, at(0, old)[1] + 4, "old mounting, floats", "title")
    learners = (("adam in floats", "minus"), ("board", "plus"))
    for name, _ in learners:
        seeds = [[float(value) for value in row[f"{name} %"].split()] for row in rows]
        for own in zip(*seeds, strict=True):
            d.curve([at(row["sequences"], v) for row, v in zip(rows, own, strict=True)], "thin")
    ends: list[float] = []
    for name, kind in learners:
        mean = [float(row[f"{name}, mean"]) for row in rows]
        d.curve([at(row["sequences"], v) for row, v in zip(rows, mean, strict=True)], kind)
        y = at(0, mean[-1])[1] + 4
        ends.append(y + 14 if any(abs(y - other) < 13 for other in ends) else y)
        d.text(LEFT + WIDTH + 8, ends[-1], f"{name}, {mean[-1]:.0f} %", "title")
    return d
