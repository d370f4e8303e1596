"""How every command ends: an exit code that tells the truth, one sentence, one JSON object."""

from __future__ import annotations

import enum
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from echoloom.backends.bitstream.aim import TimingMissed
from echoloom.backends.bitstream.toolrun import BuildFailed
from echoloom.backends.bitstream.tools import ToolMissing
from echoloom.backends.link.errors import BoardError, OtherEngine
from echoloom.backends.prove.blocks import NotTheArithmetic
from echoloom.backends.prove.prove import NotLegal, NotRetraced
from echoloom.backends.prove.words import Undecided
from echoloom.backends.run.excess import Overflowed
from echoloom.frontend.data.sources import MissingPackage
from echoloom.sim.first_difference import Mismatch
from echoloom.sim.float_distance import WrongModel
from echoloom.sim.simulation_error import SimulationError

WAIT = 2.0  # seconds for which nobody needs to know how far it is
LONGEST = 2000  # characters of a sentence
TRACEBACK = "ECHOLOOM_TRACEBACK"  # environment variable that shows failures as Python does


class Exit(enum.IntEnum):
    """Exit codes; docs/cli.md lists them. 1 is an uncaught exception, 2 a usage error."""

    DONE = 0
    INPUT = 3
    MISMATCH = 4
    TIMING = 5
    TOOL = 6
    FAILED = 7
    INTERRUPTED = 130


# The first class that fits decides.
_EXITS: tuple[tuple[type[BaseException], Exit], ...] = (
    (Mismatch, Exit.MISMATCH),
    (WrongModel, Exit.MISMATCH),
    (NotRetraced, Exit.MISMATCH),
    (NotLegal, Exit.MISMATCH),
    (NotTheArithmetic, Exit.MISMATCH),
    (TimingMissed, Exit.TIMING),
    (ToolMissing, Exit.TOOL),
    (MissingPackage, Exit.TOOL),
    (BuildFailed, Exit.FAILED),
    (OtherEngine, Exit.INPUT),
    (BoardError, Exit.FAILED),
    (SimulationError, Exit.FAILED),
    (Undecided, Exit.FAILED),
    (KeyboardInterrupt, Exit.INTERRUPTED),
    (Overflowed, Exit.INPUT),
    (ValueError, Exit.INPUT),
    (OSError, Exit.INPUT),
)


class Reporter:
    """What a command says. Results go to stdout, but with --json stdout is one JSON object."""

    def __init__(self, name: str, as_json: bool):
        self.name, self.as_json = name, as_json
        self.results = Console(stderr=as_json, soft_wrap=True, highlight=False)
        self.errors = Console(stderr=True, soft_wrap=True, highlight=False)
        self.result: dict[str, Any] = {}

    def show(self, item: RenderableType) -> None:
        """A table or a line of the result, for people."""
        # Markup would eat the brackets of shapes like [T, 6].
        self.results.print(item, markup=False)

    def notes(self, lines: Sequence[str]) -> None:
        """What a user should know of the data: on stderr, and in the JSON object."""
        if lines:
            self.result["notes"] = list(lines)
        for line in lines:
            self.errors.print(line, markup=False)

    @contextmanager
    def working(self, what: str) -> Iterator[Progress]:
        """A spinner with the time so far, on a terminal only."""
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=self.errors, transient=True) as progress:
            progress.add_task(what, total=None)
            yield progress

    @contextmanager
    def following(self, what: str) -> Iterator[Callable[[str, int, int], None]]:
        """A spinner, on a terminal only; after WAIT seconds also a bar of the part that is being
        done, which is told by name, with how much of it is done and of how much: 0 where nobody
        knows."""
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
        )
        silent = not self.errors.is_terminal
        began = time.monotonic()
        with Progress(*columns, console=self.errors, transient=True, disable=silent) as progress:
            task = progress.add_task(what, total=None)

            def told(part: str, done: int, total: int) -> None:
                if time.monotonic() - began > WAIT:
                    description = f"{what}: {part}"
                    progress.update(
                        task, description=description, completed=done, total=total or None
                    )

            yield told

    @contextmanager
    def counting(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """A bar, on a terminal only; it is told how much is done, and of how much."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        silent = not self.errors.is_terminal
        with Progress(*columns, console=self.errors, transient=True, disable=silent) as progress:
            task = progress.add_task(what, total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)

    def write_json(self, code: Exit, **values: Any) -> None:
        if self.as_json:
            summary = {"command": self.name, "ok": code is Exit.DONE, "exit_code": int(code)}
            typer.echo(json.dumps({**summary, **values}))


@contextmanager
def command(name: str, as_json: bool) -> Iterator[Reporter]:
    """Run a command's body; any failure that a user can mend becomes one sentence and a code.

    Raises typer.Exit. Other exceptions are faults of this program and keep their traceback.
    """
    reporter = Reporter(name, as_json)
    try:
        yield reporter
    except tuple(kind for kind, _ in _EXITS) as error:
        if os.environ.get(TRACEBACK):
            raise
        code = next(code for kind, code in _EXITS if isinstance(error, kind))
        text = sentence(error)
        reporter.write_json(code, **reporter.result, error=text)
        reporter.errors.print(f"echoloom {name}: {text}", markup=False)
        raise typer.Exit(code) from None
    reporter.write_json(Exit.DONE, **reporter.result)


def sentence(error: BaseException) -> str:
    """An exception's text, without Python's decorations, and without what a file may have put into
    it: control characters, new lines, a value of thousands of characters."""
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in _text(error).strip())
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"


def _text(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
