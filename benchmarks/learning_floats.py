"""Trainings in floats that `learning.py` compares a board's with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import echoloom as el
from echoloom.frontend.energy.jaxpr import path_name
from echoloom.frontend.gradients.loss import sequence_loss
from echoloom.frontend.models.hssm import trainable
from echoloom.ir.learning import Rule, ScaledUpdate

MOMENTUM = 7.0 / 8.0
Course = Iterator[tuple[el.HSSM, float]]


def accuracy(model: el.HSSM, X: np.ndarray, y: np.ndarray) -> float:
    """The share of sequences X [n, T, inputs] that the floats classify rightly."""
    return float(
        np.mean(np.argmax(np.asarray(_logits(model, jnp.asarray(X, jnp.float32))), 1) == y)
    )


@eqx.filter_jit
def _logits(model: el.HSSM, X: jax.Array) -> jax.Array:
    return jax.vmap(model)(X)


@eqx.filter_jit
def _adam_step(model: el.HSSM, state: Any, X: jax.Array, y: jax.Array, rate: jax.Array) -> Any:
    own, frozen = eqx.partition(model, trainable(model))
    loss, gradient = jax.value_and_grad(partial(_mean, frozen, X, y))(own)
    changes, state = optax.scale_by_adam().update(gradient, state)
    own = jax.tree.map(lambda w, change: w - rate * change, own, changes)
    return eqx.combine(own, frozen), state, loss


def adam_course(
    model: el.HSSM, X: np.ndarray, y: np.ndarray, order: np.ndarray, rate: float
) -> Course:
    """The model after each of Adam's steps of `rate`, on batches order [updates, batch], and the
    batch's loss before it."""
    state = optax.scale_by_adam().init(eqx.filter(model, trainable(model)))
    step = jnp.asarray(rate, jnp.float32)
    for batch in order:
        xs, labels = jnp.asarray(X[batch], jnp.float32), jnp.asarray(y[batch])
        model, state, loss = _adam_step(model, state, xs, labels, step)
        yield model, float(loss)


def rule_course(
    model: el.HSSM, X: np.ndarray, y: np.ndarray, order: np.ndarray, rule: Rule
) -> Course:
    """Likewise by a board's rule, on what a board lets learn. Weights are not rounded, and the
    norm's own scale and shift learn where the board has folded ones."""
    spec = _free(model)
    memory = jax.tree.map(jnp.zeros_like, eqx.filter(model, spec))
    kept = jnp.asarray(MOMENTUM if not isinstance(rule, ScaledUpdate) and rule.momentum else 0.0)
    along = _to_scale if isinstance(rule, ScaledUpdate) else jnp.sign
    for update, batch in enumerate(order):
        xs, labels = jnp.asarray(X[batch], jnp.float32), jnp.asarray(y[batch])
        step = jnp.asarray(rule.step * 2.0 ** -rule.halvings(update), jnp.float32)
        model, memory, loss = _rule_step(model, spec, memory, xs, labels, step, kept, along)
        yield model, float(loss)


def _to_scale(gradient: jax.Array) -> jax.Array:
    _, exponent = jnp.frexp(jnp.max(jnp.abs(gradient)))
    return jnp.ldexp(gradient, -exponent)


def _free(model: el.HSSM) -> Any:
    """True at what a board lets learn of the units of this benchmark."""
    frozen = {f"unit.{name}" for name in ("step", "stiffness", "weight", "gain", "alpha")}
    return jax.tree_util.tree_map_with_path(
        lambda path, learns: learns and ".".join(path_name(path).split(".")[-2:]) not in frozen,
        trainable(model),
    )


@eqx.filter_jit
def _rule_step(
    model: el.HSSM, spec: Any, memory: Any, X: jax.Array, y: jax.Array, step: jax.Array,
    kept: jax.Array, along: Callable[[jax.Array], jax.Array],
) -> Any:  # fmt: skip
    own, frozen = eqx.partition(model, spec)
    loss, gradient = jax.value_and_grad(partial(_mean, frozen, X, y))(own)
    memory = jax.tree.map(lambda m, g: kept * m + g, memory, gradient)
    own = jax.tree.map(lambda w, m: w - step * along(m), own, memory)
    return eqx.combine(own, frozen), memory, loss


def _mean(frozen: el.HSSM, X: jax.Array, y: jax.Array, own: el.HSSM) -> jax.Array:
    full = eqx.combine(own, frozen)
    return jnp.mean(jax.vmap(lambda x, label: sequence_loss(full, x, label))(X, y))
