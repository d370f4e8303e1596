"""What the host knows of the board's stores: which samples are there, and what has been taken."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from echoloom.hdl.store import ENDLESS, POSITION_BITS

Words = NDArray[np.int64]
POSITIONS = 1 << POSITION_BITS


class Play(NamedTuple):
    """What a pass is to get of the samples; `hdl.store.Play` has the meaning of each number."""

    begin: int
    frame: int
    jump: int
    end: int


def play(begin: int, frame: int, jump: int, steps: int) -> Play:
    """Frames of a sequence of so many steps, from the one at `begin` on."""
    end = begin + steps * (frame - 1 + jump)
    return Play(begin % POSITIONS, frame, jump, end % POSITIONS)


class Ends:
    """A mirror of what a board's link holds since its last reset: `depth` samples at most, and
    `room` entries of an update's list.

    `samples` and `outputs` are positions, not cut: how many samples the board has been sent, and
    how many outputs the host has. `registers` are those that were written, `listed` the entries of
    the list by their places, and `updates` how many were made.
    """

    def __init__(self, depth: int, room: int = 0) -> None:
        self.depth, self.room = depth, room
        self.samples = self.outputs = self.updates = 0
        self.registers: dict[int, int] = {}
        self.listed: dict[int, int] = {}
        self.waits: dict[int, int] = {}  # COLLECTs that a pass of so many cycles took
        self._kept: list[tuple[int, Words]] = []

    def find(self, frames: Words) -> Play | None:
        """How to play frames [T, F] that the board holds, also such as run the other way."""
        steps, frame = frames.shape
        for begin, held in self._kept:
            if held.shape != frames.shape:
                continue
            if np.array_equal(held, frames):
                return play(begin, frame, 1, steps)
            if np.array_equal(held[::-1], frames):
                return play(begin + (steps - 1) * frame, frame, 1 - 2 * frame, steps)
        return None

    def following(self, frames: Words) -> Play:
        """How to play frames [T, F] that are sent next."""
        steps, frame = frames.shape
        found = play(self.samples, frame, 1, steps)
        # A longer one ends where the samples do.
        return found if frames.size <= self.depth else found._replace(end=ENDLESS)

    def sent(self, count: int) -> None:
        """So many more samples are there, and as many older ones may not be."""
        self.samples += count
        oldest = self.samples - self.depth
        self._kept = [(begin, held) for begin, held in self._kept if begin >= oldest]

    def keep(self, frames: Words) -> None:
        """The last samples that were sent are these frames."""
        self._kept.append((self.samples - frames.size, frames.copy()))
