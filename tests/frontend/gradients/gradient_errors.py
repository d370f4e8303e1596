"""How far one gradient is from another, tensor by tensor."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

# A tensor this much smaller than the whole gradient vanishes but for rounding.
NOTHING = 1e-12


def errors(found, wanted) -> dict[str, float]:
    """Relative error of every tensor; one that must vanish is measured against the whole."""
    whole = np.sqrt(sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(wanted)))
    pairs = zip(jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(wanted), strict=True)
    result = {}
    for (path, ours), reference in pairs:
        size = float(jnp.linalg.norm(reference))
        size = size if size > NOTHING * whole else whole
        result[jax.tree_util.keystr(path)] = float(jnp.linalg.norm(ours - reference)) / size
    return result


def worst(found, wanted) -> float:
    return max(errors(found, wanted).values())
