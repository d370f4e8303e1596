"""What a run leaves behind of its course, as rows and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from echoloom.frontend.training.scores import Score


@dataclass(frozen=True)
class Row:
    """One evaluation: after `step` steps, and what the steps since the row before gave.

    loss is the mean over those steps' sequences while they were learned from; overflows counts
    sequences left out of gradients; seconds is the time spent on the run so far, over all its
    resumptions; scores are by split.
    """

    step: int
    epoch: float
    loss: float
    overflows: int
    seconds: float
    scores: dict[str, Score]


@dataclass(frozen=True)
class Note:
    """Something that a gradient source said of a step."""

    step: int
    text: str


def history_csv(rows: Sequence[Row], measure: str) -> bytes:
    """The rows as CSV; a score's columns are named like "validation_loss"."""
    splits = list(rows[-1].scores) if rows else []
    names = ["step", "epoch", "loss", "overflows", "seconds"]
    names += [f"{split}_{what}" for split in splits for what in ("loss", measure)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        scores = [row.scores[split] for split in splits]
        values = [value for score in scores for value in (score.loss, score.measure)]
        own = [row.step, row.epoch, row.loss, row.overflows, round(row.seconds, 3)]
        writer.writerow([*own, *values])
    return text.getvalue().encode()
