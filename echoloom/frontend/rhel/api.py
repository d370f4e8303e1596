"""One call for batches."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from echoloom.frontend.hssm import HSSM, trainable
from echoloom.frontend.rhel.objective import Loss, objective
from echoloom.frontend.rhel.sweep import Plan, sweep


@eqx.filter_jit
def learn(model: HSSM, X: jax.Array, y: jax.Array, loss: Loss | None, plan: Plan, epsilon):
    coefficients = model.resolve()

    def one(x, label):
        return sweep(coefficients, objective(model, loss, label, x.shape[0]), x, plan, epsilon)

    found = jax.vmap(one)(X, y)
    value, gradient = jax.tree.map(lambda a: jnp.mean(a, axis=0), (found.value, found.gradient))
    parameters, frozen = eqx.partition(model, trainable(model))
    _, back = jax.vjp(lambda own: eqx.combine(own, frozen).resolve(), parameters)
    return value, back(gradient)[0]
