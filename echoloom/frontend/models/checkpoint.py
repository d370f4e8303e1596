"""Models on disk: one line of JSON that a human can read, then the arrays.

The line holds the constructor's arguments, each block's where blocks may differ, and a SHA-256 over
them and the arrays, so a file that is torn, edited or not a checkpoint at all is refused before
anything is built from it. The arrays are NumPy's own format without pickling: loading a checkpoint
runs no code from it.

Version 1 had one kind of block for the whole model; it is still read.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from typing import Annotated, Any, BinaryIO

import equinox as eqx
import jax
import jax.numpy as jnp
import msgspec
import numpy as np

from echoloom.frontend.data.files import is_intact, read_header, sealed, write_whole
from echoloom.frontend.energy.hamiltonian import Hamiltonian
from echoloom.frontend.models.hssm import HSSM
from echoloom.frontend.models.leaves import bytes_of, read_leaves
from echoloom.frontend.models.units import CustomUnit, LinearUnit, NonlinearUnit, RawUnit

FORMAT = "echoloom.hssm"
VERSION = 2
# What version 1 could not say, because every model was like this.
VERSION_1 = {"substeps": 1, "integrator": "leapfrog", "activation": "gelu"}
# No honest header comes near this; it bounds what is read from a file that has no line end.
HEADER_LIMIT = 1 << 20

# What comes of a header with a right checksum that another program wrote.
_NONSENSE = (AttributeError, KeyError, TypeError, ValueError, OverflowError, SyntaxError)
_Size = Annotated[int, msgspec.Meta(ge=1)]

# Instances that stand for the classes of units whose code is not stored: one for all of them, or
# what the constructor got, one a block.
Units = Hamiltonian | Sequence[str | Hamiltonian] | None


def save_model(path: str | os.PathLike[str], model: HSSM) -> None:
    """Writes `model`, whole or not at all. Arrays come back in the float types that they have.

    Raises ValueError for a model with a raw unit of its own, and OSError if it cannot be written.
    """
    write_whole(path, model_bytes(model))


def model_bytes(model: HSSM) -> bytes:
    """What `save_model` writes."""
    arrays = eqx.filter(model, eqx.is_array)
    dtypes = [np.asarray(leaf).dtype for leaf in jax.tree.leaves(arrays)]
    dtype = _stored_type(dtypes)
    buffer = io.BytesIO()
    eqx.tree_serialise_leaves(buffer, jax.tree.map(lambda a: np.asarray(a, dtype), arrays))
    payload = buffer.getvalue()
    arguments = {
        "inputs": model.inputs,
        "outputs": model.outputs,
        "hidden": model.hidden,
        "state": model.states,
        "blocks": len(model.blocks),
        "unit": [_described(b.unit, f"blocks[{i}]") for i, b in enumerate(model.blocks)],
        "complex": model.complexes,
        "task": model.task,
        "output_step": model.output_step,
        "substeps": [block.substeps for block in model.blocks],
        "integrator": [block.integrator for block in model.blocks],
        "activation": model.activation,
    }
    if model.classes:
        arguments["classes"] = model.classes
    header: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "dtype": str(dtype),
        "model": arguments,
    }
    if any(own != dtype for own in dtypes):
        header["dtypes"] = [str(own) for own in dtypes]
    return sealed(header, payload)


def _stored_type(dtypes: Sequence[np.dtype]) -> np.dtype:
    """One type that holds all of them exactly and that NumPy's files know: bfloat16 and its like
    are float32 there."""
    first = dtypes[0]
    if first.kind == "f" and all(own == first for own in dtypes):
        return first
    return np.result_type(np.float32, *(own for own in dtypes if own.itemsize >= 4))


def load_model(path: str | os.PathLike[str], unit: Units = None) -> HSSM:
    """The model that `save_model` wrote, in its own float types; without x64, JAX makes float64
    float32.

    `unit` is needed for a model with Hamiltonians of its own: code is not stored, so an instance
    of the same class and shapes says what each is; its numbers come from the file. One stands for
    all such blocks; a sequence has one a block, and "linear" or "nonlinear" at the others. Raises
    ValueError, in one sentence, for a file that is not a whole checkpoint, and OSError for one
    that cannot be read.
    """
    with open(path, "rb") as file:
        return read_model(file, path, unit)


def read_model(file: BinaryIO, path: str | os.PathLike[str], unit: Units = None) -> HSSM:
    """`load_model` from an open file; `path` names it in error messages."""
    line = file.readline(HEADER_LIMIT)
    payload = file.read()
    if (header := read_header(line, FORMAT)) is None:
        raise ValueError(f"{path}: this is not an Echoloom checkpoint; write one with save_model.")
    if not is_intact(header, payload):
        raise ValueError(
            f"{path}: the checkpoint is damaged, its checksum does not match; save it again."
        )
    if header.get("version") not in (1, VERSION):
        raise ValueError(
            f"{path}: the checkpoint has version {header.get('version')}, but this release reads "
            f"versions 1 and {VERSION}."
        )
    try:
        said = msgspec.convert(header, _Header)
        _check_sizes(said.model, len(payload))
        arguments = dict(header["model"])
        if header["version"] == 1:
            arguments = _from_version_1(arguments)
        described = list(arguments["unit"])
        names = [str(own["class"] if own["kind"] == "own" else own["kind"]) for own in described]
        dtype = np.dtype(said.dtype)
        own = [jnp.dtype(name) for name in said.dtypes]
    except _NONSENSE as error:
        raise _nonsense(path, error) from error
    units = _matched(path, names, described, unit)
    try:
        # Shapes are enough: drawing parameters would cost seconds of compilation.
        model = eqx.filter_eval_shape(lambda: _blank(arguments, units, described))
    except _NONSENSE as error:
        raise _nonsense(path, error) from error
    # What is no array comes with the caller's unit, as its class does.
    shapes, others = eqx.partition(model, lambda a: isinstance(a, jax.ShapeDtypeStruct))
    typed = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, dtype), shapes)
    try:
        if bytes_of(typed) > len(payload):
            raise ValueError(f"arrays of {bytes_of(typed)} bytes in {len(payload)}")
        stored = read_leaves(payload, jax.tree.map(lambda a: np.zeros(a.shape, dtype), typed))
    except ValueError as error:
        raise ValueError(
            f"{path}: the arrays do not fit the model in the header; save it again."
        ) from error
    leaves, structure = jax.tree.flatten(jax.tree.map(jnp.asarray, stored))
    if len(own) not in (0, len(leaves)):
        raise _nonsense(path, ValueError(f"{len(own)} types of {len(leaves)} arrays"))
    # A type that JAX has switched off stays what JAX made of it.
    narrowed = [
        leaf.astype(narrow) if narrow.itemsize < leaf.dtype.itemsize else leaf
        for leaf, narrow in zip(leaves, own or [dtype] * len(leaves), strict=True)
    ]
    return eqx.combine(jax.tree.unflatten(structure, narrowed), others)


class _Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The types of what a header says of a model; `HSSM` looks at the values."""

    inputs: _Size
    outputs: _Size
    hidden: _Size
    state: _Size | tuple[_Size, ...]
    blocks: _Size
    unit: str | tuple[dict[str, Any], ...]
    complex: bool | tuple[bool, ...]
    task: str
    output_step: _Size
    substeps: int | tuple[int, ...] = 1
    integrator: str | tuple[str, ...] = ""
    activation: str = ""
    classes: tuple[str, ...] = ()


class _Header(msgspec.Struct, frozen=True):
    """The types of a header."""

    dtype: str
    model: _Model
    dtypes: tuple[str, ...] = ()


def _check_sizes(model: _Model, payload: int) -> None:
    """ValueError for a model that is larger than the arrays in the file, before any of it is made:
    each of its sizes is that of an axis, and a block is one array at least."""
    states = model.state if isinstance(model.state, tuple) else (model.state,)
    largest = max(model.inputs, model.outputs, model.hidden, model.blocks, *states)
    if largest > payload:
        raise ValueError(f"a size of {largest} in {payload} bytes")
    if isinstance(model.unit, tuple) and len(model.unit) != model.blocks:
        raise ValueError(f"{len(model.unit)} units in {model.blocks} blocks")


def _nonsense(path: str | os.PathLike[str], error: Exception) -> ValueError:
    return ValueError(
        f"{path}: the checkpoint's header describes no model that this release knows ({error}); "
        "save it again."
    )


def _described(unit: RawUnit, where: str) -> dict[str, Any]:
    """What a block's unit is, but for its numbers."""
    if isinstance(unit, LinearUnit):
        return {"kind": "linear"}
    if isinstance(unit, NonlinearUnit):
        return {
            "kind": "nonlinear",
            "gain_sigmoids": unit.gain_sigmoids,
            "step_through": unit.step_through,
            "shared_step": unit.step.shape != unit.weight.shape,
        }
    if isinstance(unit, CustomUnit):
        return {"kind": "own", "class": type(unit.hamiltonian).__name__}
    raise ValueError(
        f"save_model: {where}.unit is a {type(unit).__name__}, but a checkpoint holds linear and "
        "nonlinear units and Hamiltonians only: write it as a Hamiltonian."
    )


def _from_version_1(arguments: dict[str, Any]) -> dict[str, Any]:
    name = arguments["unit"]
    described = {"kind": "linear"} if name == "linear" else {"kind": "own", "class": name}
    return {**arguments, **VERSION_1, "unit": [described] * arguments["blocks"]}


def _matched(
    path: str | os.PathLike[str], names: list[str], described: list[dict[str, Any]], unit: Units
) -> list[str | Hamiltonian]:
    """Each block's unit for the constructor, from what the file says and what the caller gave."""
    blocks, own = len(names), [one["kind"] == "own" for one in described]
    if unit is not None and not isinstance(unit, Hamiltonian) and len(unit) != blocks:
        raise ValueError(
            f"{path}: the model has {blocks} blocks, but `unit` holds {len(unit)} values: give "
            "one for each, or a single Hamiltonian."
        )
    if unit is None or isinstance(unit, Hamiltonian):
        if unit is not None and not any(own):
            own = [True] * blocks  # it has no place: let the first block say so
        given: list[str | Hamiltonian] = [
            unit if unit is not None and mine else "linear" if mine else name
            for mine, name in zip(own, names, strict=True)
        ]
    else:
        given = list(unit)
    for index, (wanted, found) in enumerate(zip(names, given, strict=True)):
        name = found if isinstance(found, str) else type(found).__name__
        if wanted != name:
            raise ValueError(
                f"{path}: block {index}'s unit is {wanted!r}, but it is loaded with {name!r}: "
                "pass an instance of the saved class as `unit`, or none for 'linear' and "
                "'nonlinear'."
            )
    return given


def _blank(
    arguments: dict[str, Any], units: list[str | Hamiltonian], described: list[dict[str, Any]]
) -> HSSM:
    """A model of the saved shapes; its numbers mean nothing."""
    model = HSSM(**{**arguments, "unit": units}, key=jax.random.key(0))
    for index, one in enumerate(described):
        if one["kind"] == "nonlinear":
            options = {name: value for name, value in one.items() if name != "kind"}
            state = model.states[index]
            unit = NonlinearUnit(model.hidden, state, None, jax.random.key(0), **options)
            model = eqx.tree_at(lambda m, i=index: m.blocks[i].unit, model, unit)
    return model
