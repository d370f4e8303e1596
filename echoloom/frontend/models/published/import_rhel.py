"""Models from checkpoints of the RHEL paper's published code (github.com/guillaumepourcel/rhel).

`layout.py` says what lies in such files; here it is read, checked and given a meaning.
Nothing in the files is executed.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import Any, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from echoloom.frontend.models.hssm import HSSM, AffineNorm
from echoloom.frontend.models.published.layout import UNITS, Path, Published, read_sizes, slots
from echoloom.frontend.models.published.npy_sequence import Header, NpySequence, Setting, Slot, Use
from echoloom.frontend.models.units import LinearUnit, NonlinearUnit

# A unit's parameters: published name -> ours.
_LINEAR = {"A_diag": "stiffness", "B": "drive", "C": "readout", "steps": "step"}
_NONLINEAR = {
    "W_diag": "weight", "B": "drive", "C": "readout", "b": "bias", "c": "gain", "alpha": "alpha",
    "step": "step",
}  # fmt: skip
# What equinox.nn.BatchNorm adds to the variance unless told otherwise; the published code does not.
_EPS = 1e-5


def import_rhel(checkpoint: Path, configuration: Path) -> HSSM:
    """The model in a published checkpoint, in JAX's default float type.

    `checkpoint` is what `equinox.tree_serialise_leaves(path, (model, state))` wrote of a LinHRU or
    NonlinHRU. `configuration` is JSON, one object with "model" (the class), "num_blocks",
    "hidden_dim", "ssm_dim", "data_dim" and "label_dim"; "classification", "output_step" and
    "complex_ssm" may be there and must then agree with the checkpoint, other keys are ignored.

    The norms get their running statistics; dropout, epsilon and train_steps have no meaning here.
    An imported LinHRU is the same function as the published one. A NonlinHRU becomes the
    self-adjoint leapfrog step, which takes the force half a step later than the published step:
    docs/published.md says how much that changes.

    Raises ValueError, in one sentence, if the files do not hold such a model or contradict each
    other, and OSError if they cannot be read. Whether the dynamics are stable is for `compile`.
    """
    sizes = read_sizes(configuration)
    with open(checkpoint, "rb") as file:
        arrays = _read_arrays(NpySequence(file, checkpoint), sizes, configuration)
    return _model(sizes, arrays, checkpoint, configuration)


def published_gradients(gradient: HSSM) -> dict[str, np.ndarray]:
    """A raw gradient of an imported model, under the published names and in the published layouts.

    `gradient` is what `bptt_gradient`, `rhel_gradient` or a program's `gradient` gave for a model
    of linear or nonlinear units. Keys are like "linear_encoder.weight" [H, inputs],
    "blocks[0].glu.w1.bias" [H] and "blocks[0].ssm.B": [n, H, 2] for linear units, the last axis
    real and imaginary part, [n, H] for nonlinear ones. The published norm has no scale and shift
    of its own, so their gradients are left out.

    Raises ValueError for units of another kind.
    """
    found, pairs = {}, _pairs(gradient)
    for name, leaf in _parameters(gradient).items():
        array = np.asarray(leaf)
        if name in pairs:
            if array.ndim == 2:
                array = np.stack([array, np.zeros_like(array)])
            array = np.moveaxis(array, 0, -1)
        found[name] = array
    return found


def _read_arrays(
    sequence: NpySequence, sizes: Published, configuration: Path
) -> dict[Slot, np.ndarray]:
    """The used arrays, the real ones finite and in JAX's default float type."""
    arrays = {}
    for index, slot in enumerate(slots(sizes)):
        header = sequence.header(slot.name)
        if not slot.fits(header):
            if slot.optional:
                continue
            raise ValueError(
                f"{sequence.path}: array {sequence.count} ({slot.name}) is {header}, but "
                f"{_reason(sizes, index, header, slot, configuration)}."
            )
        where = f"{sequence.path}: array {sequence.count} ({slot.name})"
        array = sequence.read(slot, header)
        if slot.use == "none":
            continue
        if slot.kind == "real":
            with np.errstate(over="ignore", invalid="ignore"):
                array = array.astype(jnp.result_type(float))
            _check(array, where, np.isfinite(array), "finite")
        if slot.use == "variance":
            _check(array, where, array >= 0.0, ">= 0")
        if slot.use == "fresh" and array:
            raise ValueError(
                f"{where} is True: this norm has seen no batch and has no statistics yet; train "
                "the model before you save it."
            )
        arrays[slot] = array
    sequence.end()
    return arrays


def _reason(sizes: Published, index: int, header: Header, slot: Slot, configuration: Path) -> str:
    """Why this array cannot be in this place."""
    (other,) = UNITS.keys() - {sizes.model}
    theirs = next(islice(slots(replace(sizes, model=other)), index, None), None)
    if theirs is not None and theirs.name == slot.name and theirs.fits(header):
        return f"{configuration} names a {sizes.model} and it looks like that of a {other}"
    return f"the {sizes.model} in {configuration} needs {slot}"


def _check(array: np.ndarray, where: str, good: np.ndarray, wanted: str) -> None:
    if not good.all():
        bad = np.argwhere(~good)[0]
        raise ValueError(
            f"{where} holds {array[tuple(bad)]} at {bad.tolist()}, but its values must be {wanted}."
        )


def _settings(
    sizes: Published, arrays: dict[Slot, np.ndarray], checkpoint: Path, configuration: Path
) -> dict[Use, Any]:
    """The settings that both files hold, checked against each other."""
    settings: dict[Use, Any] = {}
    for slot, array in arrays.items():
        if slot.use not in get_args(Setting):
            continue
        value, stated = array.item(), sizes.stated.get(slot.use)
        where = f"{checkpoint}: {slot.name} is {value}"
        if stated is not None and stated != value:
            raise ValueError(f"{where}, but {configuration} says {stated}.")
        if settings.setdefault(slot.use, value) != value:
            raise ValueError(f"{where}, unlike that of the blocks before.")
    if settings["output_step"] < 1:
        raise ValueError(
            f"{checkpoint}: output_step is {settings['output_step']}, but it must be >= 1."
        )
    if settings["classification"] and sizes.outputs < 2:
        raise ValueError(
            f"{checkpoint}: the model classifies, which needs a label_dim of 2 or more, but "
            f"{configuration} says 1."
        )
    return settings


def _model(
    sizes: Published, found: dict[Slot, np.ndarray], checkpoint: Path, configuration: Path
) -> HSSM:
    settings = _settings(sizes, found, checkpoint, configuration)
    arrays = {slot.name: array for slot, array in found.items()}
    classify, complex = settings["classification"], settings.get("complex_ssm", False)

    def empty() -> HSSM:
        key = jax.random.key(0)
        model = HSSM(
            sizes.inputs, sizes.outputs, sizes.hidden, sizes.state, sizes.blocks,
            unit=UNITS[sizes.model],
            complex=complex,
            task="classification" if classify else "regression",
            # A published classifier has an output_step too, without a use for it.
            output_step=1 if classify else settings["output_step"],
            # The default form of jax.nn.gelu.
            activation="gelu_tanh",
            key=key,
        )  # fmt: skip
        if sizes.model == "LinHRU":
            return model
        # The published layer applies sigmoid to c and its energy applies it again.
        unit = NonlinearUnit(
            sizes.hidden, sizes.state, None, key,
            gain_sigmoids=2, step_through="identity", shared_step=True,
        )  # fmt: skip
        return eqx.tree_at(lambda own: [b.unit for b in own.blocks], model, [unit] * sizes.blocks)

    # Shapes are enough: drawing parameters would cost seconds of compilation.
    shapes = eqx.filter_eval_shape(empty)
    leaves, pairs = [], _pairs(shapes)
    for name in _parameters(shapes):
        array = arrays[name]
        if name in pairs:
            array = np.moveaxis(array, -1, 0) if complex else array[..., 0]
        leaves.append(array)
    norms = [_norm(arrays, index) for index in range(sizes.blocks)]
    return eqx.tree_at(
        lambda own: [*_parameters(own).values(), *(block.norm for block in own.blocks)],
        shapes,
        [*(jnp.asarray(leaf) for leaf in leaves), *norms],
    )


def _norm(arrays: dict[str, np.ndarray], index: int) -> AffineNorm:
    mean = jnp.asarray(arrays[f"state.blocks[{index}].norm.mean"])
    variance = jnp.asarray(arrays[f"state.blocks[{index}].norm.variance"])
    return AffineNorm(jnp.ones_like(mean), jnp.zeros_like(mean), mean, variance, _EPS)


def _parameters(model: HSSM) -> dict[str, Any]:
    """Our leaves (or their gradients) by published name: all but the norms'."""
    found = {
        "linear_encoder.weight": model.encoder.weight,
        "linear_encoder.bias": model.encoder.bias,
    }
    for index, block in enumerate(model.blocks):
        where = f"blocks[{index}]"
        if not isinstance(block.unit, LinearUnit | NonlinearUnit):
            raise ValueError(
                f"{where}.unit is a {type(block.unit).__name__}, but published models have linear "
                "or nonlinear units."
            )
        names = _LINEAR if isinstance(block.unit, LinearUnit) else _NONLINEAR
        found |= {f"{where}.ssm.{name}": getattr(block.unit, own) for name, own in names.items()}
        found |= {
            f"{where}.ssm.D": block.feedthrough,
            f"{where}.glu.w1.weight": block.value.weight,
            f"{where}.glu.w1.bias": block.value.bias,
            f"{where}.glu.w2.weight": block.gate.weight,
            f"{where}.glu.w2.bias": block.gate.bias,
        }
    found["linear_layer.weight"] = model.head.weight
    found["linear_layer.bias"] = model.head.bias
    return found


def _pairs(model: HSSM) -> set[str]:
    """Published arrays that end in an axis of real and imaginary part."""
    return {
        f"blocks[{index}].ssm.{name}"
        for index, block in enumerate(model.blocks)
        if isinstance(block.unit, LinearUnit)
        for name in ("B", "C")
    }
