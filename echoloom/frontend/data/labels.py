"""Labels of a classification as whole numbers from 0, whatever they were written as."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from echoloom.frontend.data.arrays import TEXTS, any_array, jax_array, known
from echoloom.frontend.data.interface import Interface


def class_label(model: Interface, label: Any) -> jax.Array:
    """The class of one sequence, which may be traced.

    Raises ValueError for what is no whole number, and where it is known for what is none of the
    model's classes or of their names.
    """
    found = jax_array("label", class_labels("label", model, label) if known(label) else label)
    if found.shape != () or not jnp.issubdtype(found.dtype, jnp.integer):
        raise ValueError(
            f"label: it is {found.dtype}{list(found.shape)}, but classification takes one whole "
            "number."
        )
    return found


def class_labels(name: str, model: Interface, labels: Any) -> NDArray[Any]:
    """Whole numbers that are classes of `model`, of any shape; its classes' names may stand for
    them. What is no whole number stays as it is. Raises ValueError, which calls them `name`.
    """
    found = any_array(name, labels)
    if found.dtype.kind in TEXTS:
        found = places(name, found, model.classes)
    if found.dtype.kind not in "iu":
        return found
    _check_range(name, found, model.outputs)
    return found.astype(np.int64)


def places(name: str, texts: NDArray[Any], classes: tuple[str, ...]) -> NDArray[np.int64]:
    """The place of each text among `classes`. Raises ValueError for one that is not there."""
    if not classes:
        raise ValueError(
            f"{name}: {_example(texts)} is a text, but the classes of this model have no names: "
            "give whole numbers from 0, as `names, y = numpy.unique(y, return_inverse=True)` "
            "makes them, or give the model names with HSSM(..., classes=names)."
        )
    order = {own: place for place, own in enumerate(classes)}
    unknown = sorted(set(texts.ravel().tolist()) - set(order))
    if unknown:
        raise ValueError(
            f"{name}: there is no class {unknown[0]!r}; the classes are {named(classes)}."
        )
    found = [order[text] for text in texts.ravel().tolist()]
    return np.array(found, np.int64).reshape(texts.shape)


def one_a_sequence(labels: NDArray[Any]) -> NDArray[Any]:
    """Labels [n] of columns [n, 1] and of one-hot rows [n, classes]; others stay as they are."""
    if labels.ndim != 2 or not labels.size:
        return labels
    if labels.shape[1] == 1:
        return labels[:, 0]
    if labels.dtype.kind in TEXTS:
        return labels
    hot = labels == 1
    whole = np.all(hot | (labels == 0)) and np.all(hot.sum(axis=1) == 1)
    return hot.argmax(axis=1) if whole else labels


def named(classes: tuple[str, ...]) -> str:
    """A few classes for a sentence."""
    shown = ", ".join(repr(str(own)) for own in classes[:5])
    return shown if len(classes) <= 5 else f"{shown} and {len(classes) - 5} others"


def _check_range(name: str, labels: NDArray[Any], classes: int) -> None:
    bad = np.argwhere((labels < 0) | (labels >= classes))
    if len(bad):
        at = f" at {bad[0].tolist()}" if labels.ndim else ""
        raise ValueError(
            f"{name}: {labels[tuple(bad[0])]}{at} is out of range; the classes of this model are "
            f"0 to {classes - 1}."
        )


def _example(texts: NDArray[Any]) -> str:
    return repr(texts.ravel()[0].item()) if texts.size else "an empty array of texts"
