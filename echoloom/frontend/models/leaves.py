"""Trees of arrays from files that nobody vouches for: what `eqx.tree_serialise_leaves` wrote."""

from __future__ import annotations

import io
import math
from typing import Any, BinaryIO, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from echoloom.frontend.data.npy import read_npy

T = TypeVar("T")


def bytes_of(shapes: Any) -> int:
    """What the numbers of a tree of jax.ShapeDtypeStruct take."""
    return sum(math.prod(s.shape) * s.dtype.itemsize for s in jax.tree.leaves(shapes))


def read_leaves(stored: bytes, like: T) -> T:
    """The tree whose leaves these bytes are; shapes and types are those of `like`.

    Raises ValueError for bytes that are no such tree; what follows it is not looked at.
    """

    def read(file: BinaryIO, leaf: Any) -> Any:
        if not eqx.is_array_like(leaf):
            return leaf
        found = read_npy(file, len(stored))
        if isinstance(leaf, np.ndarray):
            return found
        if isinstance(leaf, jax.Array):  # of which NumPy's format has no bfloat16
            return jnp.asarray(found.view(jnp.bfloat16) if found.dtype == "V2" else found)
        return type(leaf)(found.item())  # type: ignore[call-arg]

    try:
        return eqx.tree_deserialise_leaves(io.BytesIO(stored), like, filter_spec=read)  # type: ignore[arg-type]
    except (RuntimeError, TypeError, OverflowError) as error:
        raise ValueError("these are no such arrays") from error
