"""Refusals of constructor arguments that describe no model, and what they say of each block."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from echoloom.frontend.canonical import check_echo
from echoloom.frontend.hamiltonian import Hamiltonian
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
) -> tuple[BlockArguments, ...]:
    """What each block is to be. Raises ValueError for arguments that describe no model."""
    sizes = {"inputs": inputs, "outputs": outputs, "hidden": hidden, "blocks": blocks}
    for name, value in {**sizes, "output_step": output_step}.items():
        _check_count(name, value)
    _check_task(task, outputs, output_step)
    _check_choice("activation", activation, ACTIVATIONS)
    for name, value in (("state", state), ("substeps", substeps)):
        for where, own in _named(name, value):
            _check_count(where, own)
    for where, own in _named("complex", complex):
        if not isinstance(own, bool):
            raise ValueError(f"HSSM: {where} is {own!r}, but it must be True or False.")
    for where, own in _named("step", step):
        _check_step(where, own)
    for where, own in _named("integrator", integrator):
        _check_integrator(where, own)
    arguments = tuple(
        BlockArguments(*own)
        for own in zip(
            _each("unit", unit, blocks),
            _each("state", state, blocks),
            _each("complex", complex, blocks),
            _each("step", step, blocks),
            _each("substeps", substeps, blocks),
            _each("integrator", integrator, blocks),
            strict=True,
        )
    )
    for index, own in enumerate(arguments):
        where = f"unit[{index}]" if _is_sequence(unit) else "unit"
        _check_unit(where, own.unit, own.state, hidden)
    return arguments


def _is_sequence(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _named(name: str, value: T | Sequence[T]) -> list[tuple[str, T]]:
    """Every value that was given, and how to call it."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [(f"{name}[{index}]", own) for index, own in enumerate(value)]
    return [(name, value)]  # type: ignore[list-item]


def _each(name: str, value: T | Sequence[T], blocks: int) -> list[T]:
    """The value of every block."""
    given = [own for _, own in _named(name, value)]
    if not _is_sequence(value):
        return given * blocks
    if len(given) != blocks:
        raise ValueError(
            f"HSSM: {name} holds {len(given)} values, but there are {blocks} blocks: give one for "
            "each, or a single one for all."
        )
    return given


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"HSSM: {name} is {value!r}, but it must be a whole number >= 1.")


def _check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    if not isinstance(value, str) or value not in choices:
        wanted = " or ".join(repr(choice) for choice in choices)
        raise ValueError(f"HSSM: {name} is {value!r}, but it must be {wanted}.")


def _check_task(task: str, outputs: int, output_step: int) -> None:
    _check_choice("task", task, ("classification", "regression"))
    if task == "classification" and outputs < 2:
        raise ValueError("HSSM: outputs is 1, but classification needs at least 2 classes.")
    if task == "classification" and output_step != 1:
        raise ValueError(
            f"HSSM: output_step is {output_step}, but classification has one output a sequence: "
            "leave it at 1."
        )


def _check_step(name: str, value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 < value < 1.0:
        raise ValueError(f"HSSM: {name} is {value!r}, but a step must lie between 0 and 1.")


def _check_integrator(name: str, value: object) -> None:
    known = value.lower().replace("_", "-").replace(" ", "-") if isinstance(value, str) else ""
    if known in IRREVERSIBLE:
        raise ValueError(
            f"HSSM: {name} is {value!r}, but {IRREVERSIBLE[known]} going forward, so there is no "
            "echo to retrace: use 'leapfrog' or 'imex'."
        )
    _check_choice(name, value, tuple(INTEGRATORS))


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
