"""The one way from what a user has to numbers: arrays, lists, texts, masked or of another machine.

Numbers in any dress are taken: foreign byte order, short and long floats, Python objects, booleans,
arrays without axes. What holds no number, or only part of which is one, is refused in one sentence:
NumPy and JAX would drop masks and imaginary parts in silence, and read texts as numbers.
"""

from __future__ import annotations

import operator
from decimal import Decimal
from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from numpy.typing import NDArray

TEXTS = "US"


def real_array(name: str, value: Any) -> NDArray[Any]:
    """The numbers of `value`: integers, float32 or float64, in this machine's byte order.

    Shorter floats become float32, longer ones float64, booleans 0 and 1. Raises ValueError, which
    calls the array `name`, for values that are no real numbers and for masked ones.
    """
    found = any_array(name, value)
    if found.dtype.kind in TEXTS:
        raise _not_real(name, found.dtype)
    return found


def any_array(name: str, value: Any) -> NDArray[Any]:
    """As `real_array`, but an array of texts is one too."""
    if _masked(value):
        raise ValueError(
            f"{name}: some values are masked, but every one must be a number: fill them, as "
            "numpy.ma.filled does, or leave them out."
        )
    try:
        found = np.asarray(value)
        if found.dtype.kind == "O":
            found = _of_objects(name, found)
    except (TypeError, ValueError) as error:
        if isinstance(error, _Refused):
            raise ValueError(str(error)) from None
        raise ValueError(
            f"{name}: this makes no array of numbers, for its parts differ in shape or are no "
            f"numbers: {str(error).partition('.')[0]}."
        ) from error
    return _plain(name, found)


def jax_array(name: str, value: Any) -> jax.Array:
    """As `real_array`, for JAX: what is being traced, or lies on a device already, stays there."""
    if isinstance(value, list | tuple) and is_traced(value):
        value = jnp.asarray(value)
    if not isinstance(value, jax.Array):
        return jnp.asarray(real_array(name, value))
    if value.dtype == jnp.bool_:
        return value.astype(jnp.int32)
    if not (jnp.issubdtype(value.dtype, jnp.integer) or jnp.issubdtype(value.dtype, jnp.floating)):
        raise _not_real(name, value.dtype)
    return value


def known(value: Any) -> bool:
    """Whether the numbers of `value` can be looked at here and now."""
    if isinstance(value, list | tuple):
        return not is_traced(value)
    return not isinstance(value, jax.Array) or (not is_traced(value) and value.is_fully_addressable)


def is_traced(*trees: object) -> bool:
    """Whether any number in these is not known yet, as within `jit`, `vmap` and `grad`."""
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(trees))


def whole_number(name: str, value: Any, least: int | None = None) -> int:
    """A size or a count as Python's int: NumPy's and JAX's are taken too.

    Raises ValueError for others than whole numbers, and for those below `least`.
    """
    try:
        found = None if _is_bool(value) else operator.index(value)
    except (TypeError, jax.errors.TracerIntegerConversionError):
        found = None
    if found is None or (least is not None and found < least):
        wanted = "a whole number" + ("" if least is None else f" >= {least}")
        raise ValueError(f"{name} is {shown(value)}, but it must be {wanted}.")
    return found


def real_number(value: Any) -> float | None:
    """One real number as Python's float: NumPy's and JAX's are taken too; None for all else."""
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, np.ndarray | np.generic | jax.Array) or not known(value):
        return None
    found = np.asarray(value)
    if found.ndim or _masked(value) or _is_bool(value) or found.dtype.kind in "OcmMUSb":
        return None
    return float(found)


def shown(value: Any) -> str:
    """A value as a person wrote it: NumPy's and JAX's numbers without their type."""
    if isinstance(value, np.generic | np.ndarray | jax.Array) and known(value) and not value.ndim:
        return repr(np.asarray(value).item())
    return repr(value)


class _Refused(ValueError):
    """A sentence that is ready."""


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool | np.bool_) or getattr(value, "dtype", None) == np.bool_


def _masked(value: Any) -> bool:
    """Whether anything is masked, in lists of arrays and arrays of objects too."""
    if isinstance(value, np.ma.MaskedArray):
        return bool(np.ma.is_masked(value))
    if isinstance(value, np.ndarray):
        return value.dtype.kind == "O" and any(map(_masked, value.flat))
    return isinstance(value, list | tuple) and any(map(_masked, value))


def _of_objects(name: str, found: NDArray[Any]) -> NDArray[Any]:
    """Python's numbers in the type that NumPy gives them, and else float64."""
    again = np.asarray(found.tolist())
    if again.dtype.kind != "O":
        return again
    for index, item in np.ndenumerate(again):
        if not isinstance(item, Real | Decimal):
            raise _Refused(
                f"{name}: {item!r} at {list(index)} is no number, but real numbers are needed."
            )
    return again.astype(np.float64)


def _plain(name: str, found: NDArray[Any]) -> NDArray[Any]:
    kind = found.dtype.kind
    if kind in TEXTS:
        return found.astype(str) if kind == "U" else np.char.decode(found, "utf-8", "replace")
    if kind == "b":
        return found.astype(np.uint8)
    if kind in "iu":
        return found.astype(found.dtype.newbyteorder("="), copy=False)
    if not jnp.issubdtype(found.dtype.newbyteorder("="), jnp.floating):
        raise _not_real(name, found.dtype)
    with np.errstate(over="ignore"):  # what becomes infinite is for the checks of values
        return found.astype(np.float32 if found.dtype.itemsize <= 4 else np.float64, copy=False)


def _not_real(name: str, dtype: Any) -> ValueError:
    return ValueError(f"{name}: the type is {dtype}, but real numbers are needed.")
