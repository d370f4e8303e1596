"""Samples for the commands: from an .npz file, or a data set that the package aeon carries."""

from __future__ import annotations

import importlib.util
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from echoloom.backends.tools import ToolMissing
from echoloom.frontend.data import check_numbers

Split = Literal["train", "test"]


@dataclass(frozen=True, eq=False)
class Data:
    """Samples X [n, T, channels] with labels y [n] or targets y [n, T', outputs], where given.

    `classes` names the labels 0, 1, ... of a data set whose own labels are texts; `mean` and
    `scale` [channels] are what samples were normalised with: (raw - mean) / scale.
    """

    X: NDArray[np.float64]
    y: NDArray[Any] | None
    X_test: NDArray[np.float64] | None = None
    y_test: NDArray[Any] | None = None
    classes: tuple[str, ...] = ()
    mean: NDArray[np.float64] | None = None
    scale: NDArray[np.float64] | None = None

    def split(self, name: Split | None) -> tuple[NDArray[np.float64], NDArray[Any] | None]:
        """Samples and labels of one split; of the test split, where there is one, for None."""
        if name == "train" or (name is None and self.X_test is None):
            return self.X, self.y
        if self.X_test is None:
            raise ValueError("the data has no test split: it holds no X_test")
        return self.X_test, self.y_test


def load_data(source: str, normalise: bool) -> Data:
    """The data that `source` names.

    Raises ValueError or OSError for what is not usable data, ToolMissing without aeon.
    """
    if source.endswith(".npz") or Path(source).exists():
        data = _from_npz(Path(source))
    else:
        data = _from_aeon(source)
    for name, samples in (("X", data.X), ("X_test", data.X_test)):
        if samples is not None:
            _check(f"{source}: {name}", samples, data.X.shape[-1])
    if not normalise:
        return data
    mean, scale = data.X.mean(axis=(0, 1)), data.X.std(axis=(0, 1))
    scale = np.where(scale > 0.0, scale, 1.0)
    test = None if data.X_test is None else (data.X_test - mean) / scale
    return replace(data, X=(data.X - mean) / scale, X_test=test, mean=mean, scale=scale)


def _check(name: str, samples: np.ndarray, channels: int) -> None:
    if samples.ndim != 3 or 0 in samples.shape:
        raise ValueError(
            f"{name} has shape {list(samples.shape)}, but samples [n, T, channels] are needed, "
            "one at least."
        )
    if samples.shape[2] != channels:
        raise ValueError(f"{name} has {samples.shape[2]} channels, but X has {channels}.")
    check_numbers(name, samples)


def _from_npz(path: Path) -> Data:
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (ValueError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path}: this is not an .npz file of numbers; write one with numpy.savez(path, X=..., "
            "y=...)."
        ) from error
    if "X" not in arrays:
        raise ValueError(f"{path}: it holds no array X; X [n, T, channels] are the samples.")
    return Data(arrays["X"], arrays.get("y"), arrays.get("X_test"), arrays.get("y_test"))


def _from_aeon(name: str) -> Data:
    package = importlib.util.find_spec("aeon")
    if package is None or package.origin is None:
        raise ToolMissing(
            f"{name}: there is no such file, and data sets by name need the package aeon; install "
            "it with `pip install aeon`"
        )
    folder = Path(package.origin).parent / "datasets" / "data"
    splits = {split: folder / name / f"{name}_{split}.ts" for split in ("TRAIN", "TEST")}
    if not all(path.is_file() for path in splits.values()):
        known = sorted(p.parent.name for p in folder.glob("*/*_TRAIN.ts"))
        raise ValueError(
            f"{name}: there is no such file, and no data set of that name in the package aeon; it "
            f"carries {', '.join(known)}."
        )
    from aeon.datasets import load_from_ts_file

    X, y, *_ = load_from_ts_file(str(splits["TRAIN"]))
    X_test, y_test, *_ = load_from_ts_file(str(splits["TEST"]))
    if not isinstance(X, np.ndarray) or not isinstance(X_test, np.ndarray):
        raise ValueError(f"{name}: its sequences have unequal lengths, which is not supported.")
    if y.dtype.kind != "U":
        raise ValueError(
            f"{name}: it has one number a sequence as its target, but classes are needed."
        )
    classes = np.unique(y)
    labels = [np.searchsorted(classes, own).astype(np.int64) for own in (y, y_test)]
    return Data(
        X.swapaxes(1, 2), labels[0], X_test.swapaxes(1, 2), labels[1], tuple(map(str, classes))
    )
