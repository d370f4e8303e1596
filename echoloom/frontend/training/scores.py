"""What a model is worth on a split: its loss, and its accuracy or squared error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.sharding import Mesh
from numpy.typing import NDArray

from echoloom.frontend.data.data_sets import Data
from echoloom.frontend.data.samples import check_classes
from echoloom.frontend.gradients.loss import cross_entropy, squared_error
from echoloom.frontend.models.hssm import HSSM
from echoloom.frontend.training.devices import share_outputs

Outputs = Callable[[HSSM, jax.Array], jax.Array]


@dataclass(frozen=True)
class Score:
    """Of one split: the mean loss, and the accuracy or the mean squared error in the data's units.

    They differ for a regression whose targets were scaled: the loss is of the scaled ones.
    """

    loss: float
    measure: float


# From a model and the names of splits to the scores of those that the data have.
Scorer = Callable[[HSSM, tuple[str, ...]], dict[str, Score]]


def measure_name(task: str) -> str:
    """What `Score.measure` is: the larger the better for an accuracy only."""
    return "accuracy" if task == "classification" else "squared_error"


def make_scorer(data: Data, batch: int, mesh: Mesh | None = None) -> Scorer:
    """What scores models on `data`.

    It takes `batch` sequences at once, so that its memory does not grow with the split.
    """
    outputs: Outputs = eqx.filter_jit(share_outputs(lambda model, X: jax.vmap(model)(X), mesh))

    def scores(model: HSSM, splits: tuple[str, ...]) -> dict[str, Score]:
        return {
            name: _score(outputs, model, X, y, batch, data.target_scale)
            for name, (X, y) in data.splits().items()
            if name in splits and y is not None
        }

    return scores


@jax.jit
def _losses(found: jax.Array, labels: jax.Array) -> jax.Array:
    measure = cross_entropy if found.ndim == 2 else squared_error
    return jax.vmap(measure)(found, labels)


def _score(
    outputs: Outputs,
    model: HSSM,
    X: NDArray[Any],
    y: NDArray[Any],
    batch: int,
    scale: NDArray[np.float64] | None,
) -> Score:
    dtype = model.encoder.weight.dtype
    parts = []
    for start in range(0, len(X), batch):
        part = X[start : start + batch].astype(dtype)
        # Filled up: one more size would be compiled for it.
        missing = [(0, batch - len(part)), (0, 0), (0, 0)]
        parts.append(np.asarray(outputs(model, np.pad(part, missing)))[: len(part)])  # type: ignore[arg-type]
    found = np.concatenate(parts)
    if model.task == "classification":
        y = check_classes(model, y, len(X))
        losses = _losses(found, y)  # type: ignore[arg-type]
        return Score(_mean(losses), _mean(found.argmax(axis=1) == y))
    losses = _losses(found, y.astype(dtype))  # type: ignore[arg-type]
    error = (found - y.astype(np.float64)) * (1.0 if scale is None else scale)
    return Score(_mean(losses), _mean(error**2))


def _mean(values: Any) -> float:
    """In float64, whatever the values are in."""
    return float(np.mean(values, dtype=np.float64))
