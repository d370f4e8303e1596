"""How good gradients are beside float64 backpropagation: cosines and norm ratios."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echoloom.backends.compile.raw_gradients import coefficient_gradients, raw_gradients
from echoloom.backends.run.batched import batch_run
from echoloom.backends.run.integers import Floats, Words
from echoloom.backends.run.levels import IntegerProgram
from echoloom.frontend.gradients.exact import Tensors, tensors
from echoloom.frontend.models.hssm import HSSM
from echoloom.frontend.models.stack import Folding
from echoloom.ir.flags import Flag
from echoloom.ir.host import FAILURES


@dataclass(frozen=True)
class TensorQuality:
    """Worst over sequences: cosine similarity, and the norm ratio farthest from 1."""

    cosine: float
    norm_ratio: float


def quality_of(value: np.ndarray, exact: np.ndarray) -> TensorQuality:
    """Of one tensor beside what it should be. One that should be zero is good where it is."""
    value, exact = np.ravel(value), np.ravel(exact)
    norms = float(np.linalg.norm(value)), float(np.linalg.norm(exact))
    if norms[1] == 0.0:
        return TensorQuality(1.0, 1.0) if norms[0] == 0.0 else TensorQuality(0.0, float("inf"))
    if norms[0] == 0.0:
        return TensorQuality(0.0, 0.0)
    return TensorQuality(float(value @ exact) / (norms[0] * norms[1]), norms[0] / norms[1])


def worse(a: TensorQuality | None, b: TensorQuality) -> TensorQuality:
    """The worse of either figure."""
    if a is None:
        return b
    farther = max(a.norm_ratio, b.norm_ratio, key=lambda ratio: abs(ratio - 1.0))
    return TensorQuality(min(a.cosine, b.cosine), farther)


def worst_of(quality: Mapping[str, TensorQuality] | Iterable[TensorQuality]) -> TensorQuality:
    """The worst figures over tensors."""
    values = list(quality.values() if isinstance(quality, Mapping) else quality)
    if not values:
        raise ValueError("no tensors to judge")
    result = values[0]
    for value in values[1:]:
        result = worse(result, value)
    return result


@dataclass(frozen=True, eq=False)
class BatchQuality:
    """Figures of every tensor, by its path in the model, and sequence: [n] each.

    Numbers of a sequence that `overflowed` mean nothing: its cosines are 0, its ratios infinite.
    `saturated`: signals were clamped on the way.
    """

    cosine: Mapping[str, Floats]
    norm_ratio: Mapping[str, Floats]
    overflowed: NDArray[np.bool_]
    saturated: NDArray[np.bool_]

    def by_tensor(self) -> dict[str, TensorQuality]:
        """Every tensor's worst figures over the sequences."""
        return {
            name: TensorQuality(
                float(cosine.min()), max(self.norm_ratio[name].tolist(), key=lambda r: abs(r - 1))
            )
            for name, cosine in self.cosine.items()
        }

    @property
    def worst(self) -> TensorQuality:
        """The worst figures over tensors and sequences."""
        return worst_of(self.by_tensor())


def integer_quality(
    integer: IntegerProgram, folding: Folding, model: HSSM, X: Floats, y: Any, exact: Tensors
) -> BatchQuality:
    """`batch_quality` of an integer program that no engine has been found for yet."""
    result = batch_run(integer, X, y)
    gradients = coefficient_gradients(integer, result, X.shape[1])
    found = tensors(raw_gradients(folding, model, gradients))
    return sequences_quality(found, exact, result.forward_flags | result.echo_flags)


def sequences_quality(found: Tensors, exact: Tensors, flags: Words) -> BatchQuality:
    """Figures of gradients by tensor, [n, ...] both, of runs that raised these Flag bits [n]."""
    lost = flags & FAILURES != 0
    cosine: dict[str, Floats] = {}
    ratio: dict[str, Floats] = {}
    for name, values in found.items():
        each = [quality_of(own, wanted) for own, wanted in zip(values, exact[name], strict=True)]
        cosine[name] = np.where(lost, 0.0, [q.cosine for q in each])
        ratio[name] = np.where(lost, np.inf, [q.norm_ratio for q in each])
    return BatchQuality(cosine, ratio, lost, flags & Flag.SATURATED != 0)
