"""The integers' gradients in the recipes of Equinox's documents."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny_programs import samples

import echoloom as el
from echoloom.backends.gradients.batch_gradient import fixed_value_and_grad


def mean_loss(model: el.HSSM, X: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.mean(jax.vmap(lambda x, label: -jax.nn.log_softmax(model(x))[label])(X, y))


def test_they_have_what_filter_grad_has(classifier: el.CompiledProgram) -> None:
    model, X, y = classifier.model, samples()[:2], np.array([0, 2])
    wanted = eqx.filter_eval_shape(eqx.filter_grad(mean_loss), model, jnp.asarray(X), y)
    optim = optax.adam(1e-2)
    state: Any = optim.init(eqx.filter(model, eqx.is_inexact_array))
    found: list[Any] = [
        classifier.gradient(X[0], 0),
        fixed_value_and_grad(classifier)(model, X, y)[1],
        el.FixedGradient(model, X, y, lanes=2)(model, X, y).gradient,
    ]
    for gradient in found:
        assert jax.tree.structure(gradient) == jax.tree.structure(wanted)
        assert jax.tree.map(jnp.shape, gradient) == jax.tree.map(jnp.shape, wanted)
        assert not jnp.any(gradient.blocks[0].norm.mean) and jnp.any(gradient.head.weight)
        updates, after = optim.update(gradient, state)
        moved = eqx.apply_updates(model, updates)
        assert jax.tree.structure(after) == jax.tree.structure(state)
        assert eqx.tree_equal(moved.blocks[0].norm.variance, model.blocks[0].norm.variance)


def test_what_cannot_be_traced_says_so(classifier: el.CompiledProgram) -> None:
    X, y = samples()[:2], np.array([0, 2])
    gradient = fixed_value_and_grad(classifier)
    fixed = el.FixedGradient(classifier.model, X, y, lanes=2)
    for function in (gradient, fixed):
        with pytest.raises(ValueError, match="counted on the host, which jit, vmap and grad"):
            eqx.filter_jit(function)(classifier.model, jnp.asarray(X), jnp.asarray(y))


def test_an_empty_batch_is_refused(classifier: el.CompiledProgram) -> None:
    X, y = samples()[:0], np.zeros(0, np.int64)
    for work in (
        lambda: fixed_value_and_grad(classifier)(classifier.model, X, y),
        lambda: el.verify(classifier, X, levels=("jax",)),
        lambda: el.compile(classifier.model, X, y, lanes=2),
        lambda: el.FixedGradient(classifier.model, X, y, lanes=2),
    ):
        with pytest.raises(ValueError, match="at least one"):
            work()
