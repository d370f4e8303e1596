"""Files that are whole or not there, and the checksum of one line of JSON and what follows it."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes `path` under another name first, so a reader never meets half of it.

    Raises OSError, whose text is one sentence, and then leaves `path` as it was.
    """
    target = Path(path)
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(data)
        partial.replace(target)
    except OSError as error:
        raise OSError(error.errno, f"cannot write {path}: {error.strerror}") from error
    finally:
        # It is gone already, or could not even be made.
        with suppress(OSError):
            partial.unlink()


def check_destination(path: Path) -> None:
    """Raises OSError, before any work, unless a file can be written at `path`."""
    if path.is_dir():
        raise OSError(f"cannot write {path}: it is a folder")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OSError(error.errno, f"cannot write {path}: {error.strerror}") from error


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
