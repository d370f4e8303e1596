"""float64 backpropagation through time of many sequences: what the integers are held against."""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from echoloom.frontend.data.samples import check_samples
from echoloom.frontend.energy.jaxpr import path_name
from echoloom.frontend.gradients.bptt import per_sequence
from echoloom.frontend.models.hssm import HSSM, trainable
from echoloom.frontend.models.stack import float64

Floats = NDArray[np.float64]
Tensors = dict[str, Floats]  # by path in the model
# Numbers that a sweep may keep for its way back. Beyond them the states of some steps are kept, the
# rest is made again.
KEPT = 1 << 27
PER_SIZE = 16  # that a step keeps of every hidden channel and oscillator, no more


def tensors(gradient: HSSM) -> Tensors:
    """What of a gradient is learned by, in float64 by its path in the model."""
    learned = eqx.filter(gradient, trainable(gradient))
    leaves = jax.tree_util.tree_leaves_with_path(learned)
    return {path_name(path): np.asarray(leaf, np.float64) for path, leaf in leaves}


def exact_gradients(model: HSSM, X: Any, y: Any) -> Tensors:
    """float64 gradients by every trainable tensor, [n, ...], of the loss of every sequence of
    X [n, T, inputs] with labels y [n] or targets y [n, T', outputs].

    Memory grows with T, and from some size on with its square root. ValueError, in one sentence,
    for samples and labels that do not fit the model.
    """
    X, y = check_samples(model, X, y)
    count, length = X.shape[:2]
    step = PER_SIZE * sum(model.hidden + state for state in model.states)
    together = max(1, min(count, KEPT // (step * length)))
    chunk = math.isqrt(length) if step * length > KEPT else None
    with jax.enable_x64(True):
        own = float64(model)
        pieces = [
            tensors(per_sequence(own, jnp.asarray(X[k : k + together], jnp.float64),
                                 jnp.asarray(y[k : k + together]), chunk))
            for k in range(0, count, together)
        ]  # fmt: skip
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def hard_answers(model: HSSM, X: Floats, targets: Floats | None) -> NDArray[Any]:
    """What leaves an error to learn from, whatever the model has learned: of every sequence of
    X [n, T, inputs] the least likely class [n], or the targets, or those farthest away."""
    with jax.enable_x64(True):
        found = np.asarray(_outputs(float64(model), jnp.asarray(X, jnp.float64)))
    if model.task == "classification":
        return found.argmin(-1)
    return -np.sign(found) if targets is None else targets


@eqx.filter_jit
def _outputs(model: HSSM, X: jax.Array) -> jax.Array:
    return jax.vmap(model)(X)
