"""A user's samples and labels as arrays that a model can take, or one sentence that says why not.

Refused here, before it costs an hour or a silent NaN.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from echoloom.frontend.data.arrays import jax_array, real_array
from echoloom.frontend.data.interface import Interface
from echoloom.frontend.data.labels import class_label, class_labels, one_a_sequence


def check_input(model: Interface, x: jax.Array | NDArray[Any]) -> None:
    """Raises ValueError unless x is [T, inputs] with steps enough for one output."""
    if x.ndim != 2 or x.shape[1] != model.inputs or x.shape[0] < model.output_step:
        raise ValueError(
            f"input: its shape is {list(x.shape)}, but this model takes [T, {model.inputs}] "
            f"with T >= {model.output_step}."
        )


def check_sequence(model: Interface, x: Any, label: Any) -> tuple[jax.Array, jax.Array]:
    """One sequence and its label for JAX, traced or not.

    Raises ValueError unless x is [T, inputs] and label one of the model's classes (classification)
    or targets [T // output_step, outputs] (regression): a target of another shape would broadcast.
    Of what is traced, shapes and types alone are looked at.
    """
    x = jax_array("input", x)
    check_input(model, x)
    if model.task == "classification":
        return x, class_label(model, label)
    targets = jax_array("label", label)
    _check_targets(model, x.shape[0], targets)
    return x, targets


def host_sequence(
    model: Interface, x: Any, label: Any = None
) -> tuple[NDArray[np.float64], NDArray[Any] | None]:
    """One sequence and its label, if there is one, for the integers' host: float64 and int64.

    Raises ValueError as `check_sequence`, and unless the numbers are finite.
    """
    x = real_array("input", x).astype(np.float64)
    check_input(model, x)
    check_numbers("input", x)
    if label is None:
        return x, None
    if model.task == "classification":
        return x, np.asarray(class_label(model, label), np.int64)
    targets = real_array("label", label).astype(np.float64)
    _check_targets(model, len(x), targets)
    check_numbers("label", targets)
    return x, targets


def host_chunk(model: Interface, x: Any) -> NDArray[np.float64]:
    """Some samples of a longer sequence, for the integers' host: float64 [k, inputs], k = 0 too.

    Raises ValueError for another shape, and unless the numbers are finite.
    """
    x = real_array("input", x).astype(np.float64)
    if x.ndim != 2 or x.shape[1] != model.inputs:
        raise ValueError(
            f"input: its shape is {list(x.shape)}, but a stream of this model takes "
            f"[k, {model.inputs}]."
        )
    check_numbers("input", x)
    return x


def window_label(model: Interface, label: Any, outputs: int) -> NDArray[Any]:
    """The label, or targets [outputs, ...], of the last steps of a stream, for the integers' host.

    Raises ValueError as `host_sequence`, and where there is no output to have a target for.
    """
    if model.task == "classification":
        return np.asarray(class_label(model, label), np.int64)
    targets = real_array("label", label).astype(np.float64)
    if not outputs:
        raise ValueError("a window of a stream needs an output in it to have a gradient")
    if targets.shape != (outputs, model.outputs):
        raise ValueError(
            f"label: its shape is {list(targets.shape)}, but the targets of this window have shape "
            f"{[outputs, model.outputs]}."
        )
    check_numbers("label", targets)
    return targets


def check_inputs(model: Interface, samples: Any) -> NDArray[Any]:
    """The samples of `check_samples`, alone."""
    x = real_array("samples", samples)
    if x.ndim != 3 or x.shape[2] != model.inputs:
        raise ValueError(
            f"samples: the shape is {list(x.shape)}, but this model takes [N, T, {model.inputs}]."
        )
    if x.shape[0] == 0 or x.shape[1] < model.output_step:
        raise ValueError(
            f"samples: there are {x.shape[0]} sequences of {x.shape[1]} steps, but at least one "
            f"of {model.output_step} or more is needed."
        )
    check_numbers("samples", x)
    return x


def check_samples(model: Interface, samples: Any, labels: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """A data set as arrays of numbers. Raises ValueError, in one sentence, for one that does not
    fit the model.

    samples: finite, [N, T, inputs] with N >= 1. labels: one of the model's classes for each, or
    its name, [N], [N, 1] or one-hot [N, outputs] (classification; [N] comes back), or finite
    targets [N, T // output_step, outputs] (regression).
    """
    x = check_inputs(model, samples)
    if model.task == "classification":
        return x, check_classes(model, labels, x.shape[0])
    y = real_array("labels", labels)
    wanted = (x.shape[0], x.shape[1] // model.output_step, model.outputs)
    if y.shape != wanted:
        raise ValueError(
            f"labels: the shape is {list(y.shape)}, but targets of shape {list(wanted)} are needed."
        )
    check_numbers("labels", y)
    return x, y


def check_classes(model: Interface, labels: Any, count: int) -> NDArray[np.int64]:
    """The classes [count] of as many sequences, as `check_samples` takes them."""
    written = class_labels("labels", model, labels)
    found = written
    if written.ndim == 2 and written.shape[1] in (1, model.outputs):
        found = one_a_sequence(written)
    if found.shape != (count,):
        raise ValueError(
            f"labels: the shape is {list(written.shape)}, but one for each of {count} samples, "
            f"shape [{count}], is needed."
        )
    if found.dtype.kind not in "iu":
        raise ValueError(f"labels: the type is {found.dtype}, but whole numbers are needed.")
    return found.astype(np.int64)


def check_numbers(name: str, array: NDArray[Any]) -> None:
    """Raises ValueError, which calls the array `name`, unless its numbers are finite."""
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        raise ValueError(
            f"{name}: {array[tuple(bad[0])]} at {bad[0].tolist()} ({len(bad)} in all), but every "
            "value must be finite."
        )


def _check_targets(model: Interface, steps: int, targets: jax.Array | NDArray[Any]) -> None:
    wanted = (steps // model.output_step, model.outputs)
    if targets.shape != wanted:
        raise ValueError(
            f"label: its shape is {list(targets.shape)}, but the targets of {steps} steps have "
            f"shape {list(wanted)}."
        )
