"""What the seeds of a run came to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import msgspec
import numpy as np

from echoloom.frontend.data.data_sets import Data
from echoloom.frontend.models.hssm import HSSM, size
from echoloom.frontend.training.run_file import Run
from echoloom.frontend.training.scores import Score, measure_name
from echoloom.frontend.training.state import Counters


@dataclass(frozen=True, eq=False)
class SeedResult:
    """What one seed came to: scores by split, and how it got there."""

    seed: int
    model: HSSM
    scores: dict[str, Score]
    counters: Counters

    @property
    def overflows(self) -> int:
        """Sequences left out of gradients, over the whole run."""
        rows = self.counters.history
        return self.counters.overflows + sum(row.overflows for row in rows)


def summary(run: Run, data: Data, results: Sequence[SeedResult]) -> dict[str, Any]:
    """Everything that a run came to, for JSON.

    Squared errors are in the units of the data's own targets, also where these were scaled.
    """
    model = results[0].model
    measure = measure_name(model.task)
    seeds = [
        {
            "seed": result.seed,
            **{f"{split}_{measure}": score.measure for split, score in result.scores.items()},
            **{f"{split}_loss": score.loss for split, score in result.scores.items()},
            "steps": result.counters.step,
            "best_step": result.counters.best_step if run.training.patience else None,
            "stopped_early": result.counters.stopped,
            "overflows": result.overflows,
            "notes": [asdict(note) for note in result.counters.notes],
            "seconds": result.counters.seconds,
        }
        for result in results
    ]
    overall = {}
    for split in results[0].scores:
        values = [result.scores[split].measure for result in results]
        overall[f"{split}_{measure}"] = {
            "mean": float(np.mean(values)),
            "deviation": spread(values),
        }
    shifts = ("mean", "scale", "target_centre", "target_scale")
    return {
        "run": msgspec.to_builtins(run),
        "task": model.task,
        "classes": list(data.classes),
        "parameters": size(model),
        "data": {
            name: None if getattr(data, name) is None else getattr(data, name).tolist()
            for name in shifts
        },
        "notes": list(data.notes),
        "seeds": seeds,
        **overall,
    }


def spread(values: Sequence[float]) -> float | None:
    """The standard deviation of a sample; one value has none."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
