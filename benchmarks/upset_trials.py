"""What becomes of a sequence, forward and echo, in which a bit flips.

The run without upsets is marched through once more; at each upset's cycle a copy of the engine is
played on to the end, unless nothing is left of the upset before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np
from upset_storage import LASTING, Samples, SplitEngine, Upset

import echoloom as el
from echoloom.backends.engine.requests import COMMANDS, PassRequest, PassResult
from echoloom.backends.engine.sweeps import pass_request, swept
from echoloom.ir.contract import Space
from echoloom.ir.host import FAILURES, RunResult, Sweep, Swept, forward_states

EVERY = 16  # cycles between looks whether anything is left of an upset
PASSES = 2  # the forward sweep and its echo
LONGER = 2  # times that a pass may take before it counts as one that does not end
# What a program says that no engine has.
NONSENSE = (ValueError, IndexError, KeyError, OverflowError)


class Report(Enum):
    """Who says that something is wrong, the cheapest first."""

    ENDED = "pass ends wrong"
    FLAG = "flag"
    RETURN = "no return"
    CHECKSUM = "checksum"
    TWICE = "played twice"


@dataclass(frozen=True)
class Verdict:
    """What an upset did: whether it changed a result, and who would say so. Another play is only
    made where nobody else does."""

    harmful: bool
    reports: frozenset[Report]


@dataclass
class Play:
    """A sequence on an engine, as far as it has come: its pass, and what came of the ones before.
    `samples`: what the link keeps."""

    engine: SplitEngine
    samples: Samples
    sweeps: tuple[Sweep, ...] = ()
    found: tuple[Swept, ...] = ()
    request: PassRequest | None = None


class Trial:
    """Plays of one sequence of a program, with an upset or without. `cycles` of each pass."""

    def __init__(self, program: el.CompiledProgram, x: Any, label: Any) -> None:
        self._artifact, self._image = program.artifact, program.image
        self._label = np.asarray(label)
        self._forward = self._artifact.host.forward(np.asarray(x, np.float64))
        self._samples: Samples = self._forward.frames["x"].tolist()
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
        assert _flags(clean) == 0, "a run without an upset overflowed"
        assert self._came_back(clean), "a run from rest did not come back to rest"

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
                yield upset, self._verdict(upset, self._copy(play))
            while play.engine.step():
                pass
            self._end(play)

    def _fresh(self) -> Play:
        return Play(SplitEngine(self._image), [list(row) for row in self._samples])

    def _copy(self, play: Play) -> Play:
        shared = (play.engine.image, play.engine.frames)
        engine = deepcopy(play.engine, {id(one): one for one in shared})
        return replace(play, engine=engine, samples=[list(row) for row in play.samples])

    def _begin(self, play: Play) -> None:
        """Begin the next pass, with what the host makes of the one before."""
        host, forward = self._artifact.host, self._forward
        sweep = forward
        if play.found:
            sweep = host.echo(forward, host.outputs(play.found[0]), self._label)
        request = pass_request(self._artifact, self._image, sweep)
        for space, lane, address, word in request.writes:
            assert space is Space.VECTOR
            play.engine.write(lane, address, word)
        # A register that has its value is not written again.
        registers = dict(request.registers)
        if play.request is not None:
            before = play.request.registers
            held = {at for at, word in registers.items() if before[at] == word}
            registers |= {at: play.engine.registers[at] for at in held}
        play.engine.begin(
            COMMANDS[request.kind],
            frames=request.frames.tolist(),
            registers=registers,
            waits={},
        )
        play.sweeps, play.request = (*play.sweeps, sweep), request
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
        request, engine = play.request, play.engine
        assert request is not None
        found = engine.end()
        memories = {Space.VECTOR: engine.vector, Space.GRADIENT: engine.gradient}
        reads = [memories[space][lane][at] for space, lane, at in request.reads]
        if len(found.outputs) != request.outputs:
            raise ValueError(f"{len(found.outputs)} outputs instead of {request.outputs}")
        result = PassResult(
            np.array(found.outputs, np.int64), np.array(reads, np.int64),
            int(found.flags), found.cycles, 0, found.busy,
        )  # fmt: skip
        play.found = (*play.found, swept(self._artifact, play.sweeps[-1], result))

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
        reports = set[Report]()
        if _flags(play) & FAILURES:
            reports.add(Report.FLAG)
        if not self._came_back(play):
            reports.add(Report.RETURN)
        if self._fixed(play) != self._fixed(self._left):
            reports.add(Report.CHECKSUM)
        result = self._gathered(play)
        harmful = not _same(result, self._result)
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
        for lane, bank in enumerate(self._image.vector):
            for address, word in enumerate(bank):
                play.engine.write(lane, address, word)
        again = Play(play.engine, [list(row) for row in self._samples])
        self._begin(again)
        self._play_on(again, lasting=True)
        return not _same(result, self._gathered(again))

    def _gathered(self, play: Play) -> RunResult:
        return self._artifact.host.result(play.found[0], play.found[1], play.sweeps[1])

    def _came_back(self, play: Play) -> bool:
        """Whether the free copy is at rest again, as it was before."""
        names = forward_states(self._artifact.program)
        return not any(np.any(play.found[1].states[name]) for name in names)

    def _fixed(self, play: Play) -> tuple[Any, ...]:
        """What no sweep writes, and a host can read."""
        engine = play.engine
        image, registers = engine.image, engine.registers
        return (
            engine.weight, engine.exponent, image.table, image.mac, image.drain, image.sections,
            registers,
        )  # fmt: skip


def _flags(play: Play) -> int:
    return int(play.found[0].flags | play.found[1].flags) & FAILURES


def _same(a: RunResult, b: RunResult) -> bool:
    """Whether all results are equal, whatever flags say."""
    one, other = a.named(), b.named()
    return all(np.array_equal(one[name], other[name]) for name in one if "flags" not in name)
