"""What a forward sweep hands to the next one, where a sequence goes on.

Those are the states that forward bodies write, and the sums of the forward step: positions and
momenta, and of a classification the sum over time and the mean that was last made of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from echoloom.ir.formats import Type
from echoloom.ir.program import Program
from echoloom.ir.sections import FORWARD, Section


@dataclass(frozen=True, eq=False)
class Carried:
    """Words after `steps` steps: `states` [..., size] and `sums` [..., *shape] by name."""

    steps: int
    states: Mapping[str, Any]
    sums: Mapping[str, Any]

    @property
    def words(self) -> dict[str, Any]:
        """States and sums, which have names of their own."""
        return {**self.states, **self.sums}


def carried_states(program: Program) -> tuple[str, ...]:
    """The states that a forward sweep leaves."""
    written = {state for section in FORWARD for state, _ in program.body(section).updates}
    return tuple(d.name for d in program.states if d.name in written)


def carried_sums(program: Program) -> tuple[str, ...]:
    """The accumulators that the forward step adds to."""
    return tuple(name for name, _ in program.body(Section.FORWARD_STEP).accumulates)


def carried_types(program: Program) -> tuple[dict[str, Type], dict[str, Type]]:
    """Types of both, by name."""
    states = {d.name: d.type for d in program.states}
    sums = {a.name: a.type for a in program.accumulators}
    return (
        {name: states[name] for name in carried_states(program)},
        {name: sums[name] for name in carried_sums(program)},
    )
