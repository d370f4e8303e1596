"""Samples as their owners keep them: .npz files, aeon's data sets, .ts files, a function's result.

aeon's files and loaders hold sequences as [channels, T]; here they are [T, channels].
"""

from __future__ import annotations

import importlib.util
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echoloom.frontend.named import import_named

# Sequences of one length [n, T, channels], or a list of [T, channels] where lengths differ.
Sequences = NDArray[Any] | list[NDArray[Any]]


class MissingPackage(ImportError):
    """A package that only some data need is absent; the text says how to get it."""


@dataclass(frozen=True, eq=False)
class Raw:
    """Splits as they were found, labels as whole numbers or targets.

    `classes` are the texts that labels 0, 1, ... stand for, where the owner's labels are texts.
    """

    X: Sequences
    y: NDArray[Any] | None
    X_validation: Sequences | None = None
    y_validation: NDArray[Any] | None = None
    X_test: Sequences | None = None
    y_test: NDArray[Any] | None = None
    classes: tuple[str, ...] = ()


def read_source(source: str | Sequence[str], folder: Path = Path()) -> Raw:
    """The data that `source` names: a path, a pair of .ts files, or a data set's name in aeon.

    Relative paths start at `folder`. Raises ValueError or OSError for what is not usable data, and
    MissingPackage without aeon.
    """
    if not isinstance(source, str):
        if len(source) != 2 or not all(name.endswith(".ts") for name in source):
            raise ValueError(
                f"source: {list(source)} is not a pair of .ts files, the training split first."
            )
        return _from_ts(folder / source[0], folder / source[1])
    path = folder / source
    if path.is_dir():
        return _from_folder(path)
    if source.endswith(".ts"):
        return _from_ts(path, None)
    if source.endswith(".npz") or path.exists():
        return _from_npz(path)
    return _from_aeon(source)


def read_loader(name: str) -> Raw:
    """What MODULE:NAME gives when it is called with split="train" and split="test".

    As all of aeon's loaders do, it returns (X, y): X [n, channels, T], or a list of [channels, T].
    Raises ValueError.
    """
    load = import_named(name, "loader")
    found = []
    for split in ("train", "test"):
        try:
            X, y = load(split=split)[:2]
        except (TypeError, ValueError) as error:
            raise ValueError(
                f'loader {name}: calling it with split="{split}" gave no (X, y): {error}'
            ) from error
        found.append((_turned(X), np.asarray(y)))
    return _labelled(f"loader {name}", *found)


def _turned(X: Any) -> Sequences:
    """[n, channels, T] as [n, T, channels], or each of a list."""
    if isinstance(X, np.ndarray) and X.ndim == 3:
        return X.swapaxes(1, 2)
    return [np.asarray(x).T for x in X]


def _labelled(
    name: str,
    training: tuple[Sequences, NDArray[Any]],
    test: tuple[Sequences, NDArray[Any]] | None,
) -> Raw:
    """Texts become their places among the training split's sorted texts."""
    (X, y), (X_test, y_test) = training, test or (None, None)
    if y.dtype.kind not in "UO":
        return Raw(X, y, X_test=X_test, y_test=y_test)
    classes = np.unique(y.astype(str))
    unknown = set() if y_test is None else set(y_test.astype(str)) - set(classes)
    if unknown:
        raise ValueError(
            f"{name}: the class {str(min(unknown))!r} of the test split is not in the training "
            "split."
        )
    labels = [
        None if own is None else np.searchsorted(classes, own.astype(str)).astype(np.int64)
        for own in (y, y_test)
    ]
    return Raw(X, labels[0], X_test=X_test, y_test=labels[1], classes=tuple(map(str, classes)))


def _from_npz(path: Path) -> Raw:
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
    names = ("X", "y", "X_validation", "y_validation", "X_test", "y_test")
    return Raw(*(arrays.get(name) for name in names))  # type: ignore[arg-type]


def _from_folder(folder: Path) -> Raw:
    found = [sorted(folder.glob(f"*_{split}.ts")) for split in ("TRAIN", "TEST")]
    if len(found[0]) != 1 or len(found[1]) > 1:
        raise ValueError(
            f"{folder}: it holds {len(found[0])} files *_TRAIN.ts and {len(found[1])} *_TEST.ts, "
            "but one of each is needed."
        )
    return _from_ts(found[0][0], found[1][0] if found[1] else None)


def _from_aeon(name: str) -> Raw:
    package = importlib.util.find_spec("aeon")
    if package is None or package.origin is None:
        raise MissingPackage(
            f"{name}: there is no such file, and data sets by name need the package aeon; install "
            "it with `pip install aeon`"
        )
    folder = Path(package.origin).parent / "datasets" / "data"
    splits = [folder / name / f"{name}_{split}.ts" for split in ("TRAIN", "TEST")]
    if not all(path.is_file() for path in splits):
        known = sorted(p.parent.name for p in folder.glob("*/*_TRAIN.ts"))
        raise ValueError(
            f"{name}: there is no such file, and no data set of that name in the package aeon; it "
            f"carries {', '.join(dict.fromkeys(known))}."
        )
    return _from_ts(*splits)


def _from_ts(training: Path, test: Path | None) -> Raw:
    if importlib.util.find_spec("aeon") is None:
        raise MissingPackage(
            f"{training}: .ts files are read by the package aeon; install it with "
            "`pip install aeon`"
        )
    return _labelled(str(training), _read_ts(training), None if test is None else _read_ts(test))


def _read_ts(path: Path) -> tuple[Sequences, NDArray[Any]]:
    from aeon.datasets import load_from_ts_file

    if not path.is_file():
        raise FileNotFoundError(2, "No such file or directory", str(path))
    try:
        X, y, *_ = load_from_ts_file(str(path))
    except (OSError, ValueError, IndexError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: aeon cannot read it as a .ts file: {error}") from error
    if len(X) == 0:
        raise ValueError(f"{path}: aeon finds no sequences in it; is it a .ts file?")
    return _turned(X), np.asarray(y)
