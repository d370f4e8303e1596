"""What `compile` says of gradients that no word of the target resolves."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import jax
import numpy as np

from echoloom.backends.compile.nudges import Nudges
from echoloom.backends.compile.raw_gradients import raw_gradient
from echoloom.backends.run.integers import Floats
from echoloom.frontend.models.hssm import HSSM
from echoloom.frontend.models.stack import Folding

LOST = 0.5  # relative error of a tensor that says nothing


class Unresolved(UserWarning):
    """Gradients of some parameters are lost on the samples, mostly in rounding."""


def warn_of_lost(nudges: Nudges, folding: Folding, model: HSSM) -> None:
    """Unresolved names the parameters of curved blocks whose integer gradients, on the samples
    that nudges were tried on, are farther from the exact ones than half their size."""
    coefficients = [n for n, v in nudges.exact.items() if _error(nudges.found[n], v) > LOST]
    if not coefficients:
        return
    count = len(next(iter(nudges.exact.values())))
    found, exact = (
        [_leaves(folding, model, {n: v[k] for n, v in side.items()}) for k in range(count)]
        for side in (nudges.found, nudges.exact)
    )
    lost = [
        name
        for name in exact[0]
        if _error(np.stack([f[name] for f in found]), np.stack([e[name] for e in exact])) > LOST
    ]
    if lost:
        warnings.warn(
            f"the gradient of {', '.join(lost)} is lost on these samples, off by more than half "
            "its size at every nudge tried: what it measures is too small for this target's words "
            "beside the rest of its block, or the motion too irregular for echoes that are apart; "
            "other gradients are not concerned",
            Unresolved,
            stacklevel=3,
        )


def _error(found: Floats, exact: Floats) -> float:
    size = float(np.linalg.norm(exact))
    return float(np.linalg.norm(found - exact)) / size if size > 0.0 else 0.0


def _leaves(folding: Folding, model: HSSM, gradients: Mapping[str, Floats]) -> dict[str, Floats]:
    leaves = jax.tree_util.tree_leaves_with_path(raw_gradient(folding, model, gradients).blocks)
    return {f"blocks{jax.tree_util.keystr(path)}": np.asarray(leaf) for path, leaf in leaves}
