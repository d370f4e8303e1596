"""Batches shared by several devices: each takes its part, the parameters are everywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jax.typing import ArrayLike

from echoloom.frontend.gradients.batch import ValueAndGradient
from echoloom.frontend.models.hssm import HSSM

AXIS = "batch"


def make_mesh(count: int) -> Mesh | None:
    """The first `count` devices in a row; None for one, which needs no sharing.

    Raises ValueError if there are fewer.
    """
    found = jax.devices()
    if count > len(found):
        raise ValueError(
            f"devices is {count}, but JAX sees {len(found)} here ({found[0].platform})."
        )
    return None if count == 1 else Mesh(np.asarray(found[:count]), (AXIS,))


def share_gradient(function: ValueAndGradient, mesh: Mesh | None) -> ValueAndGradient:
    """`function`, each device taking an equal part of the batch.

    A batch that cannot be shared evenly, an epoch's last, is taken by every device as a whole.
    """
    if mesh is None:
        return function

    def part(model: HSSM, X: jax.Array, y: jax.Array) -> Any:
        return jax.lax.pmean(function(model, X, y), AXIS)

    shared = _shared(part, mesh, 2, P())

    def value_and_grad(model: HSSM, X: ArrayLike, y: ArrayLike) -> tuple[jax.Array, HSSM]:
        return (function if jnp.shape(X)[0] % mesh.size else shared)(model, X, y)

    return value_and_grad


def share_outputs(
    function: Callable[[HSSM, jax.Array], jax.Array], mesh: Mesh | None
) -> Callable[[HSSM, jax.Array], jax.Array]:
    """The same for a function of samples with one row of output a sample; their number divides."""
    return function if mesh is None else _shared(function, mesh, 1, P(AXIS))


def _shared(function: Callable[..., Any], mesh: Mesh, arrays: int, out: P) -> Callable[..., Any]:
    # Scans start from zeros that all devices share and go on with values that they do not, which
    # the static check of replication takes for an error; `pmean` is what makes results equal.
    def shared(model: HSSM, *batch: jax.Array) -> Any:
        own, others = eqx.partition(model, eqx.is_array)
        return jax.shard_map(
            lambda own, *part: function(eqx.combine(own, others), *part),
            mesh=mesh,
            in_specs=(P(), *[P(AXIS)] * arrays),
            out_specs=out,
            check_vma=False,
        )(own, *batch)

    return shared
