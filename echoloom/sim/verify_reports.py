"""What `el.verify` has compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from echoloom.backends.run.excess import Excess
from echoloom.sim.float_distance import FloatDistance
from echoloom.sim.waves import Dump


@dataclass(frozen=True)
class LearningReport:
    """A training of `updates` updates of `batch` sequences each, of so many `weights`.

    clamped: sums that left a weight's range, in all updates. batch_cycles, update_cycles: clock
    cycles of the last batch's passes and of its update, as the schedules say and the engine counted
    them; None where no engine ran.
    """

    updates: int
    batch: int
    weights: int
    clamped: int
    batch_cycles: int | None = None
    update_cycles: int | None = None


@dataclass(frozen=True)
class LevelReport:
    """Integers of one level held against the NumPy level."""

    compared: int
    mismatches: int
    forward: int  # sequences
    echo: int


@dataclass(frozen=True)
class CycleReport:
    """Clock cycles of one pass over one sequence of `length` steps; utilisation as the engine
    counted it: useful lane cycles / (lanes x cycles)."""

    length: int
    predicted: int
    rtl: int
    utilisation: float


@dataclass(frozen=True)
class VerifyReport:
    """What was compared. All mismatch counts are 0: a mismatch raises instead."""

    levels: Mapping[str, LevelReport]
    lsb_off: int | None  # of the free copy from its start, after the echo; None without echo
    cycles: Mapping[str, CycleReport]
    saturated: int  # sequences in which a feed-forward word was clamped
    overflowed: int  # sequences with a state or accumulator overflow (alike at every level)
    simulator: str | None = None
    stall_seed: int | None = None
    notes: tuple[str, ...] = field(default=())
    # The worst relative errors of ONNX's real numbers.
    floats: Mapping[str, float] = field(default_factory=dict)
    float_model: FloatDistance | None = None  # None where every sequence overflowed
    waves: Dump | None = None
    learning: LearningReport | None = None  # where the program learnt
    # The first word that was clamped, and the first that overflowed, each in the first sequence
    # that has one; nothing where none has.
    excesses: tuple[Excess, ...] = ()
