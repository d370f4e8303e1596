"""Data ready for a model: checked, of one length, normalised, with a validation split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from echoloom.frontend.data.arrays import real_array
from echoloom.frontend.data.labels import one_a_sequence, places
from echoloom.frontend.data.normalise import listed, mean_and_deviation, notes, range_to
from echoloom.frontend.data.samples import check_numbers
from echoloom.frontend.data.sources import LABELS, SAMPLES, Raw, Sequences, Splits, numbered

T = TypeVar("T", bound=Splits[Any])
Split = Literal["train", "validation", "test"]
Pad = Literal["refuse", "zero"]
TARGET_REACH = 0.9  # a regression's outputs are tanh: what it cannot reach it cannot learn


@dataclass(frozen=True, eq=False)
class Data(Splits[NDArray[Any]]):
    """Samples X [n, T, channels] with labels y [n] or targets y [n, T', outputs], where given.

    `mean` and `scale` [channels] are what samples were normalised with, (raw - mean) / scale in
    float64, and `constant` which of them never change and have scale 1; `target_centre` and
    `target_scale` [outputs] are the same of targets. `notes` are what a user should know, a line
    each.
    """

    mean: NDArray[np.float64] | None = None
    scale: NDArray[np.float64] | None = None
    target_centre: NDArray[np.float64] | None = None
    target_scale: NDArray[np.float64] | None = None
    constant: NDArray[np.bool_] | None = None
    notes: tuple[str, ...] = ()

    def split(self, name: Split | None) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Samples and labels of one split; of the test split, where there is one, for None."""
        found = self.splits()
        chosen: Split = name or ("test" if "test" in found else "train")
        if chosen not in found:
            raise ValueError(f"the data has no {chosen} split: it holds no X_{chosen}")
        return found[chosen]

    def splits(self) -> dict[Split, tuple[NDArray[Any], NDArray[Any] | None]]:
        """Samples and labels of the splits that are there."""
        given: dict[Split, tuple[NDArray[Any] | None, NDArray[Any] | None]] = {
            "train": (self.X, self.y),
            "validation": (self.X_validation, self.y_validation),
            "test": (self.X_test, self.y_test),
        }
        return {name: (X, y) for name, (X, y) in given.items() if X is not None}


def prepare(
    name: str,
    raw: Raw,
    *,
    normalise: bool = True,
    pad: Pad = "refuse",
    validation: float = 0.0,
    split_seed: int = 0,
    scale_targets: bool = False,
    task: str = "auto",
    classes: tuple[str, ...] = (),
) -> Data:
    """`raw`, which errors and notes call `name`, as a model takes it.

    validation: the part of the training split that is put aside, the same part of every class.
    normalise: mean 0 and deviation 1 of every channel over what is left of the training split; a
    channel that is constant there but for rounding is centred and not scaled. pad "zero": shorter
    sequences get zeros at their end, after normalising. scale_targets: the smallest and largest
    training target of every output become -0.9 and 0.9.

    Labels may be whole numbers, booleans or texts, [n], [n, 1] or one-hot [n, classes]; `classes`
    are a model's names of its own, in place of the sorted texts. One real number a sequence
    becomes a target [1, 1] unless `task` is "classification". Raises ValueError.
    """
    raw = _of_numbers(name, raw)
    for split in SAMPLES:
        if (samples := getattr(raw, split)) is not None:
            _check(f"{name}: {split}", samples, raw.X)
    raw, said = _with_labels(name, numbered(name, raw), task, classes)
    if validation:
        raw = _with_validation(name, raw, validation, split_seed)
    mean = scale = constant = None
    if normalise:
        found = mean_and_deviation(raw.X)
        mean, scale, constant = found.centre, found.scale, found.constant
        raw = _mapped(raw, SAMPLES, lambda _, own: _each(found.apply, own))
        said += notes(name, "channel", constant)
    raw = _of_one_length(name, raw, pad)
    data = Data(**vars(raw), mean=mean, scale=scale, constant=constant, notes=said)
    return _with_scaled_targets(name, data) if scale_targets else data


def _of_numbers(name: str, raw: Raw) -> Raw:
    """Samples as arrays of numbers, or lists of them."""

    def read(split: str, samples: Any) -> Sequences:
        ragged = isinstance(samples, np.ndarray) and samples.dtype == object and samples.ndim == 1
        if ragged or isinstance(samples, list | tuple):
            return [real_array(f"{name}: {split}", x) for x in samples]
        return real_array(f"{name}: {split}", samples)

    return _mapped(raw, SAMPLES, read)


def _mapped(data: T, names: Sequence[str], change: Callable[[str, Any], Any]) -> T:
    """`data` with change(name, what is there) in the places of these names that are filled."""
    given = {name: own for name in names if (own := getattr(data, name)) is not None}
    return replace(data, **{name: change(name, own) for name, own in given.items()})


def _each(change: Callable[[NDArray[Any]], Any], samples: Sequences) -> Any:
    return [change(x) for x in samples] if isinstance(samples, list) else change(samples)


def _check(name: str, samples: Sequences, first: Sequences) -> None:
    if isinstance(samples, list):
        shapes = {(x.ndim, x.shape[-1] if x.ndim else 0, 0 in x.shape) for x in samples}
        if len(shapes) != 1 or next(iter(shapes))[::2] != (2, False):
            raise ValueError(
                f"{name} holds no sequences, or some of differing channels or without steps, but "
                "each must be [T, channels]."
            )
    elif samples.ndim != 3 or 0 in samples.shape:
        raise ValueError(
            f"{name} has shape {list(samples.shape)}, but samples [n, T, channels] are needed, "
            "one at least."
        )
    channels, wanted = samples[0].shape[-1], first[0].shape[-1]
    if channels != wanted:
        raise ValueError(f"{name} has {channels} channels, but X has {wanted}.")
    for x in samples if isinstance(samples, list) else [samples]:
        check_numbers(name, x)


def _with_labels(
    name: str, raw: Raw, task: str, classes: tuple[str, ...]
) -> tuple[Raw, tuple[str, ...]]:
    """Labels [n] and targets [n, T', outputs], however they were written, and notes on them."""
    if raw.classes and task == "regression":
        raise ValueError(
            f"{name}: its labels are texts, such as {raw.classes[0]!r}, but a regression needs "
            "targets, which are numbers."
        )
    given = {split: own for split in LABELS if (own := getattr(raw, split)) is not None}
    if raw.classes and classes:
        place = places(name, np.asarray(raw.classes), classes)
        given = {split: place[own] for split, own in given.items()}
        raw = replace(raw, classes=classes)
    labels = {split: _labels(own, task) for split, own in given.items()}
    raw = replace(raw, **labels)
    if not raw.classes and all(own.ndim == 1 and own.dtype.kind in "iu" for own in labels.values()):
        return raw, _unused(name, labels)
    return raw, ()


def _labels(y: NDArray[Any], task: str) -> NDArray[Any]:
    """Classes [n] as int64; one real number a sequence as one target at its end, [n, 1, 1]."""
    found = one_a_sequence(y) if task != "regression" else y[:, 0] if y.shape[1:] == (1,) else y
    if found.ndim != 1:
        return found
    if task == "regression" or (task == "auto" and found.dtype.kind == "f"):
        return found[:, None, None]
    return found.astype(np.int64) if found.dtype.kind in "iu" else found


def _unused(name: str, labels: dict[str, NDArray[Any]]) -> tuple[str, ...]:
    """A note on whole numbers below the largest label that no sequence has."""
    used = np.unique(np.concatenate([np.zeros(0, np.int64), *labels.values()]))
    if not len(used) or used[0] < 0 or used[-1] + 1 == len(used):
        return ()
    missing = np.setdiff1d(np.arange(min(used[-1], 2 * len(used))), used).tolist()
    return (f"{name}: no sequence has label {listed(missing)}, yet each is counted as a class",)


def _with_validation(name: str, raw: Raw, part: float, seed: int) -> Raw:
    """Some training sequences put aside: the same part of every class, or of all of them."""
    if raw.X_validation is not None:
        raise ValueError(f"{name}: it holds X_validation already, so leave `validation` out.")
    if raw.y is None:
        raise ValueError(f"{name}: it holds no labels, so there is nothing to validate with.")
    count, order = len(raw.X), np.random.default_rng(seed)
    groups = np.unique(raw.y, return_inverse=True)[1] if raw.y.ndim == 1 else np.zeros(count, int)
    if len(groups) != count:
        raise ValueError(f"{name}: there are {count} sequences, but {len(groups)} labels.")
    aside: list[int] = []
    for group in range(groups.max() + 1):
        members = order.permutation(np.flatnonzero(groups == group))
        aside += members[: round(part * len(members))].tolist()
    kept = np.setdiff1d(np.arange(count), aside)
    if not aside or not len(kept):
        raise ValueError(
            f"{name}: validation = {part} of {count} sequences leaves {len(kept)} for training and "
            f"{len(aside)} for validation, but both need one at least."
        )
    picked = np.sort(aside)
    return replace(
        raw,
        X=_pick(raw.X, kept), y=raw.y[kept],
        X_validation=_pick(raw.X, picked), y_validation=raw.y[picked],
    )  # fmt: skip


def _pick(samples: Sequences, index: NDArray[Any]) -> Sequences:
    return [samples[i] for i in index] if isinstance(samples, list) else samples[index]


def _of_one_length(name: str, raw: Raw, pad: Pad) -> Raw:
    """Training, validation and test samples, each one array [n, T, channels]."""
    splits = (raw.X, raw.X_validation, raw.X_test)
    if not any(isinstance(samples, list) for samples in splits):
        return raw
    lengths = [len(x) for samples in splits if samples is not None for x in samples]
    if pad != "zero" and min(lengths) != max(lengths):
        raise ValueError(
            f"{name}: its sequences have {min(lengths)} to {max(lengths)} steps; say pad = "
            '"zero" under [data] of a run file to fill them up with zeros.'
        )

    def filled(_: str, samples: Sequences) -> NDArray[Any]:
        return np.stack([np.pad(x, ((0, max(lengths) - len(x)), (0, 0))) for x in samples])

    return _mapped(raw, SAMPLES, filled)


def _with_scaled_targets(name: str, data: Data) -> Data:
    if data.y is None or data.y.ndim != 3 or data.y.dtype.kind not in "fiu":
        raise ValueError(f"{name}: scale_targets is for a regression's targets, but it has none.")
    found = range_to(TARGET_REACH, data.y)
    return replace(
        _mapped(data, LABELS, lambda _, y: found.apply(y)),
        target_centre=found.centre, target_scale=found.scale,
        notes=data.notes + notes(name, "target", found.constant),
    )  # fmt: skip
