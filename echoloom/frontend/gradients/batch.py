"""What every gradient of a batch takes and gives, whichever way it is found."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from echoloom.frontend.data.arrays import jax_array, known
from echoloom.frontend.data.labels import class_labels
from echoloom.frontend.data.samples import check_sequence
from echoloom.frontend.models.hssm import HSSM

# Of logits [classes] and a class, or of one step's prediction [outputs] and target [outputs].
Loss = Callable[[jax.Array, jax.Array], jax.Array]
# (model, X, y) -> (value, gradient), as `eqx.filter_value_and_grad` of a mean loss makes it.
ValueAndGradient = Callable[[HSSM, ArrayLike, ArrayLike], tuple[jax.Array, HSSM]]
# The same of X [B, T, inputs] and y [B, ...] that are known to fit.
Learn = Callable[[HSSM, jax.Array, jax.Array], tuple[jax.Array, HSSM]]


def check_batch(model: HSSM, X: ArrayLike, y: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """X [B, T, inputs] and its labels, one of a sequence X [T, inputs] too: B = 1.

    Raises ValueError, in one sentence, for others than the model takes. Of what is traced, shapes
    and types alone are looked at: a traced label that is no class makes loss and gradient NaN.
    """
    samples = jax_array("X", X)
    if model.task == "classification" and known(y):
        # Before they become JAX's, whose integers may be too short; what is JAX's stays in place.
        found = class_labels("y", model, y)
        y = y if isinstance(y, jax.Array) else found
    labels = jax_array("y", y)
    if samples.ndim == 2:
        samples, labels = samples[None], labels[None]
    if samples.ndim != 3 or 0 in samples.shape:
        raise ValueError(
            f"X: its shape is {list(samples.shape)}, but this model takes a sequence "
            f"[T, {model.inputs}] or a batch [B, T, {model.inputs}] of at least one."
        )
    if labels.ndim == 0 or labels.shape[0] != samples.shape[0]:
        raise ValueError(
            f"y: its shape is {list(labels.shape)}, but one label for each of "
            f"{samples.shape[0]} sequences is needed."
        )
    one = (jax.ShapeDtypeStruct(a.shape[1:], a.dtype) for a in (samples, labels))
    jax.eval_shape(lambda x, label: check_sequence(model, x, label), *one)
    return samples, labels


def of_batches(made: HSSM, learn: Learn) -> ValueAndGradient:
    """`learn` for batches that fit and for models of the stack that `made` is."""

    def value_and_grad(called: HSSM, X: ArrayLike, y: ArrayLike) -> tuple[jax.Array, HSSM]:
        check_same(made, called)
        return learn(called, *check_batch(called, X, y))

    return value_and_grad


def check_same(made: HSSM, called: HSSM) -> None:
    """Raises ValueError unless the model called with has the structure of the one made for."""

    def shapes(model: HSSM) -> object:
        arrays, others = eqx.partition(model, eqx.is_array)
        sizes = jax.tree.leaves(jax.tree.map(jnp.shape, arrays), is_leaf=_is_shape)
        return jax.tree.structure(model), sizes, jax.tree.leaves(others)

    if shapes(made) != shapes(called):
        raise ValueError(
            "model: it is another stack than the one that this function was made for; make a "
            "function for each."
        )


def _is_shape(node: object) -> bool:
    return isinstance(node, tuple)
