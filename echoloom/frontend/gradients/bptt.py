"""Backpropagation through time: the gradient that every other one is measured against."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from echoloom.frontend.data.arrays import whole_number
from echoloom.frontend.data.samples import check_sequence
from echoloom.frontend.gradients.batch import Loss, ValueAndGradient, of_batches
from echoloom.frontend.gradients.loss import sequence_loss
from echoloom.frontend.gradients.rhel.dynamics import split_potential
from echoloom.frontend.gradients.rhel.forward import forward
from echoloom.frontend.gradients.rhel.objective import objective
from echoloom.frontend.models.check import check
from echoloom.frontend.models.hssm import HSSM


def bptt_gradient(model: HSSM, x: jax.Array, label: jax.Array | int) -> HSSM:
    """d loss / d raw parameters of one sequence x [T, inputs], label as in `loss.loss`.

    Returns what `eqx.filter_grad` would: a pytree like `model` with None where it has no array of
    floats, and zeros at the frozen norm statistics. Memory grows with T. Raises ValueError for
    shapes that do not fit the model and a label that is none of its classes; where the label is
    traced, the gradient is NaN then.
    """
    return _gradient(model, *check_sequence(model, x, label))


# The label is an array by here: a Python integer would be compiled in, once for each class.
@eqx.filter_jit
def _gradient(model: HSSM, x: jax.Array, label: jax.Array) -> HSSM:
    parameters, frozen = eqx.partition(model, eqx.is_inexact_array)
    return jax.grad(lambda own: sequence_loss(eqx.combine(own, frozen), x, label))(parameters)


def bptt_value_and_grad(
    model: HSSM, loss: Loss | None = None, *, rematerialise: int | None = None
) -> ValueAndGradient:
    """A function (model, X, y) -> (value, gradient) through time; X, y and `loss` as in
    `rhel_value_and_grad`.

    Memory grows with T: every step is kept. `rematerialise` K keeps the states of every K-th step
    alone and makes the rest again, chunk by chunk as `rhel_value_and_grad` does; memory still
    grows, 1 / K as fast. Raises ValueError, in one sentence, for a model that `check` refuses, for
    K < 1, and for shapes that do not fit the model.
    """
    check(model)
    if rematerialise is not None:
        rematerialise = whole_number("bptt_value_and_grad: rematerialise", rematerialise, least=1)
    return of_batches(model, lambda called, X, y: _learn(called, X, y, loss, rematerialise))


@eqx.filter_jit
def _learn(
    model: HSSM, X: jax.Array, y: jax.Array, loss: Loss | None, rematerialise: int | None
) -> tuple[jax.Array, HSSM]:
    parameters, frozen = eqx.partition(model, eqx.is_inexact_array)

    def mean(own: HSSM) -> jax.Array:
        full = eqx.combine(own, frozen)

        def one(x: jax.Array, label: jax.Array) -> jax.Array:
            if rematerialise is None:
                return sequence_loss(full, x, label, loss)
            return _in_chunks(full, x, label, loss, rematerialise)

        return jnp.mean(jax.vmap(one)(X, y))

    return jax.value_and_grad(mean)(parameters)


@eqx.filter_jit
def per_sequence(model: HSSM, X: jax.Array, y: jax.Array, rematerialise: int | None) -> HSSM:
    """`bptt_gradient` of every sequence of X [n, T, inputs] with y, all of which fit the model: a
    first axis [n] on every array."""
    parameters, frozen = eqx.partition(model, eqx.is_inexact_array)

    def loss(own: HSSM, x: jax.Array, label: jax.Array) -> jax.Array:
        full = eqx.combine(own, frozen)
        if rematerialise is None:
            return sequence_loss(full, x, label)
        return _in_chunks(full, x, label, None, rematerialise)

    return jax.vmap(jax.grad(loss), (None, 0, 0))(parameters, X, y)


def _in_chunks(
    model: HSSM, x: jax.Array, label: jax.Array, loss: Loss | None, chunk: int
) -> jax.Array:
    """The loss of one sequence, whose derivative makes every chunk again."""
    coefficients = model.resolve()
    splits = tuple(split_potential(block) for block in coefficients.blocks)
    target = objective(model, loss, label, x.shape[0])
    _, total, _ = forward(coefficients, splits, target, x, chunk, rematerialise=True)
    return target.value(coefficients.head, total)
