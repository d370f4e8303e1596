"""What `learning.py` trains on: sequences of real measurements, and the models that learn them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from parity.tasks import Missing, Task, load

import echoloom as el
from echoloom.frontend.data.normalise import mean_and_deviation
from echoloom.ir.learning import Rule

# Windows of HAPT: of 128 samples of one activity, every second of them (25 Hz), and of each
# activity and split so many, evenly over its recordings.
WINDOW, EVERY, OF_EACH = 128, 2, 80
ACTIVITIES = 6  # walking, upstairs, downstairs, sitting, standing, lying
HALVED_AFTER = (0.5, 0.75)  # of the updates


@dataclass(frozen=True)
class Setting:
    """A rule's step and batch. All rules halve their steps after HALVED_AFTER of the updates."""

    step: float
    batch: int = 16

    def rule(self, name: str, updates: int) -> Rule:
        halve_at = tuple(sorted({at for f in HALVED_AFTER if (at := round(f * updates))}))
        given = {"step": self.step, "batch": self.batch, "updates": updates, "halve_at": halve_at}
        if name == "scaled":
            return el.ScaledUpdate(**given)
        return el.SignUpdate(momentum=name == "momentum", **given)


# Those of a prototype in floats; `adam` is the float reference. --choose compares others.
SETTINGS: Mapping[str, Setting] = {
    "adam": Setting(3e-3),
    "sign": Setting(2.0**-7),
    "momentum": Setting(2.0**-8),
    "scaled": Setting(2.0**-5),
}


@dataclass(frozen=True)
class Case:
    """A data set and the model that learns it: hidden 16, blocks of 8. `sequences`: how many a
    training sees. `calibration`: of how many of them, at most, formats are made."""

    load: Callable[[str, Path], Task]
    unit: str = "linear"
    step: float | None = None
    blocks: int = 2
    sequences: int = 2400
    calibration: int = 64

    def model(self, task: Task, seed: int) -> el.HSSM:
        """Untrained; its norms know the statistics of the training split."""
        model = el.HSSM(
            inputs=task.X.shape[2], outputs=task.outputs, hidden=16, state=8, blocks=self.blocks,
            unit=self.unit, step=self.step, key=jax.random.key(seed),
        )  # fmt: skip
        return el.with_statistics(model, jnp.asarray(task.X[: 4 * self.calibration], jnp.float32))


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows x [n, T, 6] of recordings of people who carry a phone, activities y and people."""

    x: np.ndarray
    y: np.ndarray
    person: np.ndarray
    is_test: np.ndarray


def hapt_windows(folder: Path) -> Windows:
    """Windows of one activity each, apart from each other; a person is in one split only.

    Raises Missing, in one sentence, where the data is not there.
    """
    path = folder / "HAPT_long" / "HAPT_long.npz"
    if not path.is_file():
        raise Missing(f"HAPT: there is no {path}; name the folder of data sets with --data.")
    with np.load(path, allow_pickle=False) as stored:
        arrays = {key: stored[key] for key in stored.files}
    signal, label, ends = arrays["X_flat"] * arrays["unit"], arrays["label_flat"], arrays["offsets"]
    found: list[tuple[np.ndarray, int, int, bool]] = []
    for start, end, person, test in zip(
        ends[:-1], ends[1:], arrays["user"], arrays["is_test"], strict=True
    ):
        for at in range(int(start), int(end) - WINDOW, WINDOW):
            of_it = label[at : at + WINDOW]
            if of_it[0] == of_it[-1] and (of_it == of_it[0]).all() and 1 <= of_it[0] <= ACTIVITIES:
                x = signal[at : at + WINDOW : EVERY]
                found.append((x, int(of_it[0]) - 1, int(person), bool(test)))
    xs, ys, people, tests = zip(*found, strict=True)
    return Windows(np.stack(xs), np.array(ys), np.array(people), np.array(tests))


def evenly(labels: np.ndarray, count: int) -> np.ndarray:
    """Indices of `count` of each label (or all), evenly over their order."""
    chosen = [
        own[np.linspace(0, len(own) - 1, min(count, len(own))).astype(int)]
        for own in (np.flatnonzero(labels == label) for label in np.unique(labels))
    ]
    return np.sort(np.concatenate(chosen))


def _hapt(name: str, folder: Path) -> Task:
    windows = hapt_windows(folder)
    parts = []
    for test in (False, True):
        of_split = np.flatnonzero(windows.is_test == test)
        own = of_split[evenly(windows.y[of_split], OF_EACH)]
        parts.append((windows.x[own], windows.y[own]))
    (X, y), (X_test, y_test) = parts
    found = mean_and_deviation(X)
    return Task(found.apply(X), y, found.apply(X_test), y_test)


CASES: Mapping[str, Case] = {
    "BasicMotions": Case(load),
    "JapaneseVowels": Case(load, unit="nonlinear", step=0.05),
    "SelfRegulationSCP1": Case(load, sequences=1600, calibration=32),
    "HAPT": Case(_hapt, blocks=1),
}


def part(task: Task, count: int) -> Task:
    """The task with so many sequences of its training split, evenly over its classes."""
    own = evenly(task.y, -(-count // task.outputs))
    return replace(task, X=task.X[own], y=task.y[own])
