"""Gradients over batches: `eqx.filter_value_and_grad` of the mean loss, by echo or through time."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

from echoloom.frontend.check import check
from echoloom.frontend.data import check_sequence
from echoloom.frontend.hssm import HSSM, trainable
from echoloom.frontend.loss import cross_entropy, squared_error
from echoloom.frontend.rhel import rhel_gradient

Loss = Callable[[jax.Array, jax.Array], jax.Array]
ValueAndGradient = Callable[[HSSM, jax.Array, jax.Array], tuple[jax.Array, HSSM]]


def _value(model: HSSM, loss: Loss | None, x: jax.Array, label: jax.Array) -> jax.Array:
    label = check_sequence(model, x, label)
    found = model(x)
    if model.task == "classification":
        return (loss or cross_entropy)(found, label)
    if loss is None:
        return squared_error(found, label)
    return jnp.mean(jax.vmap(loss)(found, label))


def bptt_value_and_grad(
    model: HSSM, loss: Loss | None = None, *, rematerialise: int | None = None
) -> ValueAndGradient:
    """(model, X, y) -> (mean loss, gradient) through time."""
    check(model)

    def value_and_grad(model: HSSM, X: jax.Array, y: jax.Array) -> tuple[jax.Array, HSSM]:
        parameters, frozen = eqx.partition(model, trainable(model))

        def mean(own: HSSM) -> jax.Array:
            full = eqx.combine(own, frozen)
            if X.ndim == 2:
                return _value(full, loss, X, y)
            return jnp.mean(jax.vmap(lambda x, label: _value(full, loss, x, label))(X, y))

        return jax.value_and_grad(mean)(parameters)

    return value_and_grad


def rhel_value_and_grad(
    model: HSSM,
    loss: Loss | None = None,
    *,
    chunk: int = 128,
    echoes: str = "renormalised",
    epsilon: float | jax.Array | None = None,
) -> ValueAndGradient:
    """(model, X, y) -> (mean loss, gradient) by the echo."""
    check(model)
    if loss is not None:
        return bptt_value_and_grad(model, loss)

    def value_and_grad(model: HSSM, X: jax.Array, y: jax.Array) -> tuple[jax.Array, HSSM]:
        if X.ndim == 2:
            return _value(model, None, X, y), rhel_gradient(model, X, y, epsilon)
        values = jax.vmap(lambda x, label: _value(model, None, x, label))(X, y)
        gradients = jax.vmap(lambda x, label: rhel_gradient(model, x, label, epsilon))(X, y)
        return jnp.mean(values), jax.tree.map(lambda g: jnp.mean(g, axis=0), gradients)

    return value_and_grad
