"""Refusals: what makes a model unusable, each as one sentence of what, where and what is right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from echoloom.frontend.coefficients import BlockCoefficients, StackCoefficients
from echoloom.frontend.hamiltonian import Hamiltonian, Oscillators

if TYPE_CHECKING:
    from echoloom.frontend.hssm import HSSM


def check_arguments(
    *,
    unit: str | Hamiltonian | Sequence[Hamiltonian],
    task: str,
    output_step: int,
    step: float | None,
    **sizes: int,
) -> None:
    """Raises ValueError for constructor arguments that describe no model."""
    for name, value in {**sizes, "output_step": output_step}.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"HSSM: {name} is {value!r}, but it must be a whole number >= 1.")
    if task not in ("classification", "regression"):
        raise ValueError(
            f"HSSM: task is {task!r}, but it must be 'classification' or 'regression'."
        )
    if task == "classification" and sizes["outputs"] < 2:
        raise ValueError("HSSM: outputs is 1, but classification needs at least 2 classes.")
    if task == "classification" and output_step != 1:
        raise ValueError(
            f"HSSM: output_step is {output_step}, but classification has one output a sequence: "
            "leave it at 1."
        )
    if step is not None and not 0.0 < step < 1.0:
        raise ValueError(f"HSSM: step is {step!r}, but a step must lie between 0 and 1.")
    if isinstance(unit, str):
        if unit != "linear":
            raise ValueError(f"HSSM: unit is {unit!r}, but it must be 'linear' or a Hamiltonian.")
        return
    units = [unit] if isinstance(unit, Hamiltonian) else list(unit)
    if not isinstance(unit, Hamiltonian) and len(units) != sizes["blocks"]:
        raise ValueError(
            f"HSSM: unit holds {len(units)} Hamiltonians, but there are {sizes['blocks']} blocks: "
            "give one for each, or a single one for all."
        )
    for own in units:
        _check_unit(own, sizes["state"], sizes["hidden"])


def _check_unit(unit: object, state: int, hidden: int) -> None:
    """A user's unit: arrays only, and energies that take [state] and [hidden] to scalars."""
    name = type(unit).__name__
    if not isinstance(unit, Hamiltonian):
        raise ValueError(f"HSSM: unit is a {name}, but it must be 'linear' or a Hamiltonian.")
    for path, leaf in jax.tree_util.tree_leaves_with_path(unit):
        if not (isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jnp.floating)):
            raise ValueError(
                f"HSSM: {name}{jax.tree_util.keystr(path)} is a {type(leaf).__name__}, but a "
                "Hamiltonian's leaves must be real JAX arrays: mark other fields static."
            )
    q, u = jnp.zeros(state), jnp.zeros(hidden)
    for energy, arguments in ((unit.potential, (q, u)), (unit.kinetic, (q,))):
        wanted = f"must take shapes {[list(a.shape) for a in arguments]} to one real scalar"
        try:
            found = jax.eval_shape(energy, *arguments)
        except TypeError as error:
            raise ValueError(f"HSSM: {name}.{energy.__name__} fails: it {wanted}.") from error
        if found.shape != () or not jnp.issubdtype(found.dtype, jnp.floating):
            raise ValueError(
                f"HSSM: {name}.{energy.__name__} gives {found.dtype}{list(found.shape)}, "
                f"but it {wanted}."
            )


def check(model: HSSM) -> None:
    """Raises ValueError if `model` cannot run: the first fault found, in one sentence.

    Looked for: non-finite or wrongly shaped parameters, negative variances, and after folding
    non-finite coefficients, steps that are not positive, negative stiffness, and oscillators that
    the leapfrog step makes unstable (h^2 A >= 4).
    """
    _check_finite(model, "parameter")
    for index, block in enumerate(model.blocks):
        where = f"blocks[{index}].norm.variance"
        if np.any(np.asarray(block.norm.variance) < 0.0):
            raise ValueError(
                f"check: {where} is {_worst(block.norm.variance)}, but a variance must be >= 0."
            )
    try:
        coefficients = model.resolve()
    except (TypeError, ValueError) as error:
        raise ValueError(
            "check: the parameters' shapes do not fit together, so the model does not resolve: "
            f"{error}"
        ) from error
    _check_shapes(model, coefficients)
    _check_finite(coefficients, "coefficient")
    for index, block in enumerate(coefficients.blocks):
        _check_dynamics(block, f"blocks[{index}]")


def _check_finite(tree: object, kind: str) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        bad = np.argwhere(~np.isfinite(np.asarray(leaf)))
        if len(bad):
            value = float(np.asarray(leaf)[tuple(bad[0])])
            raise ValueError(
                f"check: {kind} {jax.tree_util.keystr(path).lstrip('.')} is {value} at "
                f"{bad[0].tolist()}; every {kind} must be finite."
            )


def _check_shapes(model: HSSM, coefficients: StackCoefficients) -> None:
    hidden = model.hidden
    shapes = {
        "encoder.weight": (coefficients.encoder.weight, (hidden, model.inputs)),
        "encoder.bias": (coefficients.encoder.bias, (hidden,)),
        "head.weight": (coefficients.head.weight, (model.outputs, hidden)),
        "head.bias": (coefficients.head.bias, (model.outputs,)),
    }
    size = model.state * (2 if model.complex else 1)
    for index, block in enumerate(coefficients.blocks):
        expected = {
            "scale": (block.scale, (hidden,)),
            "shift": (block.shift, (hidden,)),
            "step": (block.step, (size,)),
            "readout": (block.readout, (hidden, size)),
            "feedthrough": (block.feedthrough, (hidden,)),
            "value.weight": (block.value.weight, (hidden, hidden)),
            "value.bias": (block.value.bias, (hidden,)),
            "gate.weight": (block.gate.weight, (hidden, hidden)),
            "gate.bias": (block.gate.bias, (hidden,)),
        }
        if isinstance(block.unit, Oscillators):
            expected["unit.stiffness"] = (block.unit.stiffness, (size,))
            expected["unit.drive"] = (block.unit.drive, (size, hidden))
        shapes |= {f"blocks[{index}].{name}": entry for name, entry in expected.items()}
    for name, (array, shape) in shapes.items():
        if array.shape != shape:
            raise ValueError(
                f"check: {name} has shape {list(array.shape)}, but this model's sizes "
                f"need {list(shape)}."
            )


def _check_dynamics(block: BlockCoefficients, where: str) -> None:
    if np.any(np.asarray(block.step) <= 0.0):
        raise ValueError(
            f"check: {where}.step resolves to {_worst(block.step)}, but a step must be > 0."
        )
    if not isinstance(block.unit, Oscillators):
        return
    if np.any(np.asarray(block.unit.stiffness) < 0.0):
        raise ValueError(
            f"check: {where}.unit.stiffness resolves to {_worst(block.unit.stiffness)}, "
            "but a stiffness must be >= 0."
        )
    phase = np.asarray(block.step) ** 2 * np.asarray(block.unit.stiffness)
    if np.any(phase >= 4.0):
        raise ValueError(
            f"check: {where} has an oscillator with step**2 * stiffness = {phase.max():.4g} at "
            f"[{phase.argmax()}], but the leapfrog step is stable only below 4."
        )


def _worst(array: jax.Array) -> str:
    values = np.asarray(array)
    return f"{float(values.min()):.4g} at [{values.argmin()}]"
