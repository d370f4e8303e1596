"""Folders for work that is thrown away: also that of processes that were killed."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from echoloom.frontend.data.locks import locked, opened

# Whoever makes a folder of this name locks it; releases before this one gave theirs other names.
LOCKED = ".echoloom-work-"


@contextmanager
def work_folder(what: str, place: Path | None = None) -> Iterator[Path]:
    """An empty folder in `place`, or where temporary files are, which goes with the context.

    Those for the same work whose process was killed go when the next is made; while they are there
    nothing reads them. Raises OSError.
    """
    place = Path(tempfile.gettempdir()) if place is None else place
    prefix = f"{LOCKED}{what}-"
    _remove_abandoned(prefix, place)
    while True:
        with (
            tempfile.TemporaryDirectory(
                prefix=prefix, dir=place, ignore_cleanup_errors=True
            ) as name,
            ExitStack() as stack,
        ):
            if _held(Path(name), stack):
                yield Path(name)
                return


def _held(folder: Path, stack: ExitStack) -> bool:
    """Lock a new folder; False if another process took it for abandoned before."""
    try:
        number = stack.enter_context(opened(folder))
    except FileNotFoundError:
        return False
    return stack.enter_context(locked(number)) is not False and folder.exists()


def _remove_abandoned(prefix: str, place: Path) -> None:
    """Remove work folders that no living process has locked, where they are our own."""
    ours = re.compile(rf"{re.escape(prefix)}[a-z0-9_]{{8}}")
    with suppress(OSError):
        for path in [path for path in place.iterdir() if ours.fullmatch(path.name)]:
            with suppress(OSError):
                if path.is_symlink() or path.stat().st_uid != os.getuid():
                    continue
                with opened(path) as number, locked(number) as mine:
                    if mine:
                        shutil.rmtree(path, ignore_errors=True)
