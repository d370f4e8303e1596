"""Compiled programs on disk: one line of JSON that a human can read, then the parts it lists.

    {"format": "echoloom.program", "version": 1, ..., "parts": [["model", 9321], ...], ...}
    model         a checkpoint, as `frontend.checkpoint` writes it
    ir            the integer program's text
    precision     what was chosen for it, as TOML
    coefficient/* words, little-endian int64, in row-major order
    base/*, slope/*  the lines of a table, likewise

Nothing is pickled, so loading runs no code from the file. Addresses and schedules are not stored:
`place` is deterministic and makes them again.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Annotated, Any, BinaryIO

import jax
import msgspec
import numpy as np

from echoloom.backends.compile.arguments import checked_widths, engine_sizes
from echoloom.backends.compile.targets import TARGETS, Target
from echoloom.backends.run.integers import Words
from echoloom.backends.run.levels import Artifact
from echoloom.frontend.data.files import is_intact, read_json, sealed
from echoloom.frontend.energy.hamiltonian import Hamiltonian
from echoloom.frontend.models.checkpoint import model_bytes, read_model
from echoloom.frontend.models.hssm import HSSM
from echoloom.ir.contract import EngineConfig, Timing
from echoloom.ir.learning import learning_of_settings, learning_settings
from echoloom.ir.parser import parse
from echoloom.ir.passes.image import place
from echoloom.ir.precision import Precision, precision_of
from echoloom.ir.tables import TableContents
from echoloom.ir.verifier import verify

FORMAT = "echoloom.program"
VERSION = 1
# A large model's header lists some thousand parts; this bounds what a foreign file can cost.
HEADER_LIMIT = 1 << 20
MAGIC = f'{{"format": "{FORMAT}"'.encode()
SIZES = ("lanes", "drains", "slots", "word", "narrow", "accumulator")


class CorruptProgram(ValueError):
    """The file is not a whole saved program of a version that this release reads."""


@dataclass(frozen=True, eq=False)
class Contents:
    """What a file holds: all of a compiled program but the traced model, which is traced anew."""

    model: HSSM
    artifact: Artifact
    target: Target
    epsilons: tuple[float, ...]
    # The largest magnitude of every input channel on the samples; () in files of old releases.
    peaks: tuple[float, ...] = ()
    precision: Precision | None = None  # all that was chosen; None in files of old releases


def packed(program: Contents) -> bytes:
    """A whole file. Raises ValueError for a model that a checkpoint cannot hold."""
    artifact, mapped = program.artifact, program.artifact.mapped
    parts = {"model": model_bytes(program.model), "ir": str(artifact.program).encode()}
    if program.precision is not None:
        parts["precision"] = str(program.precision).encode()
    for name, words in artifact.coefficients.items():
        parts[f"coefficient/{name}"] = _packed(words)
    for key, table in artifact.tables.items():
        parts[f"base/{key}"], parts[f"slope/{key}"] = _packed(table.base), _packed(table.slope)
    payload = b"".join(parts.values())
    header: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "release": version("echoloom"),
        "target": program.target.name,
        "output_step": artifact.output_step,
        "epsilons": list(program.epsilons),
        "peaks": list(program.peaks),
        "engine": {size: getattr(mapped.config, size) for size in SIZES},
        "tables": {key: _table_header(table) for key, table in artifact.tables.items()},
        "parts": [[name, len(data)] for name, data in parts.items()],
        "bytes": len(payload),
    }
    if artifact.learning is not None:
        header["learning"] = learning_settings(artifact.learning)
    return sealed(header, payload)


def unpacked(
    file: BinaryIO,
    path: str | os.PathLike[str],
    unit: Hamiltonian | None = None,
    model: HSSM | None = None,
) -> Contents:
    """What `packed` wrote, read from an open file that errors call `path`.

    `unit` is that of a model with a Hamiltonian of its own. A `model` takes the place of the stored
    one; the coefficients stay the stored ones. Raises CorruptProgram for anything else, and
    ValueError for another unit than the saved one.
    """
    line, payload = file.readline(HEADER_LIMIT), file.read()
    header = _header(path, line)
    parts = _parts(path, header, payload)
    if model is None:
        # The stored float type counts, not the one that JAX happens to have as its default.
        with jax.enable_x64(True):
            model = read_model(io.BytesIO(parts.get("model", b"")), path, unit)
    try:
        return Contents(
            model, _artifact(header, parts), TARGETS[header["target"]], tuple(header["epsilons"]),
            tuple(header.get("peaks", ())), _precision(parts, path),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise _nonsense(path, error) from error


def _precision(parts: Mapping[str, bytes], path: str | os.PathLike[str]) -> Precision | None:
    text = parts.get("precision")
    return None if text is None else precision_of(text.decode(), os.fspath(path))


def _header(path: str | os.PathLike[str], line: bytes) -> dict[str, Any]:
    if not line.startswith(MAGIC):
        raise CorruptProgram(
            f"{path}: this is not a saved Echoloom program; write one with program.save or "
            "`echoloom compile`."
        )
    try:
        header = read_json(line)
        stored, release = header["version"], header["release"]
    except (ValueError, KeyError) as error:
        raise CorruptProgram(
            f"{path}: the saved program's first line is damaged or cut off; save it again."
        ) from error
    if stored != VERSION:
        raise CorruptProgram(
            f"{path}: the saved program has version {stored}, but this release reads version "
            f"{VERSION}; load it with release {release}, which wrote it."
        )
    return header


def _parts(
    path: str | os.PathLike[str], header: Mapping[str, Any], payload: bytes
) -> dict[str, bytes]:
    """The parts by name, once the whole file is known to be what was written."""
    if not is_intact(header, payload):
        wanted = header.get("bytes")
        if isinstance(wanted, int) and len(payload) < wanted:
            raise CorruptProgram(
                f"{path}: the saved program is cut off, {len(payload)} of {wanted} bytes follow "
                "its first line; save it again."
            )
        raise CorruptProgram(
            f"{path}: the saved program is damaged, its checksum does not match; save it again."
        )
    parts: dict[str, bytes] = {}
    start = 0
    for name, size in _said(path, header).parts:
        parts[name] = payload[start : start + size]
        start += size
    return parts


class _Header(msgspec.Struct, frozen=True):
    """The types of what a header says; its parts look at the values."""

    target: str
    output_step: Annotated[int, msgspec.Meta(ge=1)]
    epsilons: tuple[float, ...]
    engine: dict[str, int | None]
    tables: dict[str, dict[str, int | float]]
    parts: tuple[tuple[str, Annotated[int, msgspec.Meta(ge=0)]], ...]
    peaks: tuple[float, ...] = ()
    learning: dict[str, Any] | None = None


def _said(path: str | os.PathLike[str], header: Mapping[str, Any]) -> _Header:
    try:
        return msgspec.convert(header, _Header)
    except msgspec.ValidationError as error:
        raise _nonsense(path, error) from error


def _nonsense(path: str | os.PathLike[str], error: Exception) -> CorruptProgram:
    return CorruptProgram(
        f"{path}: the saved program does not make sense to this release ({error}); "
        "compile it again."
    )


def _artifact(header: Mapping[str, Any], parts: Mapping[str, bytes]) -> Artifact:
    program = verify(parse(parts["ir"].decode()))
    coefficients = {
        d.name: _unpacked(parts[f"coefficient/{d.name}"]).reshape(d.type.shape)
        for d in program.coefficients
    }
    tables = {
        key: TableContents(
            tuple(_unpacked(parts[f"base/{key}"]).tolist()),
            tuple(_unpacked(parts[f"slope/{key}"]).tolist()),
            **rest,
        )
        for key, rest in header["tables"].items()
    }
    learning = learning_of_settings(header["learning"]) if "learning" in header else None
    # A file's engine may have had other latencies: a program plays on the engine of this release.
    mapped = place(program, tables, _engine(header["engine"]), Timing(), learning)
    return Artifact(program, coefficients, tables, header["output_step"], mapped, learning=learning)


def _engine(said: Mapping[str, Any]) -> EngineConfig:
    """ValueError for sizes that no engine has."""
    engine = EngineConfig(**said)
    engine_sizes(engine.lanes, engine.drains, engine.slots)
    checked_widths(replace(engine.widths, gradient=engine.gradient))
    return engine


def _table_header(table: TableContents) -> dict[str, Any]:
    header = asdict(table)
    del header["base"], header["slope"]
    return header


def _packed(words: Any) -> bytes:
    return np.asarray(words, np.int64).astype("<i8").tobytes()


def _unpacked(data: bytes) -> Words:
    return np.frombuffer(data, "<i8").astype(np.int64)
