"""Refusals of a model's numbers, each as one sentence of what, where and what is right."""

from __future__ import annotations

from contextlib import nullcontext

import equinox as eqx
import jax
import numpy as np

from echoloom.frontend.data.arrays import is_traced
from echoloom.frontend.energy.hamiltonian import NonlinearOscillators, Oscillators
from echoloom.frontend.models.coefficients import BlockCoefficients, StackCoefficients
from echoloom.frontend.models.hssm import HSSM


def check(model: HSSM) -> None:
    """Raises ValueError if `model` cannot run: the first fault found, in one sentence.

    Within `jit` its numbers are not known; then nothing but shapes is looked at.

    Looked for: non-finite or wrongly shaped parameters, negative variances, and after folding
    non-finite coefficients, steps that are not positive, negative stiffness, oscillators that a
    step makes unstable (h^2 A >= 4, of either integrator), and nonlinear units with a zero weight.
    """
    known = not is_traced(model)
    if known:
        _check_numbers(model)
    # Within `jit` even known numbers would be folded later.
    with jax.ensure_compile_time_eval() if known else nullcontext():
        coefficients = _resolved(model)
    _check_shapes(model, coefficients)
    if known:
        _check_finite(coefficients, "coefficient")
        for index, block in enumerate(coefficients.blocks):
            _check_dynamics(block, f"blocks[{index}]")


def _check_numbers(model: HSSM) -> None:
    _check_finite(model, "parameter")
    for index, block in enumerate(model.blocks):
        where = f"blocks[{index}].norm.variance"
        if np.any(np.asarray(block.norm.variance) < 0.0):
            raise ValueError(
                f"check: {where} is {_worst(block.norm.variance)}, but a variance must be >= 0."
            )


def _resolved(model: HSSM) -> StackCoefficients:
    try:
        return model.resolve()
    except (TypeError, ValueError) as error:
        raise ValueError(
            "check: the parameters' shapes do not fit together, so the model does not resolve: "
            f"{error}"
        ) from error


def _check_finite(tree: object, kind: str) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(eqx.filter(tree, eqx.is_array)):
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
    for index, block in enumerate(coefficients.blocks):
        size = model.states[index] * (2 if model.complexes[index] else 1)
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
        if isinstance(block.unit, NonlinearOscillators):
            expected["unit.drive"] = (block.unit.drive, (size, hidden))
            expected["unit.alpha"] = (block.unit.alpha, (1,))
            for name in ("weight", "bias", "gain"):
                expected[f"unit.{name}"] = (getattr(block.unit, name), (size,))
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
    if isinstance(block.unit, Oscillators):
        _check_springs(block, block.unit.stiffness, where)
    if isinstance(block.unit, NonlinearOscillators):
        zero = np.flatnonzero(np.asarray(block.unit.weight) == 0.0)
        if len(zero):
            raise ValueError(
                f"check: {where}.unit.weight is 0 at [{zero[0]}], but the energy divides by every "
                "weight: none may be 0."
            )


def _check_springs(block: BlockCoefficients, stiffness: jax.Array, where: str) -> None:
    """The bound on h^2 A is that of leapfrog and of imex: the two differ by a shift in time."""
    if np.any(np.asarray(stiffness) < 0.0):
        raise ValueError(
            f"check: {where}.unit.stiffness resolves to {_worst(stiffness)}, "
            "but a stiffness must be >= 0."
        )
    phase = np.asarray(block.step) ** 2 * np.asarray(stiffness)
    if np.any(phase >= 4.0):
        raise ValueError(
            f"check: {where} has an oscillator with step**2 * stiffness = {phase.max():.4g} at "
            f"[{phase.argmax()}], but the {block.integrator} step is stable only below 4."
        )


def _worst(array: jax.Array) -> str:
    values = np.asarray(array)
    return f"{float(values.min()):.4g} at [{values.argmin()}]"
