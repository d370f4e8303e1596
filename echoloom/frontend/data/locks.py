"""Locks on files and folders, which end with the process that holds them, however it ends."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def locked(file: IO[Any] | int) -> Iterator[bool | None]:
    """Lock an open file, or the number of a folder, for as long as the context lasts. False if
    another has the lock, None on a file system that has no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mine = True
    except BlockingIOError:
        mine = False
    except OSError:
        mine = None
    yield mine


@contextmanager
def alone_in(folder: Path, what: str) -> Iterator[None]:
    """Be the only one at work in a folder: OSError, one sentence, if there is another `what`."""
    with opened(folder) as number, locked(number) as mine:
        if mine is False:
            raise OSError(
                errno.EBUSY,
                f"another {what} is at work in {folder}: wait for it, or name another folder",
            )
        yield


@contextmanager
def opened(folder: Path) -> Iterator[int]:
    """The number of a folder that is open."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield number
    finally:
        os.close(number)
