"""Where in the user's own files an operation or an error comes from: `file:line:column`.

A place is the innermost line that is neither JAX's nor this package's; in a unit of this package,
its own innermost line. Nothing outside `STAGE`, from where energies are called, counts.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import equinox
from jax._src import source_info_util

PACKAGE = str(Path(__file__).parents[2])
STAGE = str(Path(__file__).parent / "canonical" / "stage.py")
LIBRARIES = (PACKAGE, str(Path(equinox.__file__).parent))


class Place(NamedTuple):
    """A file, its line and column; columns count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


def is_users(file: str) -> bool:
    """Whether a file is neither of JAX, of Python nor of the libraries beneath a user's code."""
    return source_info_util.is_user_filename(file) and not file.startswith(LIBRARIES)


def of_traceback(traceback: Any) -> str:
    """Place of a traced operation, empty where all of it is inside JAX."""
    frames = source_info_util.user_frames(traceback)
    return _innermost(Place(f.file_name, f.start_line, f.start_column + 1) for f in frames)


def of_error(error: BaseException) -> str:
    """Place that raised an error under `STAGE`, empty where none of the user's lines is in it."""
    frames = reversed(list(_error_frames(error.__traceback__)))
    return _innermost(f for f in frames if source_info_util.is_user_filename(f.file))


def of_function(function: Callable[..., Any]) -> str:
    """Place where a function is defined."""
    code = inspect.unwrap(function).__code__
    return f"{code.co_filename}:{code.co_firstlineno}:1"


def _innermost(frames: Iterable[Place]) -> str:
    """From frames, innermost first: the first of the user's, else the first of all."""
    ours = list(takewhile(lambda f: f.file != STAGE, frames))
    return str(next((f for f in ours if is_users(f.file)), ours[0])) if ours else ""


def _error_frames(trace: TracebackType | None) -> Iterator[Place]:
    """Every frame of an error, outermost first."""
    while trace is not None:
        code = trace.tb_frame.f_code
        column = list(code.co_positions())[trace.tb_lasti // 2][2] or 0
        yield Place(code.co_filename, trace.tb_lineno, column + 1)
        trace = trace.tb_next
