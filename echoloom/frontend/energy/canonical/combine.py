"""Sums and products of operands of either kind, with shapes broadcast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from echoloom.frontend.energy.canonical.builder import Builder, Host, Operand, Run
from echoloom.frontend.energy.jaxpr import Equation

Rule = Callable[[Builder, Equation, list[Any]], list[Operand]]


def total(b: Builder, x: Operand, y: Operand) -> Operand:
    if isinstance(x, Host):
        x, y = y, x
    assert isinstance(x, Run)
    if isinstance(y, Host):
        return b.plus(x, y)
    shape = np.broadcast_shapes(x.shape, y.shape)
    return b.add(b.spread(x, shape), b.spread(y, shape))


def difference(b: Builder, x: Operand, y: Operand) -> Operand:
    if isinstance(y, Host):
        return total(b, x, b.one(jnp.negative, y))
    if isinstance(x, Host):
        return total(b, b.factor(y, -1.0), x)
    shape = np.broadcast_shapes(x.shape, y.shape)
    return b.sub(b.spread(x, shape), b.spread(y, shape))


def product(b: Builder, x: Operand, y: Operand) -> Operand:
    if isinstance(x, Host):
        x, y = y, x
    assert isinstance(x, Run)
    if isinstance(y, Host):
        return b.times(x, y)
    shape = np.broadcast_shapes(x.shape, y.shape)
    return b.mul(b.spread(x, shape), b.spread(y, shape))


def as_run(x: Operand) -> Run:
    assert isinstance(x, Run)
    return x


def as_real(b: Builder, x: Operand) -> Operand:
    """A fixed mask of truths as ones and zeros."""
    if isinstance(x, Host) and x.value.dtype == np.bool_:
        return b.one(lambda v: jnp.asarray(v, jnp.float64), x)
    return x
