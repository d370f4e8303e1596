"""Backpropagation through time: the gradient that every other one is measured against."""

from __future__ import annotations

import equinox as eqx
import jax

from echoloom.frontend.data import check_sequence
from echoloom.frontend.hssm import HSSM, trainable
from echoloom.frontend.loss import loss


def bptt_gradient(model: HSSM, x: jax.Array, label: jax.Array | int) -> HSSM:
    """d loss / d raw parameters of one sequence x [T, inputs], label as in `loss.loss`.

    Returns a pytree like `model`, with None where `trainable` is False. Memory grows with T.
    Raises ValueError for shapes that do not fit the model.
    """
    return _gradient(model, x, check_sequence(model, x, label))


# The label is an array by here: a Python integer would be compiled in, once for each class.
@eqx.filter_jit
def _gradient(model: HSSM, x: jax.Array, label: jax.Array) -> HSSM:
    parameters, frozen = eqx.partition(model, trainable(model))
    return jax.grad(lambda own: loss(eqx.combine(own, frozen), x, label))(parameters)
