"""Functions with a derivative of their own: is it the one that their operations have?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from echoloom.frontend.energy.canonical.builder import Host, Operand
from echoloom.frontend.energy.canonical.facts import Facts
from echoloom.frontend.energy.jaxpr import Equation

# Sizes of the run-time values that a rule is tried with, and how many draws of each.
SIZES, DRAWS = (0.1, 1.0, 4.0), 3
# Of float64: a rule that is right differs from the operations by rounding alone.
TOLERANCE = 1e-8
# How far parameters are moved from the numbers that they have now.
NEAR = 0.2


def is_plain_slope(equation: Equation, operands: Sequence[Operand]) -> bool:
    """Whether a custom_jvp call has the values, first and second derivatives of its body.

    Tried in float64 at random points of where the operands are known to lie, parameters near their
    present numbers. Points at which the body itself is not finite say nothing.
    """
    body = equation.body
    said = False
    for at in _points(equation, operands):
        found, wanted = _slopes(equation.evaluate, at), _slopes(body, at)
        known = np.isfinite(wanted)
        scale = max(1.0, float(np.abs(wanted[known]).max(initial=0.0)))
        if not (np.abs(found - wanted)[known] <= TOLERANCE * scale).all():
            return False
        said = said or bool(known.any())
    return said


def _points(equation: Equation, operands: Sequence[Operand]) -> Iterator[list[jax.Array]]:
    rng = np.random.default_rng(0)
    for size in np.repeat(SIZES, DRAWS):
        drawn = (_drawn(rng, float(size), x) for x in operands)
        yield [jnp.asarray(a, t) for a, t in zip(drawn, equation.operand_types, strict=True)]


def _drawn(rng: np.random.Generator, size: float, x: Operand) -> Any:
    if isinstance(x, Host):
        moves = x.parameter and np.issubdtype(x.value.dtype, np.floating)
        return x.value * (1.0 + NEAR * rng.uniform(-1.0, 1.0, x.shape)) if moves else x.value
    return rng.uniform(*_within(x.facts, size), x.shape)


def _within(known: Facts, size: float) -> tuple[float, float]:
    """The part of an interval that is nearest to zero, `size` long on either side of it."""
    nearest = min(max(known.lo, 0.0), known.hi)
    return max(known.lo, nearest - size), min(known.hi, nearest + size)


def _slopes(function: Callable[..., list[Any]], at: list[jax.Array]) -> np.ndarray:
    """Values, their slopes along one direction, and the slopes of those, in one row."""
    real = [i for i, a in enumerate(at) if jnp.issubdtype(a.dtype, jnp.floating)]

    def values(*own: jax.Array) -> list[jax.Array]:
        whole = {**dict(enumerate(at)), **dict(zip(real, own, strict=True))}
        results = function(*(whole[i] for i in range(len(at))))
        return [r for r in results if jnp.issubdtype(r.dtype, jnp.floating)]

    def first(*own: jax.Array) -> list[jax.Array]:
        found, pull = jax.vjp(values, *own)
        return [*found, *pull(_weights(found))]

    found, pull = jax.vjp(first, *(at[i] for i in real))
    return np.concatenate([np.ravel(a) for a in (*found, *pull(_weights(found)))])


def _weights(like: Sequence[jax.Array]) -> list[jax.Array]:
    """Directions that no symmetry makes vanish."""
    return [jnp.cos(1.0 + jnp.arange(a.size, dtype=a.dtype)).reshape(a.shape) for a in like]
