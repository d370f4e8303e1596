"""Float64 derivatives along a course that float32 took: what a chaotic gradient is measured by.

Where rounding decides the course, a float32 gradient is that of another course than float64's. It
can still be right for its own: the states that were met are given, and the chain rule is applied to
the step at each of them, in float64.
"""

from __future__ import annotations

from typing import Any
from unittest import mock

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.experimental import io_callback

import echoloom as el
from echoloom.frontend.gradients.loss import cross_entropy
from echoloom.frontend.gradients.rhel import sweep
from echoloom.frontend.gradients.rhel.dynamics import retrace
from echoloom.frontend.gradients.rhel.objective import objective
from echoloom.frontend.gradients.rhel.sweep import Echoes, Plan
from echoloom.frontend.models import parts
from echoloom.frontend.models.coefficients import StackCoefficients
from echoloom.frontend.models.hssm import rest, trainable
from echoloom.frontend.models.parts import State

CHUNK = 128
States = tuple[State, ...]


def through_time(model: el.HSSM, x: jax.Array, label: int) -> tuple[el.HSSM, el.HSSM]:
    """Backpropagation's float32 gradient, and the derivative along the states that it met.

    Classification; x [T, inputs].
    """
    parameters, frozen = eqx.partition(model, trainable(model))

    def loss(own: el.HSSM) -> tuple[jax.Array, States]:
        coefficients = eqx.combine(own, frozen).resolve()

        def step(states: States, at: jax.Array) -> tuple[States, tuple[jax.Array, States]]:
            after, h = parts.advance(coefficients, states, at)
            return after, (h, states)

        _, (features, before) = jax.lax.scan(step, rest(coefficients), x)
        logits = parts.head(coefficients.head, jnp.mean(features, axis=0))
        return cross_entropy(logits, jnp.asarray(label)), before

    found, before = jax.jit(jax.grad(loss, has_aux=True))(parameters)
    return found, _along(model, x, before, found)


def by_echo(model: el.HSSM, x: jax.Array, label: int, echoes: Echoes) -> tuple[el.HSSM, el.HSSM]:
    """The echo's float32 gradient, and the derivative along the states that its free copies met."""
    heard: list[tuple[State, State]] = []

    def listen(*arguments: Any) -> tuple[State, State]:
        end, met = retrace(*arguments)
        io_callback(lambda *own: heard.append(own), None, end, met, ordered=True)
        return end, met

    @jax.jit
    def learn(parameters: el.HSSM) -> el.HSSM:
        whole = eqx.combine(parameters, frozen)
        coefficients, back = jax.vjp(lambda own: eqx.combine(own, frozen).resolve(), parameters)
        target = objective(whole, None, jnp.asarray(label), x.shape[0])
        return back(sweep.sweep(coefficients, target, x, Plan(CHUNK, echoes), None).gradient)[0]

    parameters, frozen = eqx.partition(model, trainable(model))
    # The very run that gives the gradient is listened to: another would round its own way.
    with mock.patch.object(sweep, "retrace", listen):
        found = jax.block_until_ready(learn(parameters))
        jax.effects_barrier()
    blocks = len(model.blocks)
    before = tuple(_before(heard[i::blocks]) for i in range(blocks))
    return found, _along(model, x, before, found)


def _before(chunks: list[tuple[State, State]]) -> State:
    """The states [T, m] before every step, unflipped, from chunks that came last one first.

    What a copy meets is the state after a step; before a step is after the one before it, and
    before the first one is where the copy ended, which need not be rest.
    """
    end, _ = chunks[-1]

    def shifted(last: jax.Array, rows: list[jax.Array]) -> jax.Array:
        return jnp.concatenate([jnp.asarray(last)[None], *map(jnp.asarray, rows[::-1])])[:-1]

    q, p = (shifted(end[i], [met[i] for _, met in chunks]) for i in (0, 1))
    return State(q, -p)


def _along(model: el.HSSM, x: jax.Array, before: States, found: el.HSSM) -> el.HSSM:
    """The gradient along the states [T, m] before every step, in float64, for `found`'s error at
    the head."""
    wide: Any = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), (model, x, before, found))
    return _chain(*wide)


@eqx.filter_jit
def _chain(model: el.HSSM, x: jax.Array, before: States, found: el.HSSM) -> el.HSSM:
    parameters, frozen = eqx.partition(model, trainable(model))
    coefficients, back = jax.vjp(lambda own: eqx.combine(own, frozen).resolve(), parameters)
    # The gradient by the head's bias is the error of the logits.
    error = found.head.bias @ coefficients.head.weight / x.shape[0]

    def step(carry: Any, now: Any) -> tuple[Any, None]:
        adjoint, total = carry
        at, states = now
        _, pull = jax.vjp(lambda own, s: parts.advance(own, s, at), coefficients, states)
        here, adjoint = pull((adjoint, error))
        return (adjoint, jax.tree.map(jnp.add, total, here)), None

    silent: StackCoefficients = jax.tree.map(jnp.zeros_like, coefficients)
    start = (rest(coefficients), eqx.tree_at(lambda own: own.head, silent, found.head))
    (_, gradient), _ = jax.lax.scan(step, start, (x, before), reverse=True)
    return back(gradient)[0]
