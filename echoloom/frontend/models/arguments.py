"""Refusals of constructor arguments that describe no model, and what they say of each block."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from echoloom.frontend.data.arrays import real_number, shown, whole_number
from echoloom.frontend.energy.canonical import check_echo
from echoloom.frontend.energy.hamiltonian import Hamiltonian
from echoloom.ir.scheme import INTEGRATORS

T = TypeVar("T")
UNITS = ("linear", "nonlinear")
ACTIVATIONS = ("gelu", "gelu_tanh")
# Schemes that people ask for by name and that no echo can learn: why not.
_IMPLICIT = "the implicit LinOSS-IM step loses information"
_DAMPED = "D-LinOSS's damping loses information"
IRREVERSIBLE = {
    "im": _IMPLICIT, "linoss-im": _IMPLICIT, "implicit": _IMPLICIT, "implicit-euler": _IMPLICIT,
    "d-linoss": _DAMPED, "dlinoss": _DAMPED, "damped": _DAMPED, "damping": _DAMPED,
}  # fmt: skip


@dataclass(frozen=True)
class Sizes:
    """What the constructor was told of the whole stack, as Python's numbers."""

    inputs: int
    outputs: int
    hidden: int
    blocks: int
    output_step: int
    classes: tuple[str, ...]


@dataclass(frozen=True)
class BlockArguments:
    """What the constructor was told of one block."""

    unit: str | Hamiltonian
    state: int
    complex: bool
    step: float | None
    substeps: int
    integrator: str


def check_arguments(
    *,
    unit: str | Hamiltonian | Sequence[str | Hamiltonian],
    state: int | Sequence[int],
    complex: bool | Sequence[bool],
    step: float | Sequence[float | None] | None,
    substeps: int | Sequence[int],
    integrator: str | Sequence[str],
    blocks: int,
    hidden: int,
    outputs: int,
    task: str,
    output_step: int,
    activation: str,
    inputs: int,
    classes: Sequence[str],
) -> tuple[Sizes, tuple[BlockArguments, ...]]:
    """What the stack and each block are to be. Raises ValueError for arguments that describe no
    model.
    """
    sizes = Sizes(
        _count("inputs", inputs),
        _count("outputs", outputs),
        _count("hidden", hidden),
        _count("blocks", blocks),
        _count("output_step", output_step),
        _classes(classes, outputs, task),
    )
    _check_task(task, sizes.outputs, sizes.output_step)
    _check_choice("activation", activation, ACTIVATIONS)
    arguments = tuple(
        BlockArguments(*own)
        for own in zip(
            _each("unit", unit, sizes.blocks, _given),
            _each("state", state, sizes.blocks, _count),
            _each("complex", complex, sizes.blocks, _truth),
            _each("step", step, sizes.blocks, _step),
            _each("substeps", substeps, sizes.blocks, _count),
            _each("integrator", integrator, sizes.blocks, _integrator),
            strict=True,
        )
    )
    for index, own in enumerate(arguments):
        where = f"unit[{index}]" if _is_sequence(unit) else "unit"
        _check_unit(where, own.unit, own.state, sizes.hidden)
    return sizes, arguments


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
    _check_choice("task", task, ("classification", "regression"))
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
    return _check_choice(name, value, tuple(INTEGRATORS))


def _check_unit(where: str, unit: object, state: int, hidden: int) -> None:
    """A known name, or a user's unit: leaves of known use, and energies that an echo can learn."""
    name = type(unit).__name__
    if isinstance(unit, str) and unit in UNITS:
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
