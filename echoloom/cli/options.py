"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from echoloom.frontend.data.named import import_unit
from echoloom.frontend.energy.hamiltonian import Hamiltonian

Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout, all else on stderr.")
]
Source = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="An .npz file with X [n, T, channels] and y [n] (or targets [n, T', outputs]), "
        "optionally X_test and y_test; the name of a data set in the package aeon, such as "
        "BasicMotions; or a run file of `train`, run.toml.",
    ),
]
Normalise = Annotated[
    bool,
    typer.Option(
        help="Give every channel mean 0 and deviation 1 over the training split X; "
        "one that is constant there is centred only. "
        "Use the same setting and the same DATA in train, compile and verify.",
    ),
]
Saved = Annotated[Path, typer.Argument(metavar="PROGRAM", help="A saved program.")]
Unit = Annotated[
    str | None,
    typer.Option(
        metavar="MODULE:NAME",
        help="For a model with a Hamiltonian of its own: an instance of its class, or a function "
        "without arguments that makes one. Runs the module's code.",
    ),
]


def load_unit(name: str | None) -> Hamiltonian | None:
    """The Hamiltonian that --unit names. Raises ValueError."""
    return None if name is None else import_unit(name, "--unit")
