"""What does not fit the target, said of the user's model and not of the compiler's values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from echoloom.frontend.models.hssm import HSSM
from echoloom.frontend.models.units import CustomUnit
from echoloom.ir.exact import InvalidProgram
from echoloom.ir.passes.lower import Unmappable

VALUE = re.compile(r"%?\b[a-z]\w*(\.\w+)+")  # a dotted name of a program's value
PLACE = re.compile(r"^(\w+: )?(%?\b[a-z]\w*(\.\w+)+:? ?)")  # section and value that a refusal names
BLOCK = re.compile(r"\bb(\d+)\.")


class Unfit(ValueError):
    """The model needs words that the target does not have."""


@contextmanager
def sentences(model: HSSM) -> Iterator[None]:
    """Refusals of the compiler's own checks as one sentence about `model`: Unfit."""
    try:
        yield
    except (InvalidProgram, Unmappable) as error:
        raise Unfit(_sentence(model, str(error))) from None


def _sentence(model: HSSM, refusal: str) -> str:
    found = BLOCK.search(refusal)
    part = "the model"
    if found is not None:
        unit = model.blocks[int(found[1])].unit
        kind = type(unit.hamiltonian if isinstance(unit, CustomUnit) else unit).__name__
        part = f"block {found[1]} ({kind})"
    reason = VALUE.sub("a value", PLACE.sub("", refusal)).strip()
    return (
        f"{part} does not fit the target's words: {reason}; use a larger step, signals of a larger "
        "scale, or wider words"
    )
