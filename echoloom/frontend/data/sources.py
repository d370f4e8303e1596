"""Samples as their owners keep them: .npz files, aeon's data sets, .ts files, a function's result.

aeon's files and loaders hold sequences as [channels, T]; here they are [T, channels].
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from echoloom.frontend.data.arrays import TEXTS, any_array, real_array
from echoloom.frontend.data.labels import places
from echoloom.frontend.data.named import import_named
from echoloom.frontend.data.npy import Expands, Objects, read_npz

# Sequences of one length [n, T, channels], or a list of [T, channels] where lengths differ.
Sequences = NDArray[Any] | list[NDArray[Any]]
S = TypeVar("S", bound=Sequences)
SAMPLES, LABELS = ("X", "X_validation", "X_test"), ("y", "y_validation", "y_test")


class MissingPackage(ImportError):
    """A package that only some data need is absent; the text says how to get it."""


@dataclass(frozen=True, eq=False)
class Splits(Generic[S]):
    """Samples with labels as whole numbers, or targets, where given.

    `classes` are the texts that labels 0, 1, ... stand for, where the owner's labels are texts.
    """

    X: S
    y: NDArray[Any] | None
    X_validation: S | None = None
    y_validation: NDArray[Any] | None = None
    X_test: S | None = None
    y_test: NDArray[Any] | None = None
    classes: tuple[str, ...] = ()


Raw = Splits[Sequences]  # as they were found


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
        found.append((_turned(f"loader {name}: X", X), y))
    (X, y), (X_test, y_test) = found
    return numbered(f"loader {name}", Raw(X, y, X_test=X_test, y_test=y_test))


def _turned(name: str, X: Any) -> Sequences:
    """[n, channels, T] as [n, T, channels], or each of a list."""
    if isinstance(X, np.ndarray) and X.ndim == 3:
        return real_array(name, X).swapaxes(1, 2)
    return [real_array(name, x).T for x in X]


def numbered(name: str, raw: Raw) -> Raw:
    """`raw` with labels as arrays of numbers, and texts as their places among the training split's
    sorted texts. Raises ValueError, which calls the data `name`.
    """
    labels = {
        split: any_array(f"{name}: {split}", own)
        for split in LABELS
        if (own := getattr(raw, split)) is not None
    }
    texts = {split for split, own in labels.items() if own.dtype.kind in TEXTS}
    if not texts:
        return replace(raw, **labels)
    if "y" not in texts or len(texts) < len(labels):
        (other, *_) = [split for split in labels if split not in texts]
        raise ValueError(
            f"{name}: {min(texts)} holds texts, but {other} does not: labels must be texts in "
            "every split or in none."
        )
    classes = tuple(np.unique(labels["y"]).tolist())
    for split, own in labels.items():
        unknown = sorted(set(own.ravel().tolist()) - set(classes))
        if unknown:
            raise ValueError(
                f"{name}: the class {unknown[0]!r} of the {split.removeprefix('y_')} split is not "
                "in the training split."
            )
        labels[split] = places(name, own, classes)
    return replace(raw, **labels, classes=classes)


def _from_npz(path: Path) -> Raw:
    try:
        arrays = read_npz(path, (*SAMPLES, *LABELS))
    except Objects as error:
        raise ValueError(
            f"{path}: some array in it holds Python objects, which are not read from files; "
            "write it as numbers or texts, as y.astype(str) makes them of labels."
        ) from error
    except Expands as error:
        raise ValueError(
            f"{path}: it has {error}, which is more than an .npz file of samples needs; if it "
            "really holds so many equal numbers, write it with numpy.savez, without compression."
        ) from error
    except ValueError as error:
        raise ValueError(
            f"{path}: this is not an .npz file of numbers; write one with numpy.savez(path, X=..., "
            "y=...)."
        ) from error
    if "X" not in arrays:
        raise ValueError(f"{path}: it holds no array X; X [n, T, channels] are the samples.")
    return numbered(str(path), Raw(**{n: arrays.get(n) for n in (*SAMPLES, *LABELS)}))  # type: ignore[arg-type]


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
    (X, y), (X_test, y_test) = _read_ts(training), _read_ts(test) if test else (None, None)
    return numbered(str(training), Raw(X, y, X_test=X_test, y_test=y_test))


def _read_ts(path: Path) -> tuple[Sequences, NDArray[Any]]:
    from aeon.datasets import load_from_ts_file

    if not path.is_file():
        raise FileNotFoundError(2, "No such file or directory", str(path))
    _check_channels(path)
    try:
        X, y, *_ = load_from_ts_file(str(path))
    except Exception as error:  # whatever happens to a reader that trusts its files
        raise ValueError(f"{path}: aeon cannot read it as a .ts file: {error}") from error
    if len(X) == 0:
        raise ValueError(f"{path}: aeon finds no sequences in it; is it a .ts file?")
    return _turned(f"{path}: X", X), y


def _check_channels(path: Path) -> None:
    """ValueError for a sequence with more values than letters, if all its channels were as long as
    the first: aeon takes memory for that before it looks."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            length = line.partition(b":")[0].count(b",") + 1
            if length * line.count(b":") > len(line):
                raise ValueError(
                    f"{path}: in line {number} the first channel has {length:,} values and others "
                    "have fewer, but all channels of a sequence have one length."
                )
