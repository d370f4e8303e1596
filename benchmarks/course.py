"""Float64 derivatives along a course that float32 took: what a chaotic gradient is measured by.

Where rounding decides the course, a float32 gradient is that of another course than float64's. It
can still be right for its own: the states that were met are given, and the chain rule is applied to
the step at each of them, in float64.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

import echoloom as el
from echoloom.frontend import parts
from echoloom.frontend.coefficients import StackCoefficients
from echoloom.frontend.hssm import rest, trainable
from echoloom.frontend.loss import cross_entropy
from echoloom.frontend.parts import State
from echoloom.frontend.rhel import rows
from echoloom.frontend.rhel.dynamics import driven, flip, prepare, retrace, split_potential
from echoloom.frontend.rhel.forward import advance_chunk

CHUNK = 128
States = tuple[State, ...]


def references(model: el.HSSM, x: jax.Array, label: int) -> dict[str, el.HSSM]:
    """Gradients along the course of a forward pass step by step, and along that of an echo.

    Classification; x [T, inputs].
    """
    forward = _there(model, x)
    back, pooled = _back(model, x)
    return {
        "forward": _along(model, x, label, forward, _mean(model, x, forward)),
        "back": _along(model, x, label, back, pooled),
    }


@eqx.filter_jit
def _there(model: el.HSSM, x: jax.Array) -> States:
    """The states [T, m] before every step."""
    coefficients = model.resolve()

    def step(states: States, at: jax.Array) -> tuple[States, States]:
        return parts.advance(coefficients, states, at)[0], states

    return jax.lax.scan(step, rest(coefficients), x)[1]


@eqx.filter_jit
def _mean(model: el.HSSM, x: jax.Array, before: States) -> jax.Array:
    """The time mean [H] of the last block's outputs from these states."""
    coefficients = model.resolve()
    return jnp.mean(
        jax.vmap(lambda s, at: parts.advance(coefficients, s, at)[1])(before, x), axis=0
    )


@eqx.filter_jit
def _back(model: el.HSSM, x: jax.Array) -> tuple[States, jax.Array]:
    """The states [T, m] before every step as the echo's free copies meet them, and the mean of the
    last block's outputs on the way there. The chunks are the sweep's, so that rounding is too."""
    coefficients = model.resolve()
    splits = tuple(split_potential(block) for block in coefficients.blocks)
    pieces = x.reshape(-1, _length(x.shape[0]), x.shape[1])

    def there(carry: Any, piece: jax.Array) -> tuple[Any, None]:
        states, h = advance_chunk(coefficients, splits, carry[0], piece)
        return (states, carry[1] + jnp.sum(h, axis=0)), None

    def back(states: States, piece: jax.Array) -> tuple[States, States]:
        h, after, seen = rows.affine(coefficients.encoder, piece), [], []
        for block, split, state in zip(coefficients.blocks, splits, states, strict=True):
            u = rows.drive(block, h)
            prepared = prepare(split, block.unit, u)
            state, met = retrace(driven(block, split, prepared.lasting), state, prepared.timed)
            h = rows.mix(block, met.q, u, h)
            after.append(state)
            seen.append(met)
        return tuple(after), tuple(seen)

    start = (rest(coefficients), jnp.zeros_like(coefficients.encoder.bias))
    (states, total), _ = jax.lax.scan(there, start, pieces)
    flipped = tuple(flip(state) for state in states)
    first, met = jax.lax.scan(back, flipped, pieces, reverse=True)

    def before(end: jax.Array, rows: jax.Array) -> jax.Array:
        # Before a step is after the one before it.
        flat = rows.reshape(-1, rows.shape[-1])
        return jnp.concatenate([end[None], flat[:-1]])

    found = jax.tree.map(before, first, met)
    return tuple(flip(state) for state in found), total / x.shape[0]


def _length(steps: int) -> int:
    """The chunk that the sweep takes."""
    return max(d for d in range(1, CHUNK + 1) if steps % d == 0)


def _along(model: el.HSSM, x: jax.Array, label: int, before: States, mean: jax.Array) -> el.HSSM:
    """The gradient along given states, in float64."""
    wide, *others = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), (model, x, before, mean))
    return _chain(wide, *others, label=jnp.asarray(label))


@eqx.filter_jit
def _chain(
    model: el.HSSM, x: jax.Array, before: States, mean: jax.Array, label: jax.Array
) -> el.HSSM:
    parameters, frozen = eqx.partition(model, trainable(model))
    coefficients, back = jax.vjp(lambda own: eqx.combine(own, frozen).resolve(), parameters)
    in_head, error = jax.grad(
        lambda head, at: cross_entropy(parts.head(head, at), label), argnums=(0, 1)
    )(coefficients.head, mean)

    def step(carry: Any, now: Any) -> tuple[Any, None]:
        adjoint, total = carry
        at, states = now
        _, pull = jax.vjp(lambda own, s: parts.advance(own, s, at), coefficients, states)
        here, adjoint = pull((adjoint, error / x.shape[0]))
        return (adjoint, jax.tree.map(jnp.add, total, here)), None

    silent: StackCoefficients = jax.tree.map(jnp.zeros_like, coefficients)
    start = (rest(coefficients), eqx.tree_at(lambda own: own.head, silent, in_head))
    (_, gradient), _ = jax.lax.scan(step, start, (x, before), reverse=True)
    return back(gradient)[0]
