"""How good the fabric's gradients are: figures against float64 backpropagation through time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from echoloom.backends.compile.program import CompiledProgram
from echoloom.frontend.data.samples import check_samples, host_sequence
from echoloom.frontend.energy.jaxpr import path_name
from echoloom.frontend.gradients.bptt import bptt_gradient
from echoloom.frontend.models.hssm import HSSM, trainable
from echoloom.frontend.models.stack import float64


@dataclass(frozen=True)
class TensorQuality:
    """Worst over sequences: cosine similarity, and the norm ratio farthest from 1."""

    cosine: float
    norm_ratio: float


def gradient_quality(
    program: CompiledProgram, xs: Sequence[Any], labels: Sequence[Any]
) -> dict[str, TensorQuality]:
    """Every trainable tensor's worst figures over sequences xs[i] [T, inputs] with labels[i]."""
    worst: dict[str, TensorQuality] = {}
    with jax.enable_x64(True):
        model = float64(program.model)
        for x, label in zip(xs, labels, strict=True):
            x, label = host_sequence(model, x, label)
            exact = tensors(bptt_gradient(model, jnp.asarray(x), jnp.asarray(label)))
            for name, value in tensors(program.gradient(x, label)).items():
                worst[name] = _worse(worst.get(name), _quality(value, exact[name]))
    return worst


def tensors(gradient: HSSM) -> dict[str, np.ndarray]:
    """What of a gradient is learned by, in float64 by its path in the model."""
    learned = eqx.filter(gradient, trainable(gradient))
    leaves = jax.tree_util.tree_leaves_with_path(learned)
    return {path_name(path): np.asarray(leaf, np.float64) for path, leaf in leaves}


def _quality(value: np.ndarray, exact: np.ndarray) -> TensorQuality:
    value, exact = np.ravel(value), np.ravel(exact)
    norms = float(np.linalg.norm(value)), float(np.linalg.norm(exact))
    if norms[1] == 0.0:
        return TensorQuality(1.0, 1.0) if norms[0] == 0.0 else TensorQuality(0.0, float("inf"))
    if norms[0] == 0.0:
        return TensorQuality(0.0, 0.0)
    return TensorQuality(float(value @ exact) / (norms[0] * norms[1]), norms[0] / norms[1])


def _worse(a: TensorQuality | None, b: TensorQuality) -> TensorQuality:
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
        result = _worse(result, value)
    return result


def fixed_accuracy(program: CompiledProgram, samples: Any, labels: Any) -> float:
    """Fraction of samples [n, T, inputs] that the integers classify as labels [n] say.

    Raises ValueError for samples and labels that do not fit the model.
    """
    X, y = check_samples(program.model, samples, labels)
    hits = [int(np.argmax(program.predict(x))) == label for x, label in zip(X, y, strict=True)]
    return sum(hits) / len(hits)
