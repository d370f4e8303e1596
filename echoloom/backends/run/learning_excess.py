"""Which word left its range first in a training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from echoloom.backends.run.excess import Kept
from echoloom.backends.run.integers import Words
from echoloom.backends.run.learning_run import Lesson
from echoloom.backends.run.levels import IntegerProgram
from echoloom.backends.run.watched import excesses_of
from echoloom.ir.flags import Flag
from echoloom.ir.host import FAILURES, Level

# By the number of an update: the words of all that learns, before it.
WeightsAt = Callable[[int], Mapping[str, Words]]


def first_of_training(
    artifact: IntegerProgram,
    lesson: Lesson,
    flags: Words,
    weights: WeightsAt,
    wanted: Flag = FAILURES,
) -> Kept | None:
    """Of a lesson whose sequences' sweeps raised these flags [updates, batch], the first sequence
    that raised what is `wanted`, and its first word that did; None where none did, or where only
    sums do that a momentum had carried over from an earlier batch."""
    raised = np.argwhere(np.asarray(flags) & wanted != 0)
    if not len(raised):
        return None
    update, number = raised[0].tolist()
    held = replace(artifact, coefficients={**artifact.coefficients, **weights(update)})
    order = lesson.order[update, : number + 1].tolist()

    def batch(level: Level) -> None:
        """The sequences of the batch up to that one, whose sums go on from each other's."""
        for before, at in enumerate(order):
            forward = held.host.forward(lesson.xs[at])
            outputs = held.host.outputs(level(forward))
            level(
                held.host.echo(
                    forward, outputs, lesson.labels[at], shared=lesson.shared, adds=before > 0
                )
            )

    found = excesses_of(held, batch).numbered(order[-1], update)
    excess = found.clamp if wanted is Flag.SATURATED else found.overflow
    return excess and Kept(excess, lesson.xs[order[-1]], lesson.labels[order[-1]])
