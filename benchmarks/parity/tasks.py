"""The tasks of the parity table: sequences of real measurements, split as their publishers did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from echoloom.frontend.data.normalise import mean_and_deviation

# A window of an engine's life, and how often in it the remaining life is asked for.
WINDOW, STRIDE, OUTPUT_STEP = 60, 15, 10
LONGEST_LIFE = 125.0  # cycles; above, the published benchmarks on C-MAPSS tell engines not apart
TARGET_REACH = 0.9  # a regression's outputs are tanh: targets keep away from its ends


class Missing(FileNotFoundError):
    """A data set is not on this machine."""


@dataclass(frozen=True, eq=False)
class Task:
    """X [n, T, channels], mean 0 and deviation 1 over the training split but for constant
    channels; labels or targets."""

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    output_step: int = 1

    @property
    def kind(self) -> str:
        return "classification" if self.y.ndim == 1 else "regression"

    @property
    def outputs(self) -> int:
        return int(self.y.max()) + 1 if self.y.ndim == 1 else self.y.shape[2]


def load(name: str, folder: Path) -> Task:
    """The task `name` of TASKS. Raises Missing, in one sentence, where its data is not there."""
    task = TASKS[name](name, folder)
    found = mean_and_deviation(task.X)
    return Task(
        found.apply(task.X), task.y, found.apply(task.X_test), task.y_test, task.output_step
    )


def _from_aeon(name: str, folder: Path) -> Task:
    """A set that the package aeon carries; shorter sequences are padded with zeros at their end."""
    from aeon.datasets import load_classification

    splits = [load_classification(name, split=split)[:2] for split in ("train", "test")]
    length = max(x.shape[1] for X, _ in splits for x in X)
    classes = np.unique(splits[0][1])

    def padded(X: Any) -> np.ndarray:
        result = np.zeros((len(X), length, X[0].shape[0]))
        for at, x in zip(result, X, strict=True):
            at[: x.shape[1]] = x.T
        return result

    (X, y), (X_test, y_test) = ((padded(X), np.searchsorted(classes, y)) for X, y in splits)
    return Task(X, y, X_test, y_test)


def _from_folder(name: str, folder: Path) -> Task:
    stored = _read(name, folder)
    X, X_test = (stored[f"X_{part}"] / stored["div"] for part in ("train", "test"))
    y, y_test = (stored[f"y_{part}"].astype(np.int64) for part in ("train", "test"))
    return Task(X, y, X_test, y_test)


def _engines(name: str, folder: Path) -> Task:
    """C-MAPSS FD001: from 24 sensors, how much of its life a jet engine has left.

    Windows of WINDOW cycles, one every STRIDE of a training engine's life and the last one of a
    test engine's; the target, every OUTPUT_STEP cycles, is the remaining life, LONGEST_LIFE at
    most, brought to -TARGET_REACH .. TARGET_REACH.
    """
    stored = _read(name, folder)
    sensors, life = stored["X_flat"] / stored["div"], stored["rul_flat"].astype(np.float64)
    target = (np.minimum(life, LONGEST_LIFE) / LONGEST_LIFE * 2.0 - 1.0) * TARGET_REACH
    windows: tuple[list[slice], list[slice]] = ([], [])
    offsets = stored["offsets"]
    for start, end, test in zip(offsets[:-1], offsets[1:], stored["is_test"], strict=True):
        last = int(end) - WINDOW
        first = last if test else int(start)
        windows[int(test)].extend(
            slice(a, a + WINDOW) for a in range(first, last + 1, STRIDE) if a >= start
        )
    X, X_test = (np.stack([sensors[at] for at in own]) for own in windows)
    y, y_test = (
        np.stack([target[at][OUTPUT_STEP - 1 :: OUTPUT_STEP, None] for at in own])
        for own in windows
    )
    return Task(X, y, X_test, y_test, OUTPUT_STEP)


def _read(name: str, folder: Path) -> dict[str, np.ndarray]:
    path = folder / name / f"{name}.npz"
    if not path.is_file():
        raise Missing(f"{name}: there is no {path}; name the folder of data sets with --data.")
    with np.load(path, allow_pickle=False) as arrays:
        return {key: arrays[key] for key in arrays.files}


TASKS: dict[str, Callable[[str, Path], Task]] = {
    "BasicMotions": _from_aeon,
    "JapaneseVowels": _from_aeon,
    "SelfRegulationSCP1": _from_folder,
    "SelfRegulationSCP2": _from_folder,
    "Heartbeat": _from_folder,
    "CMAPSS_FD001": _engines,
}
