"""Sequences that drove a word out of its range, written to a file on request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from echoloom.backends.run.excess import Kept, Overflowed
from echoloom.cli.outcome import Reporter
from echoloom.frontend.data.files import npz_bytes, write_whole

Keep = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.npz",
        help="Write the sequence here whose word left its range first, as DATA of X and y.",
    ),
]


def write_kept(say: Reporter, path: Path | None, xs: Sequence[Any], labels: Sequence[Any]) -> None:
    """Sequences of one length, and their labels where all have one."""
    if path is None or not len(xs):
        return
    arrays = {"X": np.stack([np.asarray(x, np.float64) for x in xs])}
    if all(label is not None for label in labels):
        arrays["y"] = np.stack([np.asarray(label) for label in labels])
    write_whole(path, npz_bytes(arrays))
    say.result["kept"] = str(path)
    say.errors.print(f"wrote {path}", markup=False)


def say_of_kept(say: Reporter, kept: Kept | None, path: Path | None) -> None:
    """Of a training: what overflowed first."""
    if kept is not None:
        say.result["first_overflow"] = str(kept.excess)
        say.show(f"first overflow: {kept.excess}")
        write_kept(say, path, [kept.x], [kept.label])


@contextmanager
def keeping(say: Reporter, path: Path | None) -> Iterator[None]:
    """Writes the sequence of an Overflowed that passes through."""
    try:
        yield
    except Overflowed as error:
        if error.kept is not None:
            write_kept(say, path, [error.kept.x], [error.kept.label])
        raise
