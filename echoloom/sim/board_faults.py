"""What a driver makes of a line and a board that go wrong: faults at random places, one at a time.

After every fault either the numbers are right or there is an error of the driver's own; none takes
longer than it may; and after `recover` the numbers are right.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from echoloom.backends.board.board import open_board
from echoloom.backends.compile.program import CompiledProgram
from echoloom.backends.link.errors import BoardError
from echoloom.ir.host import RunResult
from echoloom.sim.faulty_line import Fault, FaultyLine, Way, Wrong

RECOVERIES = 5  # a board whose server was killed may be away for a moment
Restart = Callable[[], None]
"""Takes the board away and brings it back, as new."""


@dataclass
class Tally:
    """Faults by kind and by how they ended: "mended" without an error, or by the error's name,
    after which the board was recovered.

    `wrong`, `late` and `unrecovered` list what must not be: other numbers, calls that took longer
    than they may, boards that did not come back. `slowest` is in seconds; `repeated` and `reruns`
    are requests and sequences that were done again.
    """

    ended: Counter[tuple[str, str]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    unrecovered: list[str] = field(default_factory=list)
    repeated: int = 0
    reruns: int = 0
    slowest: float = 0.0

    def __add__(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(
            self.ended + other.ended,
            self.wrong + other.wrong,
            self.late + other.late,
            self.unrecovered + other.unrecovered,
            self.repeated + other.repeated,
            self.reruns + other.reruns,
            max(self.slowest, other.slowest),
        )


class Campaign:
    """Faults into the work of a driver at one end of a line.

    `restart` is what "server killed" does. `limit_s` is how long a call may take.
    """

    def __init__(
        self,
        line: FaultyLine,
        programs: tuple[CompiledProgram, CompiledProgram],
        x: Any,
        label: Any,
        restart: Restart,
        *,
        timeout_s: float,
        limit_s: float,
        seed: int = 0,
    ) -> None:
        self._line, self._programs, self._restart = line, programs, restart
        self._case = x, label
        self._wanted = [
            {"forward": program.run(x), "echo": program.run(x, label)} for program in programs
        ]
        self._timeout_s, self._limit_s = timeout_s, limit_s
        self._random = random.Random(seed)
        self._now = 0  # which of the programs the board is to hold
        self.tally = Tally()

    def run(
        self,
        count: int,
        progress: Callable[[int, int], None] = lambda *_: None,
        minutes: float | None = None,
    ) -> Tally:
        """Let `count` things go wrong, or as many as there are in these minutes."""
        end = None if minutes is None else time.monotonic() + 60 * minutes
        self._board = open_board(self._line.port, timeout_s=self._timeout_s)
        try:
            self._board.load(self._programs[0])
            works = self._works()
            lengths = {name: self._length(work) for name, work in works.items()}
            for number in range(count):
                if end is not None and time.monotonic() > end:
                    break
                name = self._random.choice(list(works))
                self._one(name, works[name], lengths[name])
                progress(number + 1, count)
            self._count()
        finally:
            self._board.close()
        return self.tally

    def _works(self) -> Mapping[str, Callable[[], bool]]:
        """What a driver does, each saying whether its numbers are right."""
        x, label = self._case

        def other() -> CompiledProgram:
            self._now = 1 - self._now
            return self._programs[self._now]

        def load() -> bool:
            self._board.load(self._programs[self._now], anew=True)
            return True

        def write() -> bool:
            self._board.write(other())
            return True

        def forward() -> bool:
            return same(self._board.run(x), self._wanted[self._now]["forward"])

        def echo() -> bool:
            return same(self._board.run(x, label), self._wanted[self._now]["echo"])

        def session() -> bool:
            self._count()
            self._board.close()
            self._board = open_board(self._line.port, timeout_s=self._timeout_s)
            self._board.load(self._programs[self._now])
            return forward()

        return {"load": load, "write": write, "run": forward, "echo": echo, "open": session}

    def _length(self, work: Callable[[], bool]) -> dict[Way, int]:
        self._line.arm(None)
        assert work(), "without a fault the numbers are right"
        return dict(self._line.carried)

    def _one(self, name: str, work: Callable[[], bool], length: dict[Way, int]) -> None:
        way = self._random.choice(list(Way))
        wrong = self._random.choice([*Wrong, None])
        at = self._random.randrange(max(1, length[way]))
        what = "server killed" if wrong is None else wrong.value
        where = f"{what} at byte {at} {way.value} during {name}"
        fault = Fault(way, wrong or Wrong.CLOSE, at, self._random.randrange(8))
        self._line.arm(fault)
        began = time.monotonic()
        try:
            right, ended = work(), "mended"
        except (BoardError, OSError) as error:
            right, ended = True, type(error).__name__
        self._spent(time.monotonic() - began, where)
        self._line.arm(None)
        if wrong is None:
            self._restart()
        self.tally.ended[what, ended] += 1
        if not right:
            self.tally.wrong.append(where)
        self._recover(where)

    def _recover(self, where: str) -> None:
        """Whatever happened: recover, load, and the numbers of an echo are right."""
        x, label = self._case
        for _ in range(RECOVERIES):
            began = time.monotonic()
            try:
                self._board.recover()
                self._board.load(self._programs[self._now])
                if not same(self._board.run(x, label), self._wanted[self._now]["echo"]):
                    self.tally.wrong.append(f"after recovery: {where}")
                self._spent(time.monotonic() - began, f"recovery: {where}")
                return
            except (BoardError, OSError):
                self._spent(time.monotonic() - began, f"recovery: {where}")
        self.tally.unrecovered.append(where)

    def _count(self) -> None:
        """Take along what a session has seen before it ends."""
        self.tally.repeated += self._board.repeated
        self.tally.reruns += self._board.reruns

    def _spent(self, seconds: float, where: str) -> None:
        self.tally.slowest = max(self.tally.slowest, seconds)
        if seconds > self._limit_s:
            self.tally.late.append(f"{seconds:.1f} s: {where}")


def same(found: RunResult, wanted: RunResult) -> bool:
    """Whether two runs gave the same integers."""
    theirs = found.named()
    return all(np.array_equal(words, theirs[name]) for name, words in wanted.named().items())
