"""What a board says of itself and of its runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from echoloom.backends.compile.program import CompiledProgram
from echoloom.backends.engine.requests import PassResult
from echoloom.backends.run.excess import Kept
from echoloom.backends.run.integers import Floats, Words
from echoloom.ir.host import FAILURES, RunResult


@dataclass(frozen=True)
class BoardStatus:
    """What a board says of itself, and what the line has seen since it was opened.

    engine: the identity of its engine; holds: whether it has the program that was loaded here (None
    where none was); marked: whether it holds any whole program; busy: a pass is under way; cycles:
    of the link's clock since the board was reset, and how quick that clock is. repeated: requests
    that had to be sent again; reruns: sequences that had to be run again.
    """

    port: str
    engine: str
    holds: bool | None
    marked: bool
    busy: bool
    cycles: int
    clock_khz: int
    bytes_out: int
    bytes_in: int
    repeated: int
    reruns: int


@dataclass(frozen=True, eq=False)
class Measured:
    """A run and what the engine counted in its passes, "forward" and "echo"."""

    result: RunResult
    passes: Mapping[str, PassResult]


@dataclass(frozen=True, eq=False)
class Trained:
    """What a training on a board has come to.

    updates: how many were made; program: the loaded one with the weights of the board. losses
    [updates, batch]: of each update's sequences before it; flags [updates, batch]: the Flag bits of
    their sweeps. clamped: by tensor, how many sums left a weight's range and were clamped. cycles:
    of the engine, for sequences and for updates. kept: the first word that overflowed, and the
    sequence that drove it out; None where none did, and before all updates are made.
    """

    updates: int
    program: CompiledProgram
    losses: Floats
    flags: Words
    clamped: Mapping[str, int]
    cycles: tuple[int, int] = (0, 0)
    kept: Kept | None = None

    @property
    def overflowed(self) -> int:
        """Sequences whose states or sums overflowed."""
        return int(np.count_nonzero(self.flags & FAILURES))
