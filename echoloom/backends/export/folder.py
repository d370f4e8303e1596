"""A folder that is written whole or not at all."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from echoloom.frontend.data.files import read_json
from echoloom.frontend.data.locks import opened
from echoloom.frontend.data.work_folders import work_folder

MANIFEST = "export.json"


def check_folder(folder: Path) -> None:
    """Raises OSError, before any work, unless a folder can be written at `folder`, and ValueError
    if there is one that holds anything but an earlier export."""
    parent = folder.resolve().parent
    try:
        with _swapping(parent), tempfile.TemporaryFile(dir=parent):
            _check_there(folder)
    except OSError as error:
        if error.errno is None:  # it is a sentence already
            raise
        raise OSError(error.errno, f"cannot write {folder}: {error.strerror}") from error


def _check_there(folder: Path) -> None:
    if folder.is_dir():
        strange = _strange(folder)
        if strange is not None:
            raise ValueError(
                f"{folder} is there and holds {strange}, which is of no export; name an empty "
                "folder, a new one, or that of an earlier export"
            )
    elif os.path.lexists(folder):
        raise OSError(f"cannot write {folder}: it is a file")


def write_folder(folder: Path, files: Mapping[str, str]) -> None:
    """Write `files`, by their paths in the folder, beside it, and then put it in its place.

    Raises as `check_folder`, and OSError; then what was there before is there still.
    """
    check_folder(folder)
    target = folder.resolve()
    try:
        with work_folder("export", target.parent) as beside:
            fresh, former = beside / "new", beside / "old"
            for name, text in files.items():
                path = fresh / name
                path.parent.mkdir(parents=True, exist_ok=True)
                _write(path, text)
            with _swapping(target.parent):
                _swap(fresh, target, former)
    except OSError as error:
        raise OSError(error.errno, f"cannot write {folder}: {error.strerror}") from error


def _write(path: Path, text: str) -> None:
    with path.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _swapping(parent: Path) -> Iterator[None]:
    """While it lasts, no other process puts a folder into its place in this one."""
    with opened(parent) as number:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(number, fcntl.LOCK_EX)
        yield


def _swap(fresh: Path, target: Path, former: Path) -> None:
    if target.exists():
        target.rename(former)
    try:
        fresh.rename(target)
    except OSError:
        if former.exists():
            former.rename(target)
        raise


def _strange(folder: Path) -> str | None:
    """A file in a folder that an export did not write there."""
    found = sorted(path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())
    try:
        own = set(read_json((folder / MANIFEST).read_bytes())["files"])
    except (OSError, ValueError, KeyError, TypeError):
        own = set()
    return next((name for path in found
                 if (name := path.relative_to(folder).as_posix()) not in own), None)  # fmt: skip
