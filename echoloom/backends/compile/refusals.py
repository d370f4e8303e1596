"""What the compiler's passes refuse, said of the user's model and not of the compiler's values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from echoloom.frontend.energy.canonical import Plan
from echoloom.frontend.energy.hamiltonian import Hamiltonian, written
from echoloom.frontend.models.hssm import HSSM
from echoloom.frontend.models.units import CustomUnit
from echoloom.ir.exact import InvalidProgram
from echoloom.ir.passes.lower import Unmappable
from echoloom.ir.tables import NoTable

VALUE = re.compile(r"%?\b[a-z]\w*(\.\w+)+")  # a dotted name of a program's value
PLACE = re.compile(r"^(\w+: )?(%?\b[a-z]\w*(\.\w+)+:? ?)")  # section and value that a refusal names
BLOCK = re.compile(r"\bb(\d+)\.")
# The functions in whose slopes a function stands, itself among them.
USERS = {"reciprocal": ("reciprocal", "log"), "rsqrt": ("rsqrt", "sqrt")}


class Unfit(ValueError):
    """The model needs words that the target does not have."""


@contextmanager
def said_of(model: HSSM, plans: Sequence[Plan]) -> Iterator[None]:
    """Refusals of the passes as one sentence about `model`, whose units have these plans.

    A NoTable gets the place of the user's expression; a program that breaks a rule of the IR or of
    the engine is Unfit.
    """
    try:
        yield
    except NoTable as error:
        where = _expression(model, plans, error)
        if not where:
            raise
        raise type(error)(error.function, f"{where}: {error.problem}", error.place) from error
    except (InvalidProgram, Unmappable) as error:
        raise Unfit(_sentence(model, str(error))) from None


def _expression(model: HSSM, plans: Sequence[Plan], error: NoTable) -> str:
    """Unit, energy and line of what may have asked for a table; empty where that is no unit."""
    if error.place is None:
        return ""
    plan = plans[error.place.block]
    unit = written(model.resolve().blocks[error.place.block].unit)
    words = USERS.get(error.function, (error.function,))
    for method, energy in (("potential", plan.potential), ("kinetic", plan.kinetic)):
        lines = dict.fromkeys(s.where for s in energy.steps if s.word in words)
        if lines:
            whole = type(unit).energy is not Hamiltonian.energy
            return f"{type(unit).__name__}.{'energy' if whole else method} at {' or '.join(lines)}"
    return ""


def _kind(model: HSSM, block: int) -> str:
    unit = model.blocks[block].unit
    return type(unit.hamiltonian if isinstance(unit, CustomUnit) else unit).__name__


def _sentence(model: HSSM, refusal: str) -> str:
    found = BLOCK.search(refusal)
    part = "the model"
    if found is not None:
        part = f"block {found[1]} ({_kind(model, int(found[1]))})"
    reason = VALUE.sub("a value", PLACE.sub("", refusal)).strip()
    return (
        f"{part} does not fit the target's words: {reason}; use a larger step, signals of a larger "
        "scale, or wider words"
    )
