"""Which word left its range first, and when.

All levels raise the same flags, which say that some word left its range and neither which nor at
what step. So a sequence that raised one runs again under NumPy, a chunk of steps at a time, and in
the first chunk that raises it every word is looked at, before it is wrapped or clamped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echoloom.backends.run.excess import Excess, Excesses, Kept
from echoloom.backends.run.integers import Floats, Words
from echoloom.backends.run.levels import IntegerProgram
from echoloom.backends.run.run_numpy import StagedNumpyMachine
from echoloom.ir.arithmetic import Overflow, piecewise_linear, round_shift
from echoloom.ir.carried import Carried
from echoloom.ir.distribute import only_summed
from echoloom.ir.flags import Flag
from echoloom.ir.formats import Q, largest
from echoloom.ir.host import FAILURES, Level, Sweep, Swept, run
from echoloom.ir.ops import DynamicShift, Requant, Table
from echoloom.ir.program import Body, Instr
from echoloom.ir.sections import ECHO, STEPS, Section
from echoloom.ir.tables import table_key

LONG = 63  # bits of a table's result that is not clamped


def excesses(
    artifact: IntegerProgram, x: Floats, label: Any = None, carried: Carried | None = None
) -> Excesses:
    """The first words to leave their ranges when x [T, inputs] runs, with a label (or targets) in
    the echo too."""
    return excesses_of(artifact, lambda level: run(artifact.host, level, x, label, carried=carried))


def excesses_of(artifact: IntegerProgram, runs: Callable[[Level], Any]) -> Excesses:
    """As `excesses`, of whatever `runs` does with a level."""
    watched = _Watched(artifact)
    with suppress(_Seen):
        runs(watched.sweep)
    return watched.found


def overflow_of(
    artifact: IntegerProgram, x: Any, label: Any = None, carried: Carried | None = None
) -> Kept | None:
    """The first overflow of x, and x itself; None where there is none."""
    x = np.asarray(x, np.float64)
    found = excesses(artifact, x, label, carried).overflow
    return found and Kept(found, x, label)


def first_of(
    artifact: IntegerProgram, X: Floats, y: Any, flags: Words, wanted: Flag = FAILURES
) -> Kept | None:
    """Of sequences X [n, T, inputs] with y, whose runs raised these flags [n], the first one's
    first word that raised what is `wanted`."""
    for number in np.flatnonzero(np.asarray(flags) & wanted).tolist():
        found = excesses(artifact, X[number], y[number]).numbered(number)
        excess = found.clamp if wanted is Flag.SATURATED else found.overflow
        if excess is not None:
            return Kept(excess, X[number], y[number])
    return None


class _Seen(Exception):
    """An overflow was found: nothing that follows means anything."""


class _Watched:
    """An `ir.host.Level` that finds the first words to leave their ranges."""

    def __init__(self, artifact: IntegerProgram):
        self.found = Excesses()
        self._artifact = artifact
        self._machine = StagedNumpyMachine(
            artifact.program, artifact.coefficients, artifact.tables, self._value
        )
        self._machine.recurrence_observer = self._recurrence
        self._sweep: Sweep | None = None
        self._chunk: _Chunk | None = None

    def sweep(self, given: Sweep) -> Swept:
        self._sweep, self._chunk = given, None
        found = self._machine.sweep(given)
        self._close()
        return found

    def _value(self, section: Section, iteration: int, name: str, value: Words) -> None:
        steps = section in STEPS
        chunk = self._of(section, iteration)
        chunk.values[name] = value if steps else np.asarray(value)[None]
        if not steps:
            # The states are still those that the body reads.
            self._look(chunk, [i for i in chunk.body.instrs if i.name == name])

    def _recurrence(self, section: Section, iteration: int, values: Mapping[str, Words]) -> None:
        self._of(section, iteration).values.update(values)

    def _of(self, section: Section, iteration: int) -> _Chunk:
        """The chunk of steps, or the body, that is running; the one before it is looked through."""
        at = section, iteration
        if self._chunk is None or self._chunk.at != at:
            self._close()
            assert self._sweep is not None
            self._chunk = _Chunk.begun(self._artifact, self._machine, self._sweep, at)
        return self._chunk

    def _close(self) -> None:
        chunk = self._chunk
        if chunk is not None:
            self._look(chunk, chunk.body.instrs if chunk.at[0] in STEPS else (), chunk.sums())

    def _look(self, chunk: _Chunk, instrs: Iterable[Instr], sums: Iterable[_Series] = ()) -> None:
        """Through these instructions and sums, where something new was flagged."""
        new = FAILURES if self.found.clamp else FAILURES | Flag.SATURATED
        if not chunk.flags & new:
            return
        wrapping, clamping = list[_Series](), list[_Series]()
        for instr in instrs:
            if isinstance(instr.attr, Requant | Table):
                wraps = isinstance(instr.attr, Requant) and instr.attr.overflow is Overflow.WRAP
                (wrapping if wraps else clamping).append(chunk.word(instr))
        clamp, overflow = chunk.first(clamping), chunk.first([*wrapping, *sums])
        if clamp is not None and not self.found.clamp and (not overflow or clamp[0] <= overflow[0]):
            self.found = replace(self.found, clamp=clamp[1])
        if overflow is not None:
            self.found = replace(self.found, overflow=replace(overflow[1], overflow=True))
            raise _Seen


# A word over the steps of a chunk: its instruction or sum, values [steps, ...], and its format.
_Series = tuple[str, int | None, NDArray[np.int64], Q]


@dataclass(frozen=True, eq=False)
class _Chunk:
    """A chunk of steps, or a body that runs once: all its values, [steps, ...]."""

    artifact: IntegerProgram
    machine: StagedNumpyMachine
    sweep: Sweep
    at: tuple[Section, int]
    body: Body
    before: Mapping[str, Words]  # the sums
    values: dict[str, Words]

    @classmethod
    def begun(
        cls,
        artifact: IntegerProgram,
        machine: StagedNumpyMachine,
        sweep: Sweep,
        at: tuple[Section, int],
    ) -> _Chunk:
        body = artifact.program.body(at[0])
        return cls(artifact, machine, sweep, at, body, dict(machine.accumulators), {})

    @property
    def flags(self) -> int:
        """All that the machine has raised."""
        return int(np.bitwise_or.reduce(np.ravel(self.machine.flags)))

    @property
    def count(self) -> int:
        return max((len(v) for v in self.values.values()), default=1)

    def series(self, name: str) -> Words:
        """Any operand's values."""
        if name in self.values:
            return self.values[name]
        if name in self.sweep.frames:
            rows = np.moveaxis(np.asarray(self.sweep.frames[name]), -2, 0)
            return rows[self.at[1] : self.at[1] + self.count]
        return np.asarray(self.machine.values[name])[None]

    def word(self, instr: Instr) -> _Series:
        """An instruction's results before they are brought into their words."""
        source, target = self.artifact.program.types(self.body)[instr.args[0]].q, instr.type.q
        words = self.series(instr.args[0])
        if isinstance(instr.attr, Table):
            t = self.artifact.tables[table_key(instr, source)]
            exact, _ = piecewise_linear(
                words, t.base, t.slope, segment_bits=t.segment_bits,
                fraction_bits=t.fraction_bits, slope_shift=t.slope_shift, word=LONG,
            )  # fmt: skip
        else:
            assert isinstance(instr.attr, Requant)
            shift = np.asarray(source.frac) - target.scalar_frac
            if instr.attr.register is not DynamicShift.NONE:
                shift = shift + self.machine.shifts[instr.attr.register]
            exact = round_shift(words, shift, instr.attr.rounding)
        return instr.name, instr.place and instr.place.block, exact, target

    def sums(self) -> Iterator[_Series]:
        """The sums that the body adds to, after every step."""
        if not self.flags & Flag.ACCUMULATOR:
            return
        outer = only_summed(self.body)
        places = {i.name: i.place for i in self.body.instrs}
        widths = {a.name: a.type.q for a in self.artifact.program.accumulators}
        for name, value in self.body.accumulates:
            if value in outer:
                left, right = (self.series(a) for a in outer[value].args)
                added = left[..., :, None] * right[..., None, :]
            else:
                added = self.series(value)
            added = np.broadcast_to(added, (self.count, *added.shape[1:]))
            place = places.get(value)
            total = self.before.get(name, np.int64(0)) + np.cumsum(added, 0)
            yield name, place and place.block, total, widths[name]

    def first(self, words: Iterable[_Series]) -> tuple[int, Excess] | None:
        """The first of these to leave its range, and at which step of the chunk; of its elements
        the one that is farthest out."""
        found: tuple[int, _Series] | None = None
        for series in words:
            out = np.abs(series[2]) > largest(series[3].width)
            steps = np.flatnonzero(out.reshape(len(out), -1).any(1))
            if steps.size and (found is None or steps[0] < found[0]):
                found = int(steps[0]), series
        if found is None:
            return None
        step, (name, block, exact, q) = found
        element = np.unravel_index(int(np.abs(exact[step]).argmax()), exact[step].shape)
        unit = 2.0 ** -float(np.broadcast_to(q.grid, exact[step].shape)[element])
        section, iteration = self.at
        number = iteration + step + 1
        if section in ECHO:
            number = self.sweep.length - iteration - step
        return step, Excess(
            False, section.name.lower(), name, tuple(int(i) for i in element), block,
            number if section in STEPS else None, self.sweep.length,
            float(exact[step][element]) * unit, largest(q.width) * unit, str(q),
        )  # fmt: skip
