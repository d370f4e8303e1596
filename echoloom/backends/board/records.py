"""What a board says of itself and of its runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from echoloom.backends.engine.requests import PassResult
from echoloom.ir.host import RunResult


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
