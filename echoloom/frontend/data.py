"""Refusals of data that a model cannot take, before it costs an hour or a silent NaN."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

if TYPE_CHECKING:
    from echoloom.frontend.hssm import HSSM


def check_input(model: HSSM, x: jax.Array) -> None:
    """Raises ValueError unless x is [T, inputs] with steps enough for one output."""
    if x.ndim != 2 or x.shape[1] != model.inputs or x.shape[0] < model.output_step:
        raise ValueError(
            f"input: its shape is {list(x.shape)}, but this model takes [T, {model.inputs}] "
            f"with T >= {model.output_step}."
        )


def check_sequence(model: HSSM, x: jax.Array, label: ArrayLike) -> jax.Array:
    """The label of one sequence as an array; looks at shapes and types only, so it traces.

    Raises ValueError unless x is [T, inputs] and label is an integer scalar (classification) or
    targets [T // output_step, outputs] (regression): a target of another shape would broadcast.
    """
    check_input(model, x)
    found = jnp.asarray(label)
    if model.task == "classification":
        if found.shape != () or not jnp.issubdtype(found.dtype, jnp.integer):
            raise ValueError(
                f"label: it is {found.dtype}{list(found.shape)}, but classification takes one "
                "whole number."
            )
        return found
    wanted = (x.shape[0] // model.output_step, model.outputs)
    if found.shape != wanted:
        raise ValueError(
            f"label: its shape is {list(found.shape)}, but the targets of {x.shape[0]} steps have "
            f"shape {list(wanted)}."
        )
    return found.astype(x.dtype)


def check_values(model: HSSM, x: np.ndarray, label: np.ndarray | None) -> None:
    """Raises ValueError unless the numbers of one sequence are usable; shapes are checked before.

    x and targets must be finite, and a class must be one of the model's.
    """
    check_numbers("input", x)
    if label is None:
        return
    if model.task == "regression":
        check_numbers("label", label)
    elif not 0 <= label < model.outputs:
        raise ValueError(
            f"label: {label} is out of range; the classes of this model are 0 to "
            f"{model.outputs - 1}."
        )


def check_samples(model: HSSM, samples: ArrayLike, labels: ArrayLike) -> None:
    """Raises ValueError, in one sentence, unless the data set fits the model.

    samples: finite, [N, T, inputs] with N >= 1. labels: whole numbers [N] in 0 .. outputs - 1
    (classification), or finite targets [N, T // output_step, outputs] (regression).
    """
    x, y = np.asarray(samples), np.asarray(labels)
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
    if model.task == "classification":
        _check_classes(y, x.shape[0], model.outputs)
        return
    wanted = (x.shape[0], x.shape[1] // model.output_step, model.outputs)
    if y.shape != wanted:
        raise ValueError(
            f"labels: the shape is {list(y.shape)}, but targets of shape {list(wanted)} are needed."
        )
    check_numbers("labels", y)


def check_numbers(name: str, array: np.ndarray) -> None:
    """Raises ValueError, which calls the array `name`, unless it holds finite real numbers."""
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{name}: the type is {array.dtype}, but real numbers are needed.")
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        raise ValueError(
            f"{name}: {array[tuple(bad[0])]} at {bad[0].tolist()} ({len(bad)} in all), but every "
            "value must be finite."
        )


def _check_classes(labels: np.ndarray, count: int, classes: int) -> None:
    if labels.shape != (count,):
        raise ValueError(
            f"labels: the shape is {list(labels.shape)}, but one for each of {count} samples, "
            f"shape [{count}], is needed."
        )
    if labels.dtype.kind not in "iu":
        raise ValueError(f"labels: the type is {labels.dtype}, but whole numbers are needed.")
    bad = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(bad):
        raise ValueError(
            f"labels: {labels[bad[0]]} at [{bad[0]}] is out of range; the classes of this model "
            f"are 0 to {classes - 1}."
        )
