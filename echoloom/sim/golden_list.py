"""The golden twin of the list of an update, on a board that is written and read at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from echoloom.hdl.numbers import NUMBER_BITS
from echoloom.hdl.update_list import DONE, LIST, NUMBERS, Entry
from echoloom.ir.contract import Register, Space

Write = Callable[[int, int, int, int], object]
Read = Callable[[int, int, int], int]


class GoldenList:
    """Entries by their places, and how far they are played; see `hdl.update_list`."""

    def __init__(self, depth: int) -> None:
        self.words = [0] * depth
        self.reset()

    def reset(self) -> None:
        """Nothing is played, and the next update is number 0; the entries stay."""
        self.made = self._cycles = self._clamped = 0
        self._at = self._end = 0
        self._playing = self._waiting = False

    def learn(self, number: int, begin: int, end: int, *words: int) -> None:
        """Begin the next update, if that is its number."""
        if self._playing or (number - self.made) % NUMBERS:
            return
        for at, word in enumerate(words, begin):
            self.write(at, word)
        wrap = 2 * len(self.words)
        self._at, self._end, self._playing = begin % wrap, end % wrap, True
        self.made = (self.made + 1) % NUMBERS
        self._cycles = self._clamped = 0

    def play(self, write: Write, read: Read) -> None:
        """Go on up to the end, or a pass that has not ended."""
        while self._playing:
            if self._waiting:
                if not read(Space.REGISTER, 0, Register.STATUS) >> DONE & 1:
                    return
                self._waiting = False
                self._cycles += read(Space.REGISTER, 0, Register.CYCLES)
            elif self._at == self._end:
                self._playing = False
            else:
                at, self._at = self._at, (self._at + 1) % (2 * len(self.words))
                self._do(at, write, read)

    def _do(self, at: int, write: Write, read: Read) -> None:
        entry = Entry.of(self.read(at))
        if entry.space == LIST:
            found = read(Space.REGISTER, 0, Register.CLAMPED)
            self._clamped += found
            self.write(at, Entry(LIST, entry.lane, entry.address, Entry.signed(found)).word)
            return
        space, lane, address, data = entry
        write(space, lane, address, data % (1 << NUMBER_BITS))
        self._waiting = (space, address) == (Space.REGISTER, Register.COMMAND)

    @property
    def answer(self) -> Sequence[int]:
        """What LEARN answers."""
        return self.made, int(self._playing), self._cycles, self._clamped

    def write(self, address: int, word: int) -> None:
        self.words[address % len(self.words)] = word

    def read(self, address: int) -> int:
        return self.words[address % len(self.words)]
