"""Learning curves of all seeds as one picture."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from echoloom.frontend.training.history import Row

STYLES = {"train": "-", "validation": "--"}


def curves_png(histories: Mapping[int, Sequence[Row]], measure: str) -> bytes:
    """A PNG: the loss, and accuracy or squared error, over epochs; `histories` is by seed.

    One colour a seed; solid lines are the training split, dashed ones the validation split.
    """
    # No pyplot: it keeps figures of its own, and looks for a screen.
    figure = Figure(figsize=(10, 4), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    loss, score = figure.subplots(1, 2)
    _draw(loss, "loss", histories, lambda row, split: row.scores[split].loss)
    _draw(score, measure.replace("_", " "), histories, lambda row, split: row.scores[split].measure)
    if measure == "accuracy":
        score.set_ylim(-0.02, 1.02)
    for axes in (loss, score):
        if all(value > 0 for line in axes.lines for value in line.get_ydata()) and (  # type: ignore[union-attr]
            axes is loss or measure != "accuracy"
        ):
            axes.set_yscale("log")
    target = io.BytesIO()
    canvas.print_png(target)
    return target.getvalue()


def _draw(
    axes: Axes,
    title: str,
    histories: Mapping[int, Sequence[Row]],
    value: Callable[[Row, str], float],
) -> None:
    for index, (seed, rows) in enumerate(histories.items()):
        for split, style in STYLES.items():
            shown = [row for row in rows if split in row.scores]
            if shown:
                axes.plot(
                    [row.epoch for row in shown], [value(row, split) for row in shown],
                    style, color=f"C{index % 10}", label=f"{split}, seed {seed}",
                    marker="." if len(shown) == 1 else None,
                )  # fmt: skip
    axes.set_title(title)
    axes.set_xlabel("epoch")
    if axes.lines:
        axes.legend(fontsize="small")
