"""A Machine that runs step bodies a chunk of steps at a time, as `ir.distribute` allows.

Every operation is the same on the same operands, so the results are those of `Machine` to the last
bit; an interpreter's overhead is paid once a chunk, except in the recurrences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np

from echoloom.ir.distribute import Stage, only_summed, stages
from echoloom.ir.interpret import Machine, Value
from echoloom.ir.program import Body, Instr
from echoloom.ir.sections import STEPS, Section

VALUES = 1 << 11  # steps times sequences in a chunk: few enough for a processor's cache
# Sees a recurrence after a chunk: section, its first iteration, values [steps, ...] by name.
RecurrenceObserver = Callable[[Section, int, Mapping[str, Value]], None]


@dataclass
class StagedMachine(Machine):
    """A Machine for arrays with one axis of sequences, or none, before their own.

    In step bodies `observer` sees a value of a whole chunk, [steps, ...], with its first iteration,
    and of an outer product that is only summed its largest magnitudes, [steps, ..., 1];
    `recurrence_observer` sees the values of a recurrence, which `observer` does not.
    """

    recurrence_observer: RecurrenceObserver | None = None

    @cached_property
    def _stages(self) -> dict[Section, tuple[Stage, ...]]:
        return {section: stages(self.program.body(section)) for section in STEPS}

    @cached_property
    def _only_summed(self) -> dict[Section, dict[str, Instr]]:
        return {section: only_summed(self.program.body(section)) for section in STEPS}

    def run(
        self,
        section: Section,
        frames: Iterable[Mapping[str, Value]] = ({},),
        *,
        resumes: bool = False,
    ) -> None:
        if section not in STEPS:
            super().run(section, frames, resumes=resumes)
            return
        self.section = section
        if not resumes:
            self.clear(section)
        source, start = iter(frames), 0
        while first := list(islice(source, 1)):
            value = next(iter(first[0].values()))
            sequences = max(1, value.size // value.shape[-1])
            chunk = [*first, *islice(source, self.steps_together(sequences) - 1)]
            self._chunk(self.program.body(section), start, chunk)
            start += len(chunk)

    def steps_together(self, sequences: int) -> int:
        """How many steps of so many sequences are a chunk, at most."""
        return max(1, VALUES // sequences)

    def _chunk(self, body: Body, start: int, frames: list[Mapping[str, Value]]) -> None:
        count = len(frames)
        # Values of every step, [steps, ...], and those that are the same at all of them.
        timed = {name: np.stack([f[name] for f in frames]) for name in frames[0]}
        same = dict(self.values)
        updates = dict(body.updates)
        final: dict[str, Value] = {}

        sequences = next(iter(frames[0].values())).shape[:-1]

        def series(name: str) -> Value:
            if name in timed:
                return timed[name]
            # A scalar is a vector of length one.
            own = same[name].shape[same[name].ndim - max(1, len(self.type(name).shape)) :]
            return np.broadcast_to(same[name], (count, *sequences, *own))

        for stage in self._stages[body.section]:
            if stage.states:
                found = self._recurrence(stage, updates, timed, same, final, sequences)
                if self.recurrence_observer is not None:
                    self.recurrence_observer(body.section, start, found)
                timed.update(found)
            for instr in stage.parallel:
                if instr.name in self._only_summed[body.section]:
                    if self.observer is not None:
                        left, right = (_crests(series(a)) for a in instr.args)
                        self.observer(body.section, start, instr.name, left * right)
                    continue
                args = [timed.get(a, same.get(a)) for a in instr.args]
                result = self.rules[instr.op](self, instr, args)
                (same if timed.keys().isdisjoint(instr.args) else timed)[instr.name] = result
                if self.observer is not None:
                    self.observer(body.section, start, instr.name, series(instr.name))
        outer = self._only_summed[body.section]
        for name, value in body.accumulates:
            if value in outer:
                left, right = (series(a) for a in outer[value].args)
                self.add_outer(name, left, right)
                continue
            for new in series(value):
                self.sum_up(name, new)
        emitted = [series(v) for v in body.emits]
        self.emitted.extend(values[k] for k in range(count) for values in emitted)
        self.values.update({s: final[s] if s in final else series(v)[-1] for s, v in body.updates})

    def add_outer(self, name: str, left: Value, right: Value) -> None:
        """Add the outer products of left and right [steps, ..., size] to an accumulator."""
        total = np.moveaxis(left, 0, -1) @ np.moveaxis(right, 0, -2)
        old = self.accumulators.get(name)
        self.accumulators[name] = total if old is None else old + total

    def _recurrence(
        self,
        stage: Stage,
        updates: Mapping[str, str],
        timed: Mapping[str, Value],
        same: Mapping[str, Value],
        final: dict[str, Value],
        sequences: tuple[int, ...],
    ) -> dict[str, Value]:
        """Values of a recurrence at every step, states as they were before it; `final` receives
        the states after the last."""
        # One that nothing moves would otherwise have no axis of sequences beside those that move.
        states = {s: np.broadcast_to(v := self.values[s], (*sequences, v.shape[-1]))
                  for s in stage.states}  # fmt: skip
        needed = {a for i in stage.recurrent for a in i.args} | {updates[s] for s in states}
        streamed = [n for n in needed if n in timed]
        seen: dict[str, list[Any]] = {n: [] for n in (*states, *(i.name for i in stage.recurrent))}
        local = dict(same)
        for k in range(len(next(iter(timed.values())))):
            local.update((n, timed[n][k]) for n in streamed)
            local.update(states)
            for instr in stage.recurrent:
                args = [local[a] for a in instr.args]
                local[instr.name] = self.rules[instr.op](self, instr, args)
            for name, values in seen.items():
                values.append(local[name])
            states = {s: local[updates[s]] for s in states}
        final.update(states)
        return {name: np.stack(np.broadcast_arrays(*values)) for name, values in seen.items()}


def _crests(value: Value) -> Value:
    return np.abs(value).max(-1, keepdims=True)
