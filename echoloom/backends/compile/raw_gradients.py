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
import numpy as np

from echoloom.backends.compile.coefficients import as_held
from echoloom.backends.run.integers import Floats, to_real
from echoloom.backends.run.levels import IntegerProgram
from echoloom.frontend.energy.jaxpr import path_name
from echoloom.frontend.models.coefficients import StackCoefficients
from echoloom.frontend.models.hssm import HSSM
from echoloom.frontend.models.stack import Folding, canonical, float64
from echoloom.ir.host import RunResult
from echoloom.ir.program import Accumulator
from echoloom.ir.sections import Section


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


def raw_gradients(folding: Folding, model: HSSM, gradients: Mapping[str, Floats]) -> HSSM:
    """`raw_gradient` of several sequences: all arrays, given and got, have a first axis [n]."""
    with jax.enable_x64(True):
        return _chained(folding, many=True)(float64(model), dict(gradients))


@lru_cache(maxsize=8)
def _chained(folding: Folding, many: bool = False) -> Callable[[HSSM, dict[str, Any]], HSSM]:
    def chain(model: HSSM, gradients: dict[str, Any]) -> HSSM:
        own, rest = eqx.partition(model, eqx.is_inexact_array)
        resolved, pull = jax.vjp(
            lambda m: canonical(eqx.combine(m, rest).resolve(), folding.plans), own
        )

        def one(gradients: dict[str, Any]) -> HSSM:
            return pull(_like(resolved, gradients))[0]

        return jax.vmap(one)(gradients) if many else one(gradients)

    return eqx.filter_jit(chain)


def coefficient_gradients(
    integer: IntegerProgram, result: RunResult, length: int
) -> dict[str, Floats]:
    """float64 gradients of the folded coefficients, by name, from a run's integers; `length` is
    that of x. From a batch's integers every sequence's own, with a first axis [n]."""
    accumulators = integer.program.accumulators
    sums = {a.name: to_real(result.gradients[a.name], a.type.q) for a in accumulators if a.target}
    held, shape = as_held(integer), result.outputs.shape
    return gradients_of_sums(integer, sums, held, result.exponent, shape, length)


def gradients_of_sums(
    integer: IntegerProgram,
    sums: Mapping[str, Floats],
    held: Mapping[str, Floats],
    exponent: Any,
    outputs: tuple[int, ...],
    length: int,
) -> dict[str, Floats]:
    """`coefficient_gradients` from the accumulators' real values; `outputs` is the shape, `held`
    the coefficients as the fabric holds them."""
    common = 2.0 ** np.asarray(exponent, np.float64)
    once, per_step = integer.host.objective.shares(outputs, length)
    streamed = {name for name, _ in integer.program.body(Section.ECHO_STEP).accumulates}
    factors = {n: common * (per_step if n in streamed else once) for n in sums}
    return by_coefficient(integer.program.accumulators, sums, held, factors)


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
