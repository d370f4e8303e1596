"""Refusals of constructor arguments that describe no model, and what they say of each block."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar, get_args

import jax
import jax.numpy as jnp
import numpy as np

from echoloom.frontend.data.arrays import real_number, shown, whole_number
from echoloom.frontend.energy.canonical import check_echo
from echoloom.frontend.energy.hamiltonian import Hamiltonian
from echoloom.frontend.models.sizes import Activation, BlockSizes, Sizes, Task, UnitName
from echoloom.ir.scheme import Integrator

T = TypeVar("T")
# Schemes that people ask for by name and that no echo can learn: why not.
_IMPLICIT = "the implicit LinOSS-IM step loses information"
_DAMPED = "D-LinOSS's damping loses information"
IRREVERSIBLE = {
    "im": _IMPLICIT, "linoss-im": _IMPLICIT, "implicit": _IMPLICIT, "implicit-euler": _IMPLICIT,
    "d-linoss": _DAMPED, "dlinoss": _DAMPED, "damped": _DAMPED, "damping": _DAMPED,
}  # fmt: skip


def checked_sizes(
    inputs: object,
    outputs: object,
    hidden: object,
    blocks: object,
    task: Task,
    output_step: object,
    activation: Any,
    classes: Sequence[str],
    **each: Any,
) -> Sizes:
    """The sizes that the constructor's arguments say; `each` are the fields of `BlockSizes`, one
    value for all blocks or one a block. Raises ValueError for arguments that describe no model.
    """
    inputs, outputs_, hidden, count, output_step = (
        _count(name, value)
        for name, value in (("inputs", inputs), ("outputs", outputs), ("hidden", hidden),
                            ("blocks", blocks), ("output_step", output_step))
    )  # fmt: skip
    names = _classes(classes, outputs, task)
    _check_task(task, outputs_, output_step)
    _check_choice("activation", activation, get_args(Activation))
    columns = [_each(name, value, count, _READERS[name]) for name, value in each.items()]
    rows = (dict(zip(each, row, strict=True)) for row in zip(*columns, strict=True))
    own = tuple(BlockSizes(**row) for row in rows)
    sizes = Sizes(inputs, outputs_, hidden, own, task, output_step, activation, names)
    for index, own in enumerate(sizes.blocks):
        where = f"unit[{index}]" if _is_sequence(each["unit"]) else "unit"
        _check_unit(where, own.unit, own.state, sizes.hidden)
    return sizes


def _is_sequence(value: object) -> bool:
    several = isinstance(value, np.ndarray | jax.Array) and value.ndim == 1
    return several or (isinstance(value, Sequence) and not isinstance(value, str))


def _each(name: str, value: Any, blocks: int, read: Callable[[str, Any], T]) -> list[T]:
    """The value of every block, as `read` makes it of a value's name and of what was given."""
    if not _is_sequence(value):
        return [read(name, value)] * blocks
    given = [read(f"{name}[{index}]", own) for index, own in enumerate(value)]
    if len(given) != blocks:
        raise ValueError(
            f"HSSM: {name} holds {len(given)} values, but there are {blocks} blocks: give one for "
            "each, or a single one for all."
        )
    return given


def _given(name: str, value: T) -> T:
    return value


def _count(name: str, value: object) -> int:
    return whole_number(f"HSSM: {name}", value, least=1)


def _truth(name: str, value: object) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"HSSM: {name} is {shown(value)}, but it must be True or False.")
    return bool(value)


def _classes(names: Sequence[str], outputs: object, task: str) -> tuple[str, ...]:
    """The classes' names, one for each, or none."""
    found = [str(name) for name in names]
    if found and (task != "classification" or len(found) != outputs or len(set(found)) != outputs):
        raise ValueError(
            f"HSSM: classes holds {len(found)} names, {len(set(found))} of them different, but a "
            f"classification needs another name for each of its outputs, and outputs is "
            f"{shown(outputs)}."
        )
    return tuple(found)


def _check_choice(name: str, value: object, choices: Sequence[str]) -> str:
    if not isinstance(value, str) or value not in choices:
        wanted = " or ".join(repr(choice) for choice in choices)
        raise ValueError(f"HSSM: {name} is {value!r}, but it must be {wanted}.")
    return str(value)


def _check_task(task: str, outputs: int, output_step: int) -> None:
    _check_choice("task", task, get_args(Task))
    if task == "classification" and outputs < 2:
        raise ValueError("HSSM: outputs is 1, but classification needs at least 2 classes.")
    if task == "classification" and output_step != 1:
        raise ValueError(
            f"HSSM: output_step is {output_step}, but classification has one output a sequence: "
            "leave it at 1."
        )


def _step(name: str, value: object) -> float | None:
    found = real_number(value)
    if value is not None and (found is None or not 0.0 < found < 1.0):
        raise ValueError(f"HSSM: {name} is {shown(value)}, but a step must lie between 0 and 1.")
    return found


def _integrator(name: str, value: object) -> str:
    known = value.lower().replace("_", "-").replace(" ", "-") if isinstance(value, str) else ""
    if known in IRREVERSIBLE:
        raise ValueError(
            f"HSSM: {name} is {value!r}, but {IRREVERSIBLE[known]} going forward, so there is no "
            "echo to retrace: use 'leapfrog' or 'imex'."
        )
    return _check_choice(name, value, get_args(Integrator))


_READERS: dict[str, Callable[[str, Any], Any]] = {
    "unit": _given, "state": _count, "complex": _truth, "step": _step, "substeps": _count,
    "integrator": _integrator,
}  # fmt: skip


def _check_unit(where: str, unit: object, state: int, hidden: int) -> None:
    """A known name, or a user's unit: leaves of known use, and energies that an echo can learn."""
    name = type(unit).__name__
    if isinstance(unit, str) and unit in get_args(UnitName):
        return
    if not isinstance(unit, Hamiltonian):
        found = repr(unit) if isinstance(unit, str) else f"a {name}"
        raise ValueError(
            f"HSSM: {where} is {found}, but it must be 'linear', 'nonlinear' or a Hamiltonian."
        )
    for path, leaf in jax.tree_util.tree_leaves_with_path(unit):
        _check_leaf(f"{name}{jax.tree_util.keystr(path)}", leaf)
    check_echo(unit, state, hidden)


def _check_leaf(where: str, leaf: object) -> None:
    """A real array, which learns, or what JAX can keep beside the arrays, which does not."""
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jnp.floating):
        return
    if isinstance(leaf, jax.Array | np.ndarray | np.generic):
        kind = "a JAX" if isinstance(leaf, jax.Array) else "a NumPy"
        raise ValueError(
            f"HSSM: {where} is {kind} array of {leaf.dtype}, but a Hamiltonian's arrays are real "
            "JAX arrays, which learn: make one by jnp.asarray(x, float), or keep numbers that do "
            "not learn as a tuple in a static field."
        )
    if not isinstance(leaf, Hashable):
        raise ValueError(
            f"HSSM: {where} is a {type(leaf).__name__}, which has no hash, so JAX cannot keep it "
            "beside the arrays: make it a tuple, a number, text or a function."
        )
