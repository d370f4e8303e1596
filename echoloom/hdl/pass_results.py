"""What a host sees of an engine's pass, and the registers that it writes for one."""

from __future__ import annotations

from dataclasses import dataclass, field

from echoloom.ir.contract import Register
from echoloom.ir.engine_passes import BY_ROWS, EnginePass
from echoloom.ir.flags import Flag
from echoloom.ir.sections import Section


@dataclass(frozen=True)
class Write:
    """A word written into vector memory by drain `lane % drains`, as in the engine's trace.

    The section and iteration are those in which the word lands, not those of its entry.
    """

    section: Section
    iteration: int
    lane: int
    address: int
    value: int


# What a register that a sweep reads holds where the host writes nothing else.
NEUTRAL = {
    Register.OUTPUT_STEP: 1,
    Register.OUTPUT_PHASE: 0,
    Register.SHIFT_LENGTH: 0,
}
# Likewise, of a pass over rows.
NEUTRAL_ROWS = {Register.SHIFT_LENGTH: 0, Register.WEIGHT_ROW: 0, Register.GRADIENT_ROW: 0}


def neutral(kind: EnginePass) -> dict[Register, int]:
    """The registers that a pass of this kind reads, beside LENGTH and FRAME, at rest."""
    return dict(NEUTRAL_ROWS if kind in BY_ROWS else NEUTRAL)


@dataclass
class PassResult:
    """What a host sees of a pass; `writes` is in the order of the cycles they happen in. `clamped`
    and `peak` are the registers after it."""

    outputs: list[int] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    flags: Flag = field(default_factory=lambda: Flag(0))
    cycles: int = 0
    busy: int = 0
    clamped: int = 0
    peak: int = 0
