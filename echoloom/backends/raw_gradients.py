"""From gradients by a program's folded coefficients to gradients by a model's raw parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from echoloom.backends.integers import Floats
from echoloom.frontend.hssm import HSSM, trainable
from echoloom.frontend.jaxpr import path_name
from echoloom.frontend.stack import canonical, plans


def raw_gradient(model: HSSM, gradients: Mapping[str, Floats]) -> HSSM:
    """Gradients by program name, chained back through the folding to the raw parameters.

    A float64 pytree like the model's trainable parameters, None elsewhere.
    """
    with jax.enable_x64(True):
        model = jax.tree.map(lambda a: jnp.asarray(np.asarray(a), jnp.float64), model)
        units = plans(model)
        own, rest = eqx.partition(model, trainable(model))
        resolved, pull = jax.vjp(lambda m: canonical(eqx.combine(m, rest).resolve(), units), own)
        return pull(_like(resolved, gradients))[0]


def _like(resolved: Any, gradients: Mapping[str, Floats]) -> Any:
    """Gradients by program name as a pytree like the resolved coefficients."""

    def pick(path: tuple[Any, ...], leaf: Any) -> Any:
        name = path_name(path)
        name = name.replace("blocks.", "b", 1) if name.startswith("blocks.") else name
        value = gradients.get(name)
        if value is None:
            return jnp.zeros_like(leaf)
        return jnp.asarray(value, leaf.dtype).reshape(leaf.shape)

    return jax.tree_util.tree_map_with_path(pick, resolved)
