"""What a host asks of an engine and what it gets back.

A pass is one run of the engine from COMMAND to done. These values know nothing of models,
streams, links or simulators: vectors are integers, memories are (space, lane, address).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from echoloom.hdl.pass_results import Write, neutral
from echoloom.ir.contract import Register, Space
from echoloom.ir.engine_passes import BY_ROWS, PLAYS, EnginePass
from echoloom.ir.fields import check_place, check_register
from echoloom.ir.sections import ECHO, FORWARD, RESUMED, Section

Kind = Literal["forward", "echo", "resume", "add", "scan", "update"]

COMMANDS: Mapping[Kind, EnginePass] = {
    "forward": EnginePass.FORWARD,
    "echo": EnginePass.ECHO,
    "resume": EnginePass.RESUME,
    "add": EnginePass.ADD,
    "scan": EnginePass.SCAN,
    "update": EnginePass.UPDATE,
}
SECTIONS: Mapping[str, tuple[Section, ...]] = {kind: PLAYS[at] for kind, at in COMMANDS.items()}
KINDS: Mapping[tuple[Section, ...], Kind] = {FORWARD: "forward", ECHO: "echo", RESUMED: "resume"}

# Read after every pass, before the reads that it asks for; and after one over rows.
COUNTERS = (Register.FLAGS, Register.CYCLES, Register.STALLS, Register.BUSY)
ROW_COUNTERS = (*COUNTERS, Register.CLAMPED, Register.PEAK)


@dataclass(frozen=True, eq=False)
class PassRequest:
    """One pass: memory writes, registers, then the run itself, then memory reads. A "resume" is a
    forward pass without a prologue, whose sums go on; an "add" is an echo whose sums go on; "scan"
    and "update" go over rows of a tensor's words and have frames of no elements, one a row.

    `frames` is int64 [T, F] in the order the engine consumes it (the caller reverses time for
    the echo) and sets LENGTH = T. Registers that are not named get their neutral value
    (OUTPUT_STEP 1, all others 0), so that a request means the same after any other one.
    `outputs` is the number of words expected from the output stream; more or fewer is an error.

    Raises ValueError for a request that can have no meaning.
    """

    kind: Kind
    frames: np.ndarray
    registers: Mapping[Register, int] = field(default_factory=dict)
    writes: tuple[tuple[Space, int, int, int], ...] = ()
    reads: tuple[tuple[Space, int, int], ...] = ()
    outputs: int = 0

    def __post_init__(self) -> None:
        if self.kind not in COMMANDS:
            raise ValueError(f"a pass is one of {', '.join(COMMANDS)}, got {self.kind!r}")
        if self.frames.ndim != 2 or self.frames.dtype != np.int64:
            raise ValueError(
                f"frames must be int64 [T, F], got {self.frames.dtype} {self.frames.shape}"
            )
        if not len(self.frames):
            raise ValueError("a pass needs at least one frame")
        if self.outputs < 0:
            raise ValueError(f"outputs must not be negative, got {self.outputs}")
        if self.by_rows and self.frames.shape[1]:
            raise ValueError(
                f"a pass over rows has frames of no elements, got {self.frames.shape[1]}"
            )
        if reserved := self.registers.keys() - neutral(COMMANDS[self.kind]).keys():
            names = ", ".join(sorted(Register(register).name for register in reserved))
            raise ValueError(
                f"a pass of kind {self.kind!r} cannot set {names}: the engine or what plays the "
                "pass does, or the pass does not read it"
            )
        for register, value in {**self.registers, Register.LENGTH: len(self.frames)}.items():
            check_register(register, value)
        for _, lane, address, *_ in (*self.writes, *self.reads):
            check_place(lane, address)

    @property
    def by_rows(self) -> bool:
        """Whether it goes over rows of a tensor's words: nothing is streamed."""
        return COMMANDS[self.kind] in BY_ROWS

    @property
    def counters(self) -> tuple[Register, ...]:
        """What is read after it, before the reads that it asks for."""
        return ROW_COUNTERS if self.by_rows else COUNTERS

    @property
    def accesses(self) -> list[tuple[int, int, int, int]]:
        """Writes (space, lane, address, data) up to the one of COMMAND, which starts the pass."""
        at_rest = neutral(COMMANDS[self.kind])
        registers = {**at_rest, **self.registers, Register.LENGTH: len(self.frames)}
        return [
            *self.writes,
            *((Space.REGISTER, 0, register, value) for register, value in registers.items()),
            (Space.REGISTER, 0, Register.COMMAND, COMMANDS[self.kind]),
        ]


def counted(counters: Sequence[Register], words: Iterable[Any]) -> dict[str, Any]:
    """What was read of counters, as fields of a PassResult."""
    return {at.name.lower(): int(word) for at, word in zip(counters, words, strict=False)}


@dataclass(frozen=True, eq=False)
class PassResult:
    """What one pass gave.

    `outputs` int64 [outputs]; `reads` int64, one per requested read, two's complement where the
    space is unsigned and 64 bits wide. `flags` are the sticky `Flag` bits; `cycles`, `stalls`
    and `busy` the engine's own counters, `cycles` and `stalls` in clock cycles, `busy` in lane
    cycles. `clamped` and `peak` are the registers after a pass over rows, 0 after any other.
    `trace` holds vector memory writes in the order of time, empty unless asked for.
    """

    outputs: np.ndarray
    reads: np.ndarray
    flags: int
    cycles: int
    stalls: int
    busy: int
    clamped: int = 0
    peak: int = 0
    trace: tuple[Write, ...] = ()
