"""How good the fabric's gradients are: figures against float64 backpropagation through time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from echoloom.backends.compile.figures import (
    BatchQuality,
    TensorQuality,
    integer_quality,
    quality_of,
    worse,
)
from echoloom.backends.compile.program import CompiledProgram
from echoloom.frontend.data.samples import check_samples, host_sequence
from echoloom.frontend.gradients.bptt import bptt_gradient
from echoloom.frontend.gradients.exact import Tensors, exact_gradients, tensors
from echoloom.frontend.models.stack import float64


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
                worst[name] = worse(worst.get(name), quality_of(value, exact[name]))
    return worst


def batch_quality(
    program: CompiledProgram, X: Any, y: Any, exact: Tensors | None = None
) -> BatchQuality:
    """How good a program's gradients are on every sequence of X [n, T, inputs] with labels y [n]
    or targets y [n, T', outputs], all run together.

    `exact`: what `exact_gradients` gave for the same model and data; worked out if it is None.
    ValueError for what does not fit the model, InputRange (a ValueError) for samples outside the
    calibrated range.
    """
    X, y = check_samples(program.model, X, y)
    X = X.astype(np.float64)
    exact = exact_gradients(program.model, X, y) if exact is None else exact
    return integer_quality(program.artifact, program.folded, program.model, X, y, exact)


def fixed_accuracy(program: CompiledProgram, samples: Any, labels: Any) -> float:
    """Fraction of samples [n, T, inputs] that the integers classify as labels [n] say.

    Raises ValueError for samples and labels that do not fit the model.
    """
    X, y = check_samples(program.model, samples, labels)
    hits = [int(np.argmax(program.predict(x))) == label for x, label in zip(X, y, strict=True)]
    return sum(hits) / len(hits)
