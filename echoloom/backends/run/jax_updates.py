"""The rules of updates under JAX: all tensors of a program in one jitted function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from echoloom.backends.run.learning_run import Tensor
from echoloom.ir.learning import ScaledUpdate, SignUpdate, Update
from echoloom.ir.reports import PEAK_BITS
from echoloom.ir.update_rules import (
    DECAY,
    DECAY_SHIFT,
    INCREMENT,
    MULTIPLIER,
    NOISE_BITS,
)

Values = dict[str, jax.Array]
# Weights by name, sums by accumulator, signed steps, the generator's words by lane -> weights,
# sums, and of every tensor how many sums were clamped and its shift.
Step = Callable[[Any, Any, Any, Any], tuple[Values, Values, jax.Array, jax.Array]]


def update_step(rule: Update, tensors: Sequence[Tensor], word: int) -> Step:
    """A jitted update of these tensors by a rule."""
    scaled = isinstance(rule, ScaledUpdate)
    decays = isinstance(rule, SignUpdate) and rule.momentum

    def step(
        weights: Values, sums: Values, steps: jax.Array, keys: jax.Array
    ) -> tuple[Values, Values, jax.Array, jax.Array]:
        weights, sums, clamped, shifts = dict(weights), dict(sums), [], []
        noise = _noise(keys, sum(t.rows for t in tensors)) if scaled else None
        for number, t in enumerate(tensors):
            w, g = weights[t.name].astype(jnp.int64), sums[t.accumulator]
            shift = jnp.int64(0)
            if noise is None:
                total = w + t.lift + steps[number] * jnp.sign(g)
            else:
                peak = jax.lax.reduce(
                    g ^ (g >> 63), np.int64(0), jax.lax.bitwise_or, tuple(range(g.ndim))
                )
                shift = jnp.maximum(64 - PEAK_BITS - jax.lax.clz(peak), 0)
                small = _clipped(_rounded(g, shift), word)[0]
                chance = noise[t.first + t.row, t.lanes].reshape(w.shape)
                total = ((w + t.lift) << NOISE_BITS) + steps[number] * small + chance
                total = _rounded(total, jnp.int64(NOISE_BITS))
            lifted, over = _clipped(total, t.width)
            weights[t.name], again = _clipped(lifted - t.lift, t.width)
            if decays:
                coarse = _clipped(_rounded(g, jnp.int64(DECAY_SHIFT)), word)[0]
                sums[t.accumulator] = g - (coarse << (DECAY_SHIFT - DECAY))
            clamped.append(over.sum() + again.sum())
            shifts.append(shift)
        return weights, sums, jnp.stack(clamped), jnp.stack(shifts)

    return jax.jit(step)


def _rounded(x: jax.Array, shift: jax.Array) -> jax.Array:
    """x / 2**shift, half to even."""
    floor = x >> shift
    twice = (x - (floor << shift)) * 2
    whole = jnp.int64(1) << shift
    return floor + ((twice > whole) | ((twice == whole) & (floor & 1 == 1) & (shift > 0)))


def _clipped(x: jax.Array, width: int) -> tuple[jax.Array, jax.Array]:
    """A word of this width, and where x was none."""
    limit = (1 << width - 1) - 1
    return jnp.clip(x, -limit, limit), jnp.abs(x) > limit


def _noise(keys: jax.Array, rows: int) -> jax.Array:
    """The generator's words [rows, lanes]."""
    half = 1 << NOISE_BITS - 1

    def following(x: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        x = ((x * MULTIPLIER + INCREMENT + half) & (2 * half - 1)) - half
        return x, x

    return jax.lax.scan(following, keys, None, rows)[1]
