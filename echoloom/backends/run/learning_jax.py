"""Training by integers under JAX: a batch's sequences side by side, the integers of NumPy's level.

Side by side every sequence has sums of its own, which are added up afterwards. That is the same as
sums that go on from sequence to sequence, unless one overflows on its way. Where a bound does not
exclude that, the sequences are run one after the other, step by step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import jax
import numpy as np

from echoloom.backends.run.integers import Words
from echoloom.backends.run.jax_updates import Step, update_step
from echoloom.backends.run.learning_run import (
    BatchSums,
    Lesson,
    UpdatedWords,
    goes_on,
    plan_of,
    steps_at,
    tensors_of,
    update_flags,
)
from echoloom.backends.run.levels import Artifact
from echoloom.backends.run.run_jax import JaxLevel, JaxRunner, limits
from echoloom.ir.carried import Carried
from echoloom.ir.learning import ScaledUpdate
from echoloom.ir.update_rules import noise_keys

Sums = Mapping[str, Words]


class JaxLearner:
    """A level that learns, fast. `runner` may be shared by learners of one program."""

    def __init__(self, artifact: Artifact, runner: JaxRunner | None = None):
        self._artifact, self._plan = artifact, plan_of(artifact)
        self._runner = JaxRunner(artifact) if runner is None else runner
        self._tensors = tensors_of(artifact)
        self._weights: dict[str, Words] = dict(artifact.coefficients)
        self._sums: Sums = {}  # of all accumulators that have a target

    @cached_property
    def _step(self) -> Step:
        return update_step(self._plan.rule, self._tensors, self._artifact.mapped.config.word)

    def batch(self, lesson: Lesson, update: int) -> BatchSums:
        before = self._sums if goes_on(self._plan) else {}
        with jax.enable_x64(True):
            found = self._side_by_side(lesson, lesson.order[update].tolist(), before)
            if found is None:
                found = self._in_turn(lesson, lesson.order[update].tolist(), before)
        self._sums = found.sums
        own = {t.accumulator: found.sums[t.accumulator] for t in self._tensors}
        return replace(found, sums=own)

    def _side_by_side(self, lesson: Lesson, batch: Sequence[int], before: Sums) -> BatchSums | None:
        """All sequences of one length at once; None where a sum may have overflowed."""
        host, runner = self._artifact.host, self._runner
        outputs: list[Words] = [np.zeros(0, np.int64)] * len(batch)
        flags = np.zeros((2, len(batch)), np.int64)
        parts: list[dict[str, Words]] = [{} for _ in batch]
        reached = {name: np.zeros(len(batch)) for name in limits(self._artifact.program)}
        for places in _by_length(lesson, batch):
            level = JaxLevel(runner, self._weights, runner.chunk)
            # Nobody looks at states, which would have to be brought from JAX.
            samples = np.stack([lesson.xs[batch[at]] for at in places])
            forward = replace(host.forward(samples), states=())
            found = level.sweep(forward)
            given = host.outputs(found)
            labels = np.stack([lesson.labels[batch[at]] for at in places])
            echo = host.echo(forward, given, labels, shared=lesson.shared)
            after = level.sweep(replace(echo, states=()))
            if level.doubtful.any():
                return None
            assert level.memory is not None
            for name, bound in level.memory.reached.items():
                reached[name][places] = np.asarray(bound)
            for number, at in enumerate(places):
                outputs[at] = given[number]
                flags[:, at] = found.flags[number], after.flags[number]
                parts[at] = {name: words[number] for name, words in after.sums.items()}
        most, sums = limits(self._artifact.program), dict[str, Words]()
        for name in parts[0]:
            sums[name] = np.asarray(before.get(name, 0), np.int64)
            for number, part in enumerate(parts):
                if np.abs(sums[name]).max() + reached[name][number] >= most[name]:
                    return None
                sums[name] = sums[name] + part[name]
        return BatchSums(tuple(outputs), flags[0], flags[1], sums)

    def _in_turn(self, lesson: Lesson, batch: Sequence[int], before: Sums) -> BatchSums:
        """One sequence after the other, in chunks of one step, which tell overflows exactly."""
        host, level = self._artifact.host, JaxLevel(self._runner, self._weights, 1)
        outputs, flags, sums = list[Words](), list[tuple[Words, Words]](), before
        for at in batch:
            forward = host.forward(lesson.xs[at])
            found = level.sweep(forward)
            outputs.append(host.outputs(found))
            echo = host.echo(
                forward, outputs[-1], lesson.labels[at], shared=lesson.shared, adds=bool(sums)
            )
            after = level.sweep(replace(echo, carried=Carried(0, {}, sums)))
            sums = after.sums
            flags.append((found.flags, after.flags))
        raised = np.array(flags, np.int64).T
        return BatchSums(tuple(outputs), raised[0], raised[1], sums)

    def update(self, update: int) -> UpdatedWords:
        rule, tensors = self._plan.rule, self._tensors
        lanes = self._artifact.mapped.config.lanes
        seed = rule.seed if isinstance(rule, ScaledUpdate) else 0
        with jax.enable_x64(True):
            weights, sums, clamped, shifts = self._step(
                {t.name: self._weights[t.name] for t in tensors},
                {t.accumulator: self._sums[t.accumulator] for t in tensors},
                np.array(steps_at(self._plan, tensors, update), np.int64),
                noise_keys(seed, update, lanes),
            )
        new = {name: np.asarray(words) for name, words in weights.items()}
        self._weights |= new
        self._sums = {**self._sums, **{name: np.asarray(words) for name, words in sums.items()}}
        counts = {t.name: int(n) for t, n in zip(tensors, clamped, strict=True)}
        scaled = isinstance(rule, ScaledUpdate)
        by = {t.name: int(n) for t, n in zip(tensors, shifts, strict=True) if scaled}
        return UpdatedWords(new, counts, by, update_flags(counts))


def _by_length(lesson: Lesson, batch: Sequence[int]) -> Iterator[list[int]]:
    """Places in the batch of sequences of one length."""
    groups: dict[int, list[int]] = {}
    for place, at in enumerate(batch):
        groups.setdefault(len(lesson.xs[at]), []).append(place)
    yield from groups.values()
