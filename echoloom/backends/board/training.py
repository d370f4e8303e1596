"""A training on a board: it is sent sequences, told errors, and updates its own weights.

Weights are read at checkpoints alone. Where something is lost on the line nobody knows what a board
has summed since, so it gets the words of the last checkpoint, and makes the stretch from there
again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from echoloom.backends.board.guard import Guard, confirmed
from echoloom.backends.board.records import Trained
from echoloom.backends.board.session import Session
from echoloom.backends.compile.learned import loss
from echoloom.backends.compile.program import CompiledProgram
from echoloom.backends.engine.learning import LearningPass, LearningPasses
from echoloom.backends.engine.requests import SECTIONS, PassResult
from echoloom.backends.engine.sweeps import swept
from echoloom.backends.link.errors import Upset
from echoloom.backends.link.updates import RowPass, run_update
from echoloom.backends.run.integers import Words
from echoloom.backends.run.learning_run import Lesson, goes_on

Watch = Callable[[Trained], None]


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A training so far, and the words of the sums, where those go on from batch to batch."""

    so_far: Trained
    sums: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class UpdateMade:
    """What the passes of an update counted: by tensor the clamped sums, and cycles in all."""

    clamped: Mapping[str, int]
    cycles: int


def train(session: Session, lesson: Lesson, every: int, watch: Watch, guard: Guard) -> Trained:
    """Have a board learn, and call `watch` after every so many updates, at a checkpoint, if what
    came of these is to be trusted.

    Raises Upset and what the session raises; then its program is that of the last checkpoint.
    """
    program = session.loaded()
    session.insist_on_list()
    passes = LearningPasses(program.artifact, program.image)
    losses = np.zeros((0, lesson.order.shape[1]))
    clamped = {t.name: 0 for t in passes.tensors}
    at = Checkpoint(Trained(0, program, losses, losses.astype(np.int64), clamped, (0, 0)))
    while at.so_far.updates < lesson.updates:
        until = min(at.so_far.updates + every, lesson.updates)
        stretch = partial(session.repeatedly, partial(_stretch, session, passes, lesson, at, until))
        try:
            at = confirmed(guard, session, "stretch of a training", stretch(), stretch, _named)
        except Upset:
            session.go_back(at.so_far.program)
            raise
        watch(at.so_far)
    return at.so_far


def _named(at: Checkpoint) -> Mapping[str, object]:
    """What two trainings that are the same have in common."""
    found = at.so_far
    sums = {"its sums": at.sums, "its losses": found.losses, "its flags": found.flags}
    return {**found.program.artifact.coefficients, **sums}


def _stretch(
    session: Session, passes: LearningPasses, lesson: Lesson, at: Checkpoint, until: int
) -> Checkpoint:
    """The updates from a checkpoint up to number `until`, and the checkpoint after them."""
    before = at.so_far
    session.take(before.program)
    if at.sums:
        places = zip(passes.sum_reads, at.sums, strict=True)
        session.write_words([(*place, word) for place, word in places])
    losses, flags = [*before.losses], [*before.flags]
    clamped, (of_sequences, of_updates) = dict(before.clamped), before.cycles
    for update in range(before.updates, until):
        batch = [*_batch(session, passes, lesson, update)]
        losses.append(np.array([one.loss for one in batch]))
        flags.append(np.array([one.flags for one in batch]))
        of_sequences += sum(one.cycles for one in batch)
        made = make_update(session, before.program, [*passes.update(update)])
        clamped = {name: count + made.clamped[name] for name, count in clamped.items()}
        of_updates += made.cycles
    words = passes.weights(iter(session.read(passes.weight_reads)))
    sums = tuple(session.read(passes.sum_reads)) if goes_on(passes.plan) else ()
    program = before.program.with_weights(words)
    session.left(program)
    cycles = of_sequences, of_updates
    return Checkpoint(
        Trained(until, program, np.array(losses), np.array(flags), clamped, cycles), sums
    )


@dataclass(frozen=True)
class SequenceMade:
    """What came of a sequence of a batch: its outputs and loss before the update, the Flag bits of
    both passes, and their cycles."""

    outputs: Words
    loss: float
    flags: int
    cycles: int


def _batch(
    session: Session, passes: LearningPasses, lesson: Lesson, update: int
) -> Iterator[SequenceMade]:
    """The sequences of an update, one after the other."""
    artifact = passes.artifact
    for number, at in enumerate(lesson.order[update]):
        forward = passes.forward(lesson, update, number)
        assert forward.sweep is not None
        found = _played(session, passes, forward)
        outputs = artifact.host.outputs(swept(artifact, forward.sweep, found))
        echo = passes.echo(lesson, update, number, forward, outputs, sums=False)
        after = _played(session, passes, echo)
        yield SequenceMade(
            outputs,
            loss(artifact, outputs, lesson.labels[at]),
            found.flags | after.flags,
            found.cycles + after.cycles,
        )


def _played(session: Session, passes: LearningPasses, one: LearningPass) -> PassResult:
    found, mark = session.play(passes.artifact, one.request)
    session.moving(mark)
    return found


def make_update(
    session: Session, program: CompiledProgram, update: list[LearningPass]
) -> UpdateMade:
    """The passes of an update, without the words that they leave.

    Raises LinkError where they did not take the cycles that they take.
    """
    mapped = program.artifact.mapped
    rows = [
        RowPass(
            one.request.accesses,
            mapped.cycles_of(SECTIONS[one.request.kind], len(one.request.frames)),
            clamps=one.request.kind == "update",
        )
        for one in update
    ]
    counts, said = session.converse(partial(run_update, passes=rows))
    session.moving(said.mark)
    names = [one.tensor for one, own in zip(update, rows, strict=True) if own.clamps]
    cycles = sum(one.cycles for one in rows)
    return UpdateMade(dict(zip(names, counts, strict=True)), cycles)
