"""The golden twin of the sequencer: sections, iterations and cycles, and what lands in them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from echoloom.hdl.golden_walk import EntryWalk
from echoloom.hdl.pass_results import NEUTRAL, NEUTRAL_ROWS, PassResult, Write
from echoloom.ir.contract import DrainEntry, Image, MacEntry, Register, Timing
from echoloom.ir.engine_passes import PLAYS, REPEATED, EnginePass, passes_of
from echoloom.ir.reports import peak_shift
from echoloom.ir.sections import Section


class Landing(NamedTuple):
    """A word on its way to a memory, or to several that hold the same; a bank names its lane."""

    memories: tuple[list[int], ...]
    address: int
    value: int
    lane: int | None


class GoldenSequencer(ABC):
    """Plays the passes of an image, cycle by cycle; what an entry's element does, others say.

    `image`: the programs and tables, from the next entry on whatever they are then. `landing`: by
    cycle, the words that land in it.
    `peak`: the OR over z ^ (its sign) of what was measured since the last SCAN pass began;
    `clamped`: Register.CLAMPED.
    """

    def __init__(self, image: Image) -> None:
        self.image = image
        self.peak = 0
        self.clamped = 0

    @abstractmethod
    def _multiply(self, now: int, entry: MacEntry, o: int, i: int) -> None:
        """Element (o, i) of an entry, issued in cycle `now`."""

    @abstractmethod
    def _requantise(self, now: int, entry: DrainEntry, c: int) -> None:
        """Chunk c of an entry, issued in cycle `now`."""

    def run(
        self,
        kind: EnginePass,
        *,
        frames: Sequence[Sequence[int]],
        registers: Mapping[Register, int] = NEUTRAL,
        waits: Mapping[Section, Collection[int]] = MappingProxyType({}),
    ) -> PassResult:
        """One pass; changes the memories. LENGTH is the number of frames, empty ones in SCAN and
        UPDATE.

        `waits` names iterations of sections before which the engine waits, which takes no cycle
        that CYCLES counts.

        Raises ValueError for a pass that only an engine that learns has, where this does not.
        """
        self.begin(kind, frames=frames, registers=registers, waits=waits)
        while self.step():
            pass
        return self.end()

    def begin(
        self,
        kind: EnginePass,
        *,
        frames: Sequence[Sequence[int]],
        registers: Mapping[Register, int] = NEUTRAL,
        waits: Mapping[Section, Collection[int]] = MappingProxyType({}),
    ) -> None:
        """Start a pass, as `run`; `step` makes its cycles, and `end` says what came of it."""
        if kind not in passes_of(self.image.config.learns):
            raise ValueError(f"only an engine that learns has a pass {kind.name}")
        self.result = PassResult()
        self.registers = {**NEUTRAL, **NEUTRAL_ROWS, **registers}
        self.frames, self._waits, self._kind = frames, waits, kind
        self.landing: dict[int, list[Landing]] = {}
        if kind is EnginePass.SCAN:
            self.peak = 0
        if kind is EnginePass.UPDATE:
            self.clamped = 0
        self.now = self._time = self._length = 0
        self._where, self._iterations = (PLAYS[kind][0], -1), 0
        self._to_play = deque(PLAYS[kind])

    def step(self) -> bool:
        """One cycle; False, and none, if the pass has had its last."""
        while self._time == self._length:
            if not self._begin_iteration():
                return False
        self._land(self.now)
        now, time, times = self.now, self._time, self._times
        if found := self._macs.element(self.image.mac, time):
            mac, o, i = found
            if 0 <= self.steps[mac.stage] < times:
                self._multiply(now, mac, o, i)
        if found := self._chunks.element(self.image.drain, time):
            drain, _, c = found
            if 0 <= self.steps[drain.stage] < times:
                self._requantise(now, drain, c)
        self.now, self._time = now + 1, time + 1
        return True

    def end(self) -> PassResult:
        """What came of the pass, once all has landed."""
        self._land_all()
        result = self.result
        result.cycles = self.now
        result.clamped, result.peak = self.clamped, peak_shift(self.peak)
        return result

    def _begin_iteration(self) -> bool:
        """Go to the next iteration, of a section that has one; False behind the last."""
        section, iteration = self._where[0], self._where[1] + 1
        while iteration >= self._iterations:
            if not self._to_play:
                return False
            section, iteration = self._to_play.popleft(), 0
            self._entry = self.image.sections[section]
            self._times = times = len(self.frames) if section in REPEATED else 1
            self._iterations = times + self._entry.overlap if times and self._entry.length else 0
        if iteration in self._waits.get(section, ()):
            self._land_all()
        self._where, entry = (section, iteration), self._entry
        # By stage: the step that it works for.
        self.steps = [iteration - stage for stage in range(entry.overlap + 1)]
        self._macs = EntryWalk(entry.mac)
        self._chunks = EntryWalk(entry.drain, self.image.config.drains)
        length = entry.last if iteration == self._iterations - 1 else entry.length
        self._time, self._length = 0, length + self._timing.overhead
        return True

    def _land_all(self) -> None:
        """What is in flight lands: the engine waits."""
        for late in sorted(self.landing):
            self._land(late)

    @property
    def _timing(self) -> Timing:
        return self.image.timing

    def _land(self, now: int) -> None:
        for word in self.landing.pop(now, ()):
            for memory in word.memories:
                memory[word.address] = word.value
            if word.lane is not None:
                self.result.writes.append(Write(*self._where, word.lane, word.address, word.value))
