"""Refusals of the passes, which know a program's own names only, in terms of the user's lines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from echoloom.frontend.energy.hamiltonian import Hamiltonian, written
from echoloom.frontend.models.hssm import HSSM
from echoloom.frontend.models.stack import Folding
from echoloom.ir.tables import NoTable

# The functions in whose slopes a function stands, itself among them.
USERS = {"reciprocal": ("reciprocal", "log"), "rsqrt": ("rsqrt", "sqrt")}


@contextmanager
def users_lines(model: HSSM, folding: Folding) -> Iterator[None]:
    """Puts the place of the user's expression before what is said of its table."""
    try:
        yield
    except NoTable as error:
        place = _place(model, folding, error)
        if not place:
            raise
        raise type(error)(error.function, f"{place}: {error.problem}", error.value) from error


def _place(model: HSSM, folding: Folding, error: NoTable) -> str:
    """Unit, energy and line of what may have asked for a table; empty where that is no unit."""
    block = error.value.partition(".")[0][1:]
    if not block.isdecimal():
        return ""
    plan = folding.plans[int(block)]
    unit = written(model.resolve().blocks[int(block)].unit)
    words = USERS.get(error.function, (error.function,))
    for method, energy in (("potential", plan.potential), ("kinetic", plan.kinetic)):
        lines = dict.fromkeys(s.where for s in energy.steps if s.word in words)
        if lines:
            whole = type(unit).energy is not Hamiltonian.energy
            return f"{type(unit).__name__}.{'energy' if whole else method} at {' or '.join(lines)}"
    return ""
