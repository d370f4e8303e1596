"""Models on disk: one line of JSON that a human can read, then the arrays.

The line holds the constructor's arguments and a SHA-256 over them and the arrays, so a file that is
torn, edited or not a checkpoint at all is refused before anything is built from it. The arrays are
NumPy's own format without pickling: loading a checkpoint runs no code from it.
"""

from __future__ import annotations

import io
import json
import os
from typing import Any, BinaryIO

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from echoloom.frontend.files import digest, write_whole
from echoloom.frontend.hamiltonian import Hamiltonian
from echoloom.frontend.hssm import HSSM
from echoloom.frontend.units import CustomUnit

FORMAT = "echoloom.hssm"
VERSION = 1
# No honest header comes near this; it bounds what is read from a file that has no line end.
HEADER_LIMIT = 1 << 16


def save_model(path: str | os.PathLike[str], model: HSSM) -> None:
    """Writes `model`, whole or not at all. All arrays are stored in their common float type."""
    write_whole(path, model_bytes(model))


def model_bytes(model: HSSM) -> bytes:
    """What `save_model` writes. Raises ValueError for blocks of several kinds."""
    dtype = np.result_type(*(np.asarray(leaf).dtype for leaf in jax.tree.leaves(model)))
    buffer = io.BytesIO()
    eqx.tree_serialise_leaves(buffer, jax.tree.map(lambda a: np.asarray(a, dtype), model))
    payload = buffer.getvalue()
    arguments = {
        "inputs": model.inputs,
        "outputs": model.outputs,
        "hidden": model.hidden,
        "state": model.state,
        "blocks": len(model.blocks),
        "unit": _unit_name(model),
        "complex": model.complex,
        "task": model.task,
        "output_step": model.output_step,
    }
    header: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "dtype": str(dtype),
        "model": arguments,
    }
    header["sha256"] = digest(header, payload)
    return json.dumps(header).encode() + b"\n" + payload


def load_model(path: str | os.PathLike[str], unit: Hamiltonian | None = None) -> HSSM:
    """The model that `save_model` wrote, in JAX's default float type.

    `unit` is needed for a model with a Hamiltonian of its own: code is not stored, so an instance
    of the same class says what it is; its numbers come from the file. Raises ValueError, in one
    sentence, for a file that is not a whole checkpoint, and OSError for one that cannot be read.
    """
    with open(path, "rb") as file:
        return read_model(file, path, unit)


def read_model(
    file: BinaryIO, path: str | os.PathLike[str], unit: Hamiltonian | None = None
) -> HSSM:
    """`load_model` from an open file; `path` names it in error messages."""
    line = file.readline(HEADER_LIMIT)
    payload = file.read()
    header = _header(path, line)
    if header.get("sha256") != digest(header, payload):
        raise ValueError(
            f"{path}: the checkpoint is damaged, its checksum does not match; save it again."
        )
    if header["version"] != VERSION:
        raise ValueError(
            f"{path}: the checkpoint has version {header['version']}, but this release reads "
            f"version {VERSION}."
        )
    arguments = header["model"]
    own = "linear" if unit is None else type(unit).__name__
    if arguments["unit"] != own:
        raise ValueError(
            f"{path}: the model's unit is {arguments['unit']!r}, but it is loaded with {own!r}: "
            "pass an instance of the saved class as `unit`, or none for 'linear'."
        )
    # Shapes are enough: drawing parameters would cost seconds of compilation.
    model = eqx.filter_eval_shape(
        lambda: HSSM(**{**arguments, "unit": unit or "linear"}, key=jax.random.key(0))
    )
    dtype = np.dtype(header["dtype"])
    template = jax.tree.map(lambda a: np.zeros(a.shape, dtype), model)
    try:
        stored = eqx.tree_deserialise_leaves(io.BytesIO(payload), template)
    except (RuntimeError, ValueError, EOFError) as error:
        raise ValueError(
            f"{path}: the arrays do not fit the model in the header; save it again."
        ) from error
    return jax.tree.map(jnp.asarray, stored)


def _header(path: str | os.PathLike[str], line: bytes) -> dict[str, Any]:
    try:
        header = json.loads(line)
    except ValueError:
        header = None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError(f"{path}: this is not an Echoloom checkpoint; write one with save_model.")
    return header


def _unit_name(model: HSSM) -> str:
    units = [block.unit for block in model.blocks]
    names = {type(u.hamiltonian).__name__ if isinstance(u, CustomUnit) else "linear" for u in units}
    if len(names) > 1:
        raise ValueError(
            f"save_model: the blocks' units differ ({', '.join(sorted(names))}), but a checkpoint "
            "holds blocks of one kind."
        )
    return names.pop()
