"""The losses of the paper's experiments (arXiv 2506.05259, section 4), for one sequence."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from echoloom.frontend.data.samples import check_sequence
from echoloom.frontend.gradients.batch import Loss
from echoloom.frontend.models.hssm import HSSM


def only_classes(loss: Loss) -> Loss:
    """`loss` of logits and a class, NaN with its gradient where the label is no class.

    A label that is being traced cannot be refused, and indexing would take another class for it.
    """

    def checked(logits: jax.Array, label: jax.Array) -> jax.Array:
        is_class = (label >= 0) & (label < logits.shape[0])
        return loss(logits, label) * jnp.where(is_class, 1.0, jnp.nan).astype(logits.dtype)

    return checked


def cross_entropy(logits: jax.Array, label: jax.Array) -> jax.Array:
    """Softmax cross entropy of logits [classes] and label (an integer scalar) -> scalar >= 0.

    NaN, as is its gradient, for a label that is none of the classes 0, 1, ...

    Written with differences to the label's logit: the usual softmax minus one-hot rounds the loss
    and the label's gradient to zero as soon as the other classes together fall below the float's
    epsilon, long before learning from them stops to matter.
    """
    return only_classes(_cross_entropy)(logits, label)


def _cross_entropy(logits: jax.Array, label: jax.Array) -> jax.Array:
    others = jnp.arange(logits.shape[0]) != label
    margins = jnp.where(others, logits - logits[label], -jnp.inf)
    return jax.nn.softplus(jax.nn.logsumexp(margins))


def squared_error(predictions: jax.Array, targets: jax.Array) -> jax.Array:
    """Mean over emitted steps and outputs: predictions and targets [steps, outputs] -> scalar."""
    return jnp.mean((predictions - targets) ** 2)


def loss(model: HSSM, x: jax.Array, label: jax.Array | int) -> jax.Array:
    """The loss of one sequence x [T, inputs] -> scalar.

    label: the class (classification), or targets [T // output_step, outputs] (regression). Raises
    ValueError for shapes that do not fit the model and for a label that is none of its classes;
    where the label is traced, the loss is NaN then.
    """
    return sequence_loss(model, *check_sequence(model, x, label))


def sequence_loss(
    model: HSSM, x: jax.Array, label: jax.Array, own: Loss | None = None
) -> jax.Array:
    """`loss` of a sequence and a label that fit, or of `own` in its place."""
    found = model(x)
    if model.task == "classification":
        return (cross_entropy if own is None else only_classes(own))(found, label)
    targets = label.astype(found.dtype)
    return squared_error(found, targets) if own is None else jnp.mean(jax.vmap(own)(found, targets))
