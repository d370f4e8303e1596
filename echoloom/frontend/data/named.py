"""What users name as MODULE:NAME: functions that load data, Hamiltonians of their own."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from echoloom.frontend.energy.hamiltonian import Hamiltonian


def import_named(name: str, where: str) -> Any:
    """What MODULE:NAME stands for. Runs the module. Raises ValueError that starts with `where`."""
    module, _, attribute = name.partition(":")
    # As with `python -m`: the user's own modules are found where the command is run.
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{where} {name}: {error}; name it as MODULE:NAME") from error


def import_unit(name: str, where: str) -> Hamiltonian:
    """The Hamiltonian that MODULE:NAME is, or makes when it is called. Raises ValueError."""
    found = import_named(name, where)
    if not isinstance(found, Hamiltonian) and callable(found):
        found = found()
    if not isinstance(found, Hamiltonian):
        raise ValueError(f"{where} {name}: this is a {type(found).__name__}, not a Hamiltonian")
    return found
