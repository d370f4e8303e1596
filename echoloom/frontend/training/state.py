"""A training run on disk: one line of JSON, the arrays, and the gradient source's own bytes.

Whatever the next step depends on is in this one file, which is replaced as a whole: a run that is
killed at any moment goes on from the last file as if nothing had happened, bit for bit. The order
of samples follows from the seed and the epoch, so no random generator has a state to keep.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

import equinox as eqx
import msgspec
import numpy as np

from echoloom.frontend.data.data_sets import Data
from echoloom.frontend.data.files import is_intact, read_header, sealed, write_whole
from echoloom.frontend.models.hssm import HSSM
from echoloom.frontend.models.leaves import read_leaves
from echoloom.frontend.training.history import Note, Row

FORMAT = "echoloom.training"
VERSION = 1


@dataclass(frozen=True)
class Counters:
    """Where a run is.

    step: steps made. loss_sum, loss_count and overflows: over the sequences since the last row.
    best and best_step: of the watched metric; stalled: evaluations since. seconds: spent so far.
    """

    step: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    overflows: int = 0
    best: float | None = None
    best_step: int = 0
    stalled: int = 0
    stopped: bool = False
    seconds: float = 0.0
    history: tuple[Row, ...] = ()
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, eq=False)
class TrainingState:
    """All that the next step depends on, but for the gradient source's own."""

    model: HSSM
    optimiser: Any  # optax's state
    best: HSSM
    counters: Counters


@dataclass(frozen=True)
class Identity:
    """Which run a state belongs to: its settings by name, its data, its seed."""

    settings: Mapping[str, Any]
    data: str
    seed: int


@dataclass(frozen=True)
class StateFile:
    """The file in which one run's state is kept."""

    path: Path
    identity: Identity

    def save(self, state: TrainingState, source: bytes) -> None:
        """Replaces the file. Raises OSError and leaves the old one if that fails."""
        write_whole(self.path, state_bytes(state, source, self.identity))

    def load(self, like: TrainingState) -> tuple[TrainingState, bytes] | None:
        """What was saved, and the source's bytes; None if nothing was.

        `like` is any state of the run: its shapes are needed, its numbers are not. Raises
        ValueError, in one sentence, for a file that is no whole state, or another run's.
        """
        try:
            stored = self.path.read_bytes()
        except FileNotFoundError:
            return None
        return read_state(self.path, stored, like, self.identity)


def data_digest(data: Data) -> str:
    """SHA-256 in hexadecimal over the names, types, shapes and values of all arrays."""
    total = hashlib.sha256()
    for field in fields(data):
        value = getattr(data, field.name)
        if isinstance(value, np.ndarray):
            total.update(f"{field.name} {value.dtype.str} {value.shape}".encode())
            total.update(np.ascontiguousarray(value).data)
    return total.hexdigest()


def state_bytes(state: TrainingState, source: bytes, identity: Identity) -> bytes:
    """What `StateFile.save` writes."""
    buffer = io.BytesIO()
    eqx.tree_serialise_leaves(buffer, (state.model, state.optimiser, state.best))
    arrays = buffer.getvalue()
    header: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "identity": msgspec.to_builtins(identity),
        "counters": msgspec.to_builtins(state.counters),
        "arrays": len(arrays),
    }
    return sealed(header, arrays + source)


def read_state(
    path: Path, stored: bytes, like: TrainingState, identity: Identity
) -> tuple[TrainingState, bytes]:
    """`StateFile.load` from bytes; `path` names them in error messages."""
    line, _, payload = stored.partition(b"\n")
    if (header := read_header(line, FORMAT)) is None:
        raise ValueError(f"{path}: this is not the state of a training run; move it away.")
    if not is_intact(header, payload):
        raise ValueError(
            f"{path}: the state is damaged, its checksum does not match; start over with --fresh."
        )
    if header.get("version") != VERSION:
        raise ValueError(
            f"{path}: the state has version {header.get('version')}, but this release reads "
            f"version {VERSION}; start over with --fresh."
        )
    try:
        said = msgspec.convert(header, _Header)
    except msgspec.ValidationError as error:
        raise ValueError(
            f"{path}: the state makes no sense to this release ({error}); start over with --fresh."
        ) from error
    _check_identity(path, said.identity, msgspec.to_builtins(identity))
    arrays, source = payload[: said.arrays], payload[said.arrays :]
    try:
        model, optimiser, best = read_leaves(arrays, (like.model, like.optimiser, like.best))
    except ValueError as error:
        raise ValueError(
            f"{path}: the state's arrays do not fit the model of this run; start over with --fresh."
        ) from error
    return replace(
        like, model=model, optimiser=optimiser, best=best, counters=said.counters
    ), source


class _Identity(msgspec.Struct, frozen=True):
    """An Identity with values as JSON has them."""

    settings: dict[str, Any]
    data: str
    seed: int


class _Header(msgspec.Struct, frozen=True):
    """What a file says first."""

    identity: _Identity
    counters: Counters
    arrays: Annotated[int, msgspec.Meta(ge=0)]


def _check_identity(path: Path, said: _Identity, own: Mapping[str, Any]) -> None:
    """Raises ValueError that names the first thing in which two runs differ."""
    # As JSON has them: its lists are not tuples.
    stored, own = msgspec.to_builtins(said), json.loads(json.dumps(own))
    remedy = "go on with what it was started with, start over with --fresh, or name another folder"
    for name in {**stored["settings"], **own["settings"]}:
        old, new = (side["settings"].get(name) for side in (stored, own))
        if old != new:
            section, _, field = name.rpartition(".")
            raise ValueError(
                f"{path}: this run was started with {f'[{section}] ' if section else ''}{field} = "
                f"{old!r}, but it is {new!r} now; {remedy}."
            )
    if stored["data"] != own["data"]:
        raise ValueError(f"{path}: this run was started with other data; {remedy}.")
    if stored["seed"] != own["seed"]:
        raise ValueError(
            f"{path}: this run was started with seed {stored['seed']}, not {own['seed']}; {remedy}."
        )
