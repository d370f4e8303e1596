"""The golden twin of the board's sample store, for an engine that takes all it can get."""

from __future__ import annotations

from collections.abc import Iterator

from echoloom.hdl.store import OUTPUT_BITS, POSITION_BITS

POSITIONS, OUTPUT_POSITIONS = 1 << POSITION_BITS, 1 << OUTPUT_BITS


class GoldenStore:
    """Samples by their positions, which are not cut here; see `hdl.store`.

    `filled`: the position of the next sample that comes; `reached`: of the next one that is played.
    """

    def __init__(self, depth: int) -> None:
        self._words = [0] * depth
        self.filled = self.reached = 0
        self._left = self._frame = self._jump = self._end = 0
        self._playing = False

    def push(self, position: int, *samples: int) -> None:
        """Keep samples, if they are the next ones."""
        if (self.filled - position) % POSITIONS:
            return
        for sample in samples:
            self._words[self.filled % len(self._words)] = sample
            self.filled += 1

    def play(self, begin: int, frame: int, jump: int, end: int) -> None:
        """What is to be played next."""
        behind = (self.filled - begin + POSITIONS // 2) % POSITIONS - POSITIONS // 2
        self.reached = self.filled - behind
        self._left = self._frame = frame
        self._jump, self._end, self._playing = jump, end, True

    def played(self) -> Iterator[int]:
        """The samples of the play that are there; without end if it goes on in one place."""
        while self._playing and self.reached < self.filled:
            word = self._words[self.reached % len(self._words)]
            self._left -= 1
            self.reached += 1 if self._left else self._jump
            if not self._left:
                self._left = self._frame
                self._playing = self.reached % POSITIONS != self._end
            yield word
