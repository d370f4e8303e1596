"""`program.learn`: a training by the program's own integers, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from echoloom.backends.run.excess import Kept
from echoloom.backends.run.integers import Floats, Words
from echoloom.backends.run.learning_excess import WeightsAt, first_of_training
from echoloom.backends.run.learning_jax import JaxLearner
from echoloom.backends.run.learning_run import (
    Learner,
    Lesson,
    NumpyLearner,
    Update,
    learn,
    plan_of,
    shared_error,
)
from echoloom.backends.run.levels import Artifact
from echoloom.frontend.data.arrays import whole_number
from echoloom.frontend.data.samples import host_sequence
from echoloom.frontend.models.hssm import HSSM
from echoloom.ir.host import FAILURES
from echoloom.ir.learning import batch_order

LEARNERS: Mapping[str, type[NumpyLearner] | type[JaxLearner]] = {
    "numpy": NumpyLearner,
    "jax": JaxLearner,
}


class Learning(Protocol):
    """What learning needs of a compiled program."""

    @property
    def model(self) -> HSSM: ...
    @property
    def artifact(self) -> Artifact: ...
    def with_weights(self, words: Mapping[str, Words]) -> Any: ...


P = TypeVar("P", bound=Learning)
Watch = Callable[[int, Update], None]  # gets an update's number and what it gave


@dataclass(frozen=True, eq=False)
class LearnResult(Generic[P]):
    """A training of U updates of B sequences each; all integers but the losses.

    weights: words of every tensor that learns before the first update and after each,
    [U + 1, *shape]. outputs: of each update's sequences before it, [U, B, outputs] (logits) or
    [U, B, T', outputs]; losses [U, B] theirs. forward_flags, echo_flags [U, B]: Flag bits.
    By tensor, [U]: clamped, how many sums left a weight's range and were clamped; shifts, by how
    many bits gradients were made smaller (of a rule that scales). order [U, B]: which
    sequences each update took. exponent: errors were told times 2**-exponent, all alike. program:
    the program with the last weights. kept: the first word that overflowed, and the sequence that
    drove it out; None where none did.
    """

    program: P
    weights: Mapping[str, Words]
    outputs: tuple[tuple[Words, ...], ...]
    losses: Floats
    forward_flags: Words
    echo_flags: Words
    clamped: Mapping[str, Words]
    shifts: Mapping[str, Words]
    order: NDArray[np.int64]
    exponent: int
    kept: Kept | None = None

    @property
    def overflowed(self) -> NDArray[np.bool_]:
        """Which sequences' states or sums overflowed, [U, B]."""
        return (self.forward_flags | self.echo_flags) & FAILURES != 0

    @property
    def model(self) -> HSSM:
        """The trained model, in raw parameters."""
        return self.program.model


def lesson_of(
    program: Learning,
    X: Sequence[Any] | Floats,
    y: Any,
    updates: int | None = None,
    order: Any = None,
    exponent: int | None = None,
    batch: int | None = None,
) -> Lesson:
    """The sequences X [n][T, inputs] with y, in the order in which the program learns from them.

    ValueError, in one sentence, for what does not fit the program or each other.
    """
    plan = plan_of(program.artifact)
    if len(X) != len(y) or not len(X):
        raise ValueError(
            f"learn: there are {len(X)} sequences and {len(y)} labels, but as many of both are "
            "needed, and at least one"
        )
    checked = [host_sequence(program.model, x, label) for x, label in zip(X, y, strict=True)]
    xs, labels = [x for x, _ in checked], [label for _, label in checked]
    _check_lengths(program, xs, plan.length)
    if order is None:
        updates = plan.rule.updates if updates is None else whole_number("learn: updates", updates)
        batch = plan.rule.batch if batch is None else whole_number("learn: batch", batch)
        if min(updates, batch) < 1:
            raise ValueError(f"learn: updates is {updates} and batch {batch}, but both must be > 0")
        taken = batch_order(len(xs), batch, updates)
    else:
        taken = _checked_order(order, updates, len(xs))
    first = list(dict.fromkeys(taken[0].tolist()))
    shared = shared_error(
        program.artifact, [xs[at] for at in first], [labels[at] for at in first], exponent
    )
    return Lesson(xs, labels, taken, shared)


def _check_lengths(program: Learning, xs: Sequence[Floats], length: int) -> None:
    lengths = [len(x) for x in xs]
    if program.model.task == "regression" and min(lengths) != max(lengths):
        raise ValueError(
            f"learn: the sequences have {min(lengths)} to {max(lengths)} steps, but a regression "
            "learns on the board from sequences of one length"
        )
    # The error in the steps is times length / T, and an error is told below 2.
    if program.model.task == "classification" and 2 * min(lengths) <= length:
        raise ValueError(
            f"learn: a sequence has {min(lengths)} steps, but this program was compiled with those "
            f"of {length} and learns from any of more than half as many; compile with shorter ones"
        )


def _checked_order(order: Any, updates: int | None, count: int) -> NDArray[np.int64]:
    found = np.asarray(order)
    if found.ndim != 2 or not found.size or found.dtype.kind not in "iu":
        raise ValueError(
            f"learn: order has shape {list(found.shape)} and type {found.dtype}, but whole numbers "
            "[updates, batch] are needed"
        )
    if found.min() < 0 or found.max() >= count:
        raise ValueError(
            f"learn: order names sequences {found.min()} to {found.max()}, but there are {count}, "
            "counted from 0"
        )
    if updates is not None and updates != len(found):
        raise ValueError(f"learn: order is for {len(found)} updates, but updates is {updates}")
    return found.astype(np.int64)


def learner(artifact: Artifact, level: str) -> Learner:
    """The level of this name. ValueError for another name."""
    if level not in LEARNERS:
        raise ValueError(f"learn: level is {level!r}, but it must be {' or '.join(LEARNERS)}")
    return LEARNERS[level](artifact)


def trained(
    program: P, lesson: Lesson, level: str, watch: Watch = lambda number, update: None
) -> LearnResult[P]:
    """The lesson learnt at a level; `watch` sees every update."""
    found: list[Update] = []
    for number, update in enumerate(learn(learner(program.artifact, level), lesson)):
        watch(number, update)
        found.append(update)
    return result_of(program, lesson, found)


def replayed(artifact: Artifact, lesson: Lesson) -> WeightsAt:
    """The words before any update of a lesson, from learning it anew up to there."""

    def weights(update: int) -> Mapping[str, Words]:
        held: Mapping[str, Words] = {}
        for _, after in islice(learn(learner(artifact, "jax"), lesson), update):
            held = after.weights
        return held

    return weights


def result_of(program: P, lesson: Lesson, updates: Sequence[Update]) -> LearnResult[P]:
    """What all updates of a lesson gave, at whichever level."""
    names = [t.name for t in plan_of(program.artifact).tensors]
    start = program.artifact.coefficients
    weights = {n: np.stack([start[n], *(after.weights[n] for _, after in updates)]) for n in names}
    losses = [
        [
            loss(program.artifact, out, lesson.labels[at])
            for out, at in zip(batch.outputs, taken, strict=True)
        ]
        for (batch, _), taken in zip(updates, lesson.order, strict=True)
    ]
    forward = np.array([batch.forward_flags for batch, _ in updates])
    echo = np.array([batch.echo_flags for batch, _ in updates])
    kept = first_of_training(
        program.artifact, lesson, forward | echo, lambda at: {n: w[at] for n, w in weights.items()}
    )
    return LearnResult(
        program.with_weights({n: w[-1] for n, w in weights.items()}),
        weights,
        tuple(batch.outputs for batch, _ in updates),
        np.array(losses),
        forward,
        echo,
        {n: np.array([after.clamped[n] for _, after in updates]) for n in names},
        {n: np.array([after.shifts[n] for _, after in updates]) for n in updates[0][1].shifts},
        lesson.order,
        lesson.shared.exponent,
        kept,
    )


def loss(artifact: Artifact, outputs: Words, label: Any) -> float:
    """The loss of a sequence that gave these words."""
    host = artifact.host
    return float(host.objective.losses(host.decode(outputs)[None], np.asarray(label)[None])[0])
