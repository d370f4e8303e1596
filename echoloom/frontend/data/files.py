"""Files that are whole or not there, and the checksum of one line of JSON and what follows it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echoloom.frontend.data.locks import locked

LONGEST = 200  # bytes of a name that leave room for what is put behind it


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes `path` under another name first, so a reader never meets half of it.

    Raises OSError, whose text is one sentence, and then leaves `path` as it was.
    """
    write_together({Path(path): data})


def write_together(files: Mapping[Path, bytes]) -> None:
    """Writes all files under other names first, and puts them in their places when all are on disk,
    in this order: whoever finds the last one finds all.

    Raises OSError, whose text is one sentence, and then leaves all of them as they were.
    """
    with ExitStack() as stack:
        written = [
            (stack.enter_context(_partial(path, data)), path) for path, data in files.items()
        ]
        for partial, path in written:
            with _writing(path):
                partial.replace(_target(path))


def check_destination(path: Path) -> None:
    """Raises OSError, before any work, unless a file can be written at `path`."""
    with _writing(path), tempfile.TemporaryFile(dir=_target(path).parent):
        pass


def _target(path: Path) -> Path:
    """The file that a path stands for: where a link leads to. Raises OSError if it is there and is
    no file."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(None, "it is a folder")
    if target.exists() and not target.is_file():
        raise OSError(None, "it is a device, and no file")
    return target


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"cannot write {path}: {error.strerror}") from error


@contextmanager
def _partial(path: Path, data: bytes) -> Iterator[Path]:
    """The data on disk, beside where they will be, for as long as the context lasts."""
    with ExitStack() as stack:
        with _writing(path):
            target = _target(path)
            partial = stack.enter_context(_named_beside(target))
            _fill(partial, data)
        yield Path(partial.name)


def _fill(file: FileIO, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]
    os.fsync(file.fileno())  # some file systems say only now that the disk is full


@contextmanager
def _named_beside(target: Path) -> Iterator[FileIO]:
    """A new file beside `target`, locked, which goes with the context; files of writers that were
    killed go too. It has no buffer: what a full disk does not take would fail again when the file
    is closed, and that has no name in it."""
    stem = target.name
    if len(os.fsencode(stem)) > LONGEST:
        stem = hashlib.sha256(os.fsencode(stem)).hexdigest()
    _remove_abandoned(target.parent, stem)
    while True:
        path = target.with_name(f"{stem}.{secrets.token_hex(8)}.partial")
        with path.open("xb", buffering=0) as file, locked(file) as mine:
            if mine is False or not os.fstat(file.fileno()).st_nlink:
                continue  # another writer took it for abandoned before it was locked
            try:
                yield file
            finally:
                # It is in its place already, or could not be written.
                with suppress(OSError):
                    path.unlink()
            return


def _remove_abandoned(folder: Path, stem: str) -> None:
    """Remove what killed writers of a file have left: what no living one has locked."""
    ours = re.compile(rf"{re.escape(stem)}\.[0-9a-f]{{16}}\.partial")
    with suppress(OSError):
        for path in [path for path in folder.iterdir() if ours.fullmatch(path.name)]:
            with suppress(OSError), path.open("rb") as file, locked(file) as mine:
                if mine and stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    path.unlink()


def npz_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Arrays as `numpy.savez` writes them."""
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def json_bytes(values: Mapping[str, Any]) -> bytes:
    """A report as it lies on disk."""
    return (json.dumps(values, indent=2) + "\n").encode()


def sealed(header: Mapping[str, Any], payload: bytes) -> bytes:
    """The header as one line of JSON, with the SHA-256 of all, and the payload."""
    checked = {**header, "sha256": digest(header, payload)}
    return json.dumps(checked).encode() + b"\n" + payload


def read_json(text: bytes | str) -> Any:
    """What a JSON text says. Raises ValueError for anything else."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("brackets in brackets without end") from error


def read_header(line: bytes, kind: str) -> dict[str, Any] | None:
    """The header in a file's first line; None if that is no header with `kind` as its format."""
    try:
        header = read_json(line)
    except ValueError:
        return None
    return header if isinstance(header, dict) and header.get("format") == kind else None


def is_intact(header: Mapping[str, Any], payload: bytes) -> bool:
    """Whether a header and a payload are what `sealed` wrote."""
    try:
        return header.get("sha256") == digest(header, payload)
    except RecursionError:  # `sealed` writes no header as deep as this
        return False


def digest(header: Mapping[str, Any], payload: bytes) -> str:
    """SHA-256 in hexadecimal over the header without its checksum, and the payload."""
    rest = {name: value for name, value in header.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode() + payload).hexdigest()
