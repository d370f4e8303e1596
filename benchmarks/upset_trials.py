"""What becomes of a sequence, forward and echo, in which a bit flips.

The run without upsets is marched through once more; at each upset's cycle a copy of the engine is
played on to the end, unless nothing is left of the upset before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from upset_results import PASSES, Asked, Question, Report, Verdict, same
from upset_storage import LASTING, TABLE, Samples, SplitEngine, Spot, Upset

import echoloom as el
from echoloom.backends.engine.requests import COMMANDS, PassResult
from echoloom.ir.contract import DrainEntry, Space
from echoloom.ir.host import RunResult, Swept

EVERY = 16  # cycles between looks whether anything is left of an upset
LONGER = 2  # times that a pass may take before it counts as one that does not end
# What a program says that no engine has.
NONSENSE = (ValueError, IndexError, KeyError, OverflowError)


@dataclass
class Play:
    """A sequence on an engine, as far as it has come: its pass, and what came of the ones before.
    `samples`: what the link keeps."""

    engine: SplitEngine
    samples: Samples
    asked: tuple[Asked, ...] = ()
    found: tuple[Swept, ...] = ()


class Watched(list[int]):
    """A bank that notes when its words are read and written: `uses[address]` are (cycle, whether
    it was a read), cycles counted over both passes by `clock`."""

    def __init__(self, words: Iterable[int], clock: Callable[[], int]) -> None:
        super().__init__(words)
        self._clock = clock
        self.uses: dict[int, list[tuple[int, bool]]] = {}

    def __getitem__(self, address: Any) -> Any:
        self.uses.setdefault(address, []).append((self._clock(), True))
        return super().__getitem__(address)

    def __setitem__(self, address: Any, word: Any) -> None:
        self.uses.setdefault(address, []).append((self._clock(), False))
        super().__setitem__(address, word)


class Looking(SplitEngine):
    """An engine that tells `looks` the address of every table's entry that it looks up."""

    looks: Callable[[int], None]

    def _look_up(self, entry: DrainEntry, z: int) -> int:
        half = 1 << entry.segment_bits - 1
        self.looks(entry.table + half + min(max(z >> entry.fraction_bits, -half), half - 1))
        return super()._look_up(entry, z)


BANKS = ("weight", "exponent", "vector", "y_words", "bases", "gradient", "slots", "rows")


class Trial:
    """Plays of one sequence of a program, with an upset or without. `cycles` of each pass."""

    def __init__(self, program: el.CompiledProgram, x: Any, label: Any) -> None:
        self.question = Question(program, x, label)
        self._seen: dict[tuple[int, int], Mapping[str, Any]] = {}
        self.cycles: list[int] = []
        clean = self._fresh()
        for _ in range(PASSES):
            self._begin(clean)
            while clean.engine.step():
                clean.engine.result.writes.clear()
                if clean.engine.now % EVERY == 0:
                    place = len(clean.found), clean.engine.now
                    self._seen[place] = vars(self._copy(clean).engine)
            self.cycles.append(clean.engine.now)
            self._end(clean)
        self._result, self._left = self._gathered(clean), clean
        assert not self.question.reports(clean.found), "something is wrong without an upset"
        self._uses = self._watched()

    def verdicts(self, upsets: Iterable[Upset]) -> Iterator[tuple[Upset, Verdict]]:
        """What becomes of each, in the order of passes and cycles."""
        waiting = sorted(upsets, key=lambda one: (one.number, one.cycle))[::-1]
        play = self._fresh()
        for number in range(PASSES):
            self._begin(play)
            while waiting and waiting[-1].number == number:
                upset = waiting.pop()
                while play.engine.now < upset.cycle:
                    play.engine.step()
                    play.engine.result.writes.clear()
                if self._unused(upset, play.engine):
                    yield upset, Verdict(False, frozenset(), read=False)
                else:
                    yield upset, self._verdict(upset, self._copy(play))
            while play.engine.step():
                pass
            self._end(play)

    def uses(self, spot: Spot) -> list[int]:
        """The cycles, counted over both passes, in which a run without an upset reads or writes a
        word."""
        uses = self._uses[spot.banks][spot.bank].uses
        return [cycle for cycle, _ in uses.get(spot.address, ())]

    def _watched(self) -> Mapping[str, Sequence[Watched]]:
        """Every use of every word of the banks and tables, in a run without an upset."""
        engine, before = Looking(self.question.image), [0]
        play = replace(self._fresh(), engine=engine)
        engine.now = 0

        def clock() -> int:
            return before[0] + engine.now

        entries = Watched(range(len(engine.image.table)), clock)
        engine.looks = entries.__getitem__
        watched = {TABLE: [entries]}
        for name in BANKS:
            watched[name] = [Watched(bank, clock) for bank in getattr(engine, name)]
            setattr(engine, name, watched[name])
        for cycles in self.cycles:
            self._begin(play)
            while engine.step():
                pass
            self._end(play)
            before[0] += cycles
            engine.now = 0
        return watched

    def _unused(self, upset: Upset, engine: SplitEngine) -> bool:
        """Whether the word that it is in is written before it is read, or neither."""
        if (spot := upset.spot(engine)) is None:
            return False
        when = sum(self.cycles[: upset.number]) + upset.cycle
        uses = self._uses[spot.banks][spot.bank].uses.get(spot.address, ())
        return not next((read for cycle, read in uses if cycle >= when), False)

    def _fresh(self) -> Play:
        samples = [list(row) for row in self.question.samples]
        return Play(SplitEngine(self.question.image), samples)

    def _copy(self, play: Play) -> Play:
        shared = (play.engine.image, play.engine.frames)
        engine = deepcopy(play.engine, {id(one): one for one in shared})
        return replace(play, engine=engine, samples=[list(row) for row in play.samples])

    def _begin(self, play: Play) -> None:
        """Begin the next pass, with what the host makes of the one before."""
        asked = self.question.following(play.found)
        request = asked.request
        for space, lane, address, word in request.writes:
            assert space is Space.VECTOR
            play.engine.write(lane, address, word)
        # A register that has its value is not written again.
        registers = dict(request.registers)
        if play.found:
            before = play.asked[-1].request.registers
            held = {at for at, word in registers.items() if before[at] == word}
            registers |= {at: play.engine.registers[at] for at in held}
        play.engine.begin(
            COMMANDS[request.kind],
            frames=request.frames.tolist(),
            registers=registers,
            waits={},
        )
        play.asked = (*play.asked, asked)
        self._refill(play, 0)

    def _refill(self, play: Play, first: int) -> None:
        """Frames from step `first` on are of the samples that the link has now."""
        samples = play.samples if not play.found else play.samples[::-1]
        frames = [list(row) for row in play.engine.frames]
        for row, own in list(zip(frames, samples, strict=True))[first:]:
            row[: len(own)] = own
        play.engine.frames = frames

    def _end(self, play: Play) -> None:
        """End the pass. Raises ValueError if it did not give what it gives."""
        request, engine = play.asked[-1].request, play.engine
        found = engine.end()
        memories = {Space.VECTOR: engine.vector, Space.GRADIENT: engine.gradient}
        reads = [memories[space][lane][at] for space, lane, at in request.reads]
        if len(found.outputs) != request.outputs:
            raise ValueError(f"{len(found.outputs)} outputs instead of {request.outputs}")
        result = PassResult(
            np.array(found.outputs, np.int64), np.array(reads, np.int64),
            int(found.flags), found.cycles, 0, found.busy,
        )  # fmt: skip
        play.found = (*play.found, self.question.answer(play.asked[-1], result))

    def _verdict(self, upset: Upset, play: Play) -> Verdict:
        try:
            before = [list(row) for row in play.samples]
            upset.strike(play.engine, play.samples)
            if play.samples != before:
                self._refill(play, play.engine.steps[0] + 1)
            if self._play_on(play, lasting=upset.storage in LASTING):
                return Verdict(False, frozenset())
        except NONSENSE:
            return Verdict(True, frozenset({Report.ENDED}))
        reports = self.question.reports(play.found)
        if self._fixed(play) != self._fixed(self._left):
            reports.add(Report.CHECKSUM)
        result = self._gathered(play)
        harmful = not same(result, self._result)
        if harmful and not reports and self._differs_again(play, result):
            reports.add(Report.TWICE)
        return Verdict(harmful, frozenset(reports))

    def _play_on(self, play: Play, lasting: bool) -> bool:
        """To the end of all passes; True where an upset has left nothing on the way. Raises what
        engines raise, and ValueError for a pass that takes other than its cycles."""
        while True:
            number, engine = len(play.found), play.engine
            while engine.step():
                engine.result.writes.clear()
                if engine.now > LONGER * self.cycles[number]:
                    raise ValueError("the pass does not end")
                if lasting or engine.now % EVERY:
                    continue
                if vars(engine) == self._seen.get((number, engine.now)):
                    return True
            if engine.now != self.cycles[number]:
                raise ValueError("the pass takes other than its cycles")
            self._end(play)
            if len(play.found) == PASSES:
                return False
            self._begin(play)

    def _differs_again(self, play: Play, result: RunResult) -> bool:
        """Whether the same sequence, sent again, gives something else on the engine as it is now,
        when the words that vector memory begins with have been written again."""
        for lane, bank in enumerate(self.question.image.vector):
            for address, word in enumerate(bank):
                play.engine.write(lane, address, word)
        again = Play(play.engine, [list(row) for row in self.question.samples])
        self._begin(again)
        self._play_on(again, lasting=True)
        return not same(result, self._gathered(again))

    def _gathered(self, play: Play) -> RunResult:
        return self.question.result(play.found, play.asked[1])

    def _fixed(self, play: Play) -> tuple[Any, ...]:
        """What no sweep writes, and a host can read."""
        engine = play.engine
        image, registers = engine.image, engine.registers
        return (
            engine.weight, engine.exponent, image.table, image.mac, image.drain, image.sections,
            registers,
        )  # fmt: skip
