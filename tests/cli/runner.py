"""Runs commands in this process, and makes data for them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from typer.testing import CliRunner

from echoloom.cli import app
from echoloom.cli.outcome import Exit

STEPS, CHANNELS, CLASSES = 10, 3, 2


@dataclass(frozen=True)
class Ran:
    """What a command left: its exit code and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object on stdout."""
        found = json.loads(self.out)
        assert found["ok"] == (self.code == 0)
        assert found["exit_code"] == self.code
        return found


def echoloom(*arguments: object) -> Ran:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ran(result.exit_code, result.stdout, result.stderr)


def refused(code: Exit, *arguments: object) -> str:
    """The sentence of a command that fails with `code`, alike in words and in JSON."""
    said = echoloom(*arguments)
    assert (said.code, said.out) == (code, "")
    lines = said.err.strip().splitlines()
    prefix = f"echoloom {arguments[0]}: "
    assert lines[-1].startswith(prefix)
    told = echoloom(*arguments, "--json")
    assert told.code == code
    assert told.json["error"] == lines[-1].removeprefix(prefix)
    return told.json["error"]


def write_data(path: Path, **changes: Any) -> Path:
    """A data file that differs from a good one in `changes`; None leaves an array out."""
    rng = np.random.default_rng(1)
    arrays = {"X": rng.standard_normal((4, STEPS, CHANNELS)), "y": np.arange(4) % CLASSES}
    kept = {name: array for name, array in (arrays | changes).items() if array is not None}
    np.savez(path, **kept)
    return path
