"""What the compiler's passes refuse, said of the user's model and not of the compiler's values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from echoloom.frontend.energy.canonical import Plan
from echoloom.frontend.energy.hamiltonian import Hamiltonian, written
from echoloom.frontend.models.hssm import HSSM
from echoloom.frontend.models.units import CustomUnit
from echoloom.ir.refusals import Refused
from echoloom.ir.tables import NoTable

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
    except Refused as error:
        raise Unfit(_sentence(model, error)) from None


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


def _sentence(model: HSSM, refusal: Refused) -> str:
    block = refusal.block
    part = "the model" if block is None else f"block {block} ({_kind(model, block)})"
    return (
        f"{part} does not fit the target's words: {refusal.of_a_model()}; use a larger step, "
        "signals of a larger scale, or wider words"
    )
