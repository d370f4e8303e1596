"""From a program's accumulators to gradients by its folded coefficients, and from those to
gradients by a model's raw parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from echoloom.backends.run.integers import Floats
from echoloom.frontend.energy.jaxpr import path_name
from echoloom.frontend.models.coefficients import StackCoefficients
from echoloom.frontend.models.hssm import HSSM
from echoloom.frontend.models.stack import Folding, canonical, float64
from echoloom.ir.program import Accumulator


def by_coefficient(
    accumulators: Iterable[Accumulator],
    sums: Mapping[str, Floats],
    coefficients: Mapping[str, Floats],
    factors: Mapping[str, Floats] | None = None,
) -> dict[str, Floats]:
    """Gradients by coefficient from the accumulators' real values.

    `sums` and `factors` (by which each is multiplied, 1 where there are none) go by accumulator.
    """
    gradients: dict[str, Floats] = {}
    for a in accumulators:
        if a.target:
            value = sums[a.name] * a.scale
            if a.divisor:
                value = value / coefficients[a.divisor]
            if factors is not None:
                factor = factors[a.name]
                value = value * factor.reshape(factor.shape + (1,) * (value.ndim - factor.ndim))
            gradients[a.target] = gradients.get(a.target, 0.0) + value
    return gradients


def raw_gradient(folding: Folding, model: HSSM, gradients: Mapping[str, Floats]) -> HSSM:
    """Gradients by program name, chained back through the folding to the raw parameters.

    A float64 pytree like `bptt_gradient`'s.
    """
    with jax.enable_x64(True):
        return _chained(folding)(float64(model), dict(gradients))


@lru_cache(maxsize=8)
def _chained(folding: Folding) -> Callable[[HSSM, dict[str, Any]], HSSM]:
    def chain(model: HSSM, gradients: dict[str, Any]) -> HSSM:
        own, rest = eqx.partition(model, eqx.is_inexact_array)
        resolved, pull = jax.vjp(
            lambda m: canonical(eqx.combine(m, rest).resolve(), folding.plans), own
        )
        return pull(_like(resolved, gradients))[0]

    return eqx.filter_jit(chain)


def _like(resolved: StackCoefficients, gradients: Mapping[str, Any]) -> Any:
    """Gradients by program name as a pytree like the resolved coefficients."""

    def part(name: str, tree: Any) -> Any:
        def pick(path: tuple[Any, ...], leaf: Any) -> Any:
            value = gradients.get(f"{name}.{path_name(path)}")
            if value is None:
                return jnp.zeros_like(leaf)
            return jnp.asarray(value, leaf.dtype).reshape(leaf.shape)

        return jax.tree_util.tree_map_with_path(pick, tree)

    return replace(
        resolved,
        encoder=part("encoder", resolved.encoder),
        blocks=tuple(part(f"b{i}", block) for i, block in enumerate(resolved.blocks)),
        head=part("head", resolved.head),
    )
