"""Training by integers: batches of sequences, and after each an update of the weights' words.

The host's half of a learning run is written here once, for every level. A level sums the gradients
of a batch (`BatchSums`) and updates its own words by them (`UpdatedWords`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from echoloom.backends.run.integers import Floats, Words
from echoloom.backends.run.levels import Artifact, numpy_run
from echoloom.backends.run.run_numpy import StagedNumpyMachine
from echoloom.ir.flags import Flag
from echoloom.ir.learning import ScaledUpdate, SignUpdate
from echoloom.ir.objective import SharedError, gain_exponent
from echoloom.ir.passes.learning_plan import LearningPlan
from echoloom.ir.update_rules import (
    by_scale,
    by_sign,
    decayed,
    halved,
    noise_keys,
    noise_rows,
    shift_of,
    step_units,
)


@dataclass(frozen=True, eq=False)
class Lesson:
    """The sequences that a run learns from, one a label or targets, and how their errors are told.
    order [updates, batch]: which of them each update takes."""

    xs: Sequence[Floats]
    labels: Sequence[Any]
    order: NDArray[np.int64]
    shared: SharedError

    @property
    def updates(self) -> int:
        return len(self.order)


@dataclass(frozen=True, eq=False)
class BatchSums:
    """What a batch gave, sequence by sequence in its order: outputs, and Flag bits [batch]; and the
    `sums` by accumulator that an update goes by, which with a momentum go on."""

    outputs: tuple[Words, ...]
    forward_flags: Words
    echo_flags: Words
    sums: Mapping[str, Words]


@dataclass(frozen=True, eq=False)
class UpdatedWords:
    """Words of all that learns after an update; by name how many sums were clamped on the way, the
    Flag bits of the update, and where the rule scales, by how many bits gradients got smaller.
    """

    weights: Mapping[str, Words]
    clamped: Mapping[str, int]
    shifts: Mapping[str, int]
    flags: Mapping[str, int]


class Learner(Protocol):
    """A level that learns. It keeps weights, and with a momentum sums, from update to update."""

    def batch(self, lesson: Lesson, update: int) -> BatchSums: ...
    def update(self, update: int) -> UpdatedWords: ...


Update = tuple[BatchSums, UpdatedWords]


def learn(learner: Learner, lesson: Lesson) -> Iterator[Update]:
    """Every update of a run, one after the other."""
    for update in range(lesson.updates):
        yield learner.batch(lesson, update), learner.update(update)


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor that learns: the widths of its words, the word that keeps it at zero or above, its
    first step in weight units, and by element [size] the lane and the row of its word. `first`:
    rows of the tensors before it, `rows` its own."""

    name: str
    accumulator: str
    width: int
    lift: int
    step: int
    lanes: NDArray[np.int64]
    row: NDArray[np.int64]
    first: int
    rows: int


def plan_of(artifact: Artifact) -> LearningPlan:
    """What of a program learns, and how. ValueError for one that does not."""
    if artifact.mapped.learning is None:
        raise ValueError(
            "this program cannot learn on a board; compile it with learning=, such as "
            "learning=el.SignUpdate()"
        )
    return artifact.mapped.learning


def tensors_of(artifact: Artifact) -> tuple[Tensor, ...]:
    """All that learns, in the order of updates."""
    plan, config = plan_of(artifact), artifact.mapped.config
    scaled, found, first = isinstance(plan.rule, ScaledUpdate), [], 0
    for t in plan.tensors:
        elements = np.array([*t.weight.elements(config.lanes)], np.int64)
        _, lane, address = elements[elements[:, 0].argsort()].T
        units = step_units(plan.rule.step, t.frac, config.narrow, scaled)
        found.append(
            Tensor(
                t.name, t.accumulator, config.narrow, t.lift(config.narrow), -t.sign * units,
                lane, address - t.weight.address, first, t.rows,
            )
        )  # fmt: skip
        first += t.rows
    return tuple(found)


def steps_at(plan: LearningPlan, tensors: Sequence[Tensor], update: int) -> list[int]:
    """The signed steps of an update, in weight units."""
    times = plan.rule.halvings(update)
    return [halved(t.step, times) for t in tensors]


def goes_on(plan: LearningPlan) -> bool:
    """Whether the sums of one batch go on in the next."""
    return isinstance(plan.rule, SignUpdate) and plan.rule.momentum


class NumpyLearner:
    """The reference: one sequence after the other, one tensor after the other."""

    def __init__(self, artifact: Artifact):
        self._artifact, self._plan = artifact, plan_of(artifact)
        self._tensors = tensors_of(artifact)
        self._machine = StagedNumpyMachine(artifact.program, artifact.coefficients, artifact.tables)

    def batch(self, lesson: Lesson, update: int) -> BatchSums:
        host, sweep = self._artifact.host, self._machine.sweep
        outputs, forward_flags, echo_flags = list[Words](), list[Words](), list[Words]()
        for number, at in enumerate(lesson.order[update]):
            forward = host.forward(lesson.xs[at])
            found = sweep(forward)
            outputs.append(host.outputs(found))
            begins = number == 0 and (update == 0 or not goes_on(self._plan))
            echo = host.echo(
                forward, outputs[-1], lesson.labels[at], shared=lesson.shared, adds=not begins
            )
            forward_flags.append(found.flags)
            echo_flags.append(sweep(echo).flags)
        sums = {t.accumulator: self._machine.accumulators[t.accumulator] for t in self._tensors}
        return BatchSums(tuple(outputs), np.array(forward_flags), np.array(echo_flags), sums)

    def update(self, update: int) -> UpdatedWords:
        weights, clamped, shifts = dict[str, Words](), dict[str, int](), dict[str, int]()
        steps = steps_at(self._plan, self._tensors, update)
        noise = self._noise(update)
        word = self._artifact.mapped.config.word
        for t, step in zip(self._tensors, steps, strict=True):
            w, g = self._machine.values[t.name], self._machine.accumulators[t.accumulator]
            if noise is None:
                new = by_sign(w, g, step, t.lift, t.width)
                if goes_on(self._plan):
                    self._machine.accumulators[t.accumulator] = decayed(g, word)
            else:
                shifts[t.name] = shift_of(g)
                own = noise[t.first + t.row, t.lanes].reshape(w.shape)
                new = by_scale(w, g, own, step, t.lift, t.width, word, shifts[t.name])
            self._machine.values[t.name] = weights[t.name] = new.words
            clamped[t.name] = new.clamped
        return UpdatedWords(weights, clamped, shifts, update_flags(clamped))

    def _noise(self, update: int) -> Words | None:
        """The generator's words of an update [rows of all tensors, lanes], where the rule has
        one."""
        rule = self._plan.rule
        if not isinstance(rule, ScaledUpdate):
            return None
        lanes = self._artifact.mapped.config.lanes
        rows = sum(t.rows for t in self._tensors)
        return noise_rows(noise_keys(rule.seed, update, lanes), rows)


def update_flags(clamped: Mapping[str, int]) -> dict[str, int]:
    """The flags that updates raise which clamped so many sums."""
    return {name: int(Flag.WEIGHT) if count else 0 for name, count in clamped.items()}


def shared_error(
    artifact: Artifact, xs: Sequence[Floats], labels: Sequence[Any], exponent: int | None = None
) -> SharedError:
    """How the errors of these sequences are told, all alike, where `exponent` does not say it.

    A classification's are told as they are. A regression's are magnified so that the largest
    of these sequences' is in [0.5, 1) before anything is learnt.
    """
    length = plan_of(artifact).length
    if exponent is None:
        exponent = 0
        if not artifact.program.is_classification:
            host = artifact.host
            gains = [
                int(gain_exponent(host.decode(numpy_run(artifact, x, None).outputs) - label))
                for x, label in zip(xs, labels, strict=True)
            ]
            exponent = -min(gains)
    return SharedError(exponent, length)
