"""`el.verify(..., learn=N)`: a training gives the same integers after every update, at every level.

The host's half of a training is the same at every level, so the NumPy level learns first. Its
outputs are what the echoes of a circuit get their errors from, and the circuit's own have to equal
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echoloom.backends.board.board import open_board
from echoloom.backends.compile.learned import lesson_of
from echoloom.backends.compile.program import CompiledProgram
from echoloom.backends.engine.learning import LearningPass, LearningPasses
from echoloom.backends.engine.requests import SECTIONS, PassRequest, PassResult
from echoloom.backends.run.integers import Floats, Words
from echoloom.backends.run.learning_excess import first_of_training
from echoloom.backends.run.learning_jax import JaxLearner
from echoloom.backends.run.learning_run import Lesson, NumpyLearner, Update, learn
from echoloom.ir.contract import Image
from echoloom.ir.flags import Flag
from echoloom.ir.host import FAILURES
from echoloom.sim.compare_learning import batch_words, compare, updated_words
from echoloom.sim.first_difference import Difference, Mismatch
from echoloom.sim.level import Progress
from echoloom.sim.level_board import NO_PORT
from echoloom.sim.locate_learning import locate_in_batch
from echoloom.sim.run_rtl import Simulator, Wrapper, run_rtl
from echoloom.sim.verify_reports import CycleReport, LearningReport, LevelReport, VerifyReport

REFERENCE = "numpy"
GOLDEN = "the level rtl ran the image on the engine's golden twin: no circuit was simulated"
Played = tuple[LearningPass, PassResult]


@dataclass(frozen=True, eq=False)
class LearningJob:
    """What a level is to learn, and what the NumPy level gave. The settings are `verify`'s."""

    program: CompiledProgram
    lesson: Lesson
    expected: tuple[Update, ...]
    simulator: Simulator
    stall_seed: int | None
    image: Image | None
    wrapper: Wrapper | None
    port: str | None

    @cached_property
    def passes(self) -> LearningPasses:
        """What writes and reads an engine's passes."""
        image = self.program.image if self.image is None else self.image
        return LearningPasses(self.program.artifact, image)


@dataclass(frozen=True, eq=False)
class Learnt:
    """What a level made of an update, and the passes of an engine that it took."""

    update: Update
    passes: Sequence[Played] = field(default=())


LearningLevel = Callable[[LearningJob], Iterator[Learnt]]


def jax_learning(job: LearningJob) -> Iterator[Learnt]:
    """The level that `program.learn` is fast at."""
    return map(Learnt, learn(JaxLearner(job.program.artifact), job.lesson))


def rtl_learning(job: LearningJob) -> Iterator[Learnt]:
    """All passes of all updates in one simulation, without a reset between them."""
    parts, requests = all_passes(job)
    results = iter(
        run_rtl(job.passes.image, requests, job.simulator, job.stall_seed, wrapper=job.wrapper)
    )
    return learnt(job.passes, parts, results)


def board_learning(job: LearningJob) -> Iterator[Learnt]:
    """On a board, which holds the untrained program again then."""
    if job.port is None:
        raise ValueError(NO_PORT)
    parts, requests = all_passes(job)
    with open_board(job.port) as board:
        board.load(job.program, anew=True)
        yield from learnt(job.passes, parts, board.play(requests))
        board.load(job.program, anew=True)


def all_passes(job: LearningJob) -> tuple[list[list[LearningPass]], list[PassRequest]]:
    """The passes of every batch and of every update, in turn, and what is asked for by all."""
    parts = [
        part
        for update, (batch, _) in enumerate(job.expected)
        for part in update_passes(job.passes, job.lesson, update, batch.outputs)
    ]
    return parts, [one.request for one in chain.from_iterable(parts)]


def learnt(
    passes: LearningPasses, parts: Sequence[list[LearningPass]], results: Iterator[PassResult]
) -> Iterator[Learnt]:
    """What an engine's results say of every update."""
    for batch, update in zip(parts[::2], parts[1::2], strict=True):
        found = [(one, next(results)) for one in batch]
        after = [(one, next(results)) for one in update]
        yield Learnt((passes.batch_sums(found), passes.updated(after)), (*found, *after))


def update_passes(
    passes: LearningPasses, lesson: Lesson, update: int, outputs: Sequence[Words]
) -> tuple[list[LearningPass], list[LearningPass]]:
    """The passes of an update's batch, whose sequences give these outputs, and of the update."""
    batch = [
        one
        for number, own in enumerate(outputs)
        for one in passes.sequence(lesson, update, number, own)
    ]
    return batch, [*passes.update(update)]


LEVELS: Mapping[str, LearningLevel] = {
    "jax": jax_learning,
    "rtl": rtl_learning,
    "board": board_learning,
}


def rtl_locate(job: LearningJob, number: int) -> Difference | None:
    """The first signal inside the batch of an update that an engine gets wrong."""
    return locate_in_batch(
        job.program, job.lesson, job.expected, number, job.passes.image, job.simulator, job.wrapper
    )


# Where a level can say what is wrong inside a batch.
LOCATORS: Mapping[str, Callable[[LearningJob, int], Difference | None]] = {"rtl": rtl_locate}


def verify_learning(
    program: CompiledProgram,
    xs: Sequence[Any] | Floats,
    labels: Sequence[Any] | NDArray[Any] | None,
    updates: int,
    batch: int | None = None,
    *,
    levels: Sequence[str],
    simulator: Simulator,
    stall_seed: int | None,
    image: Image | None,
    wrapper: Wrapper | None,
    port: str | None,
    progress: Progress,
) -> VerifyReport:
    """`el.verify` with `learn=updates`; the arguments are its own."""
    unknown = [level for level in levels if level not in (REFERENCE, *LEVELS)]
    if unknown:
        raise ValueError(
            f"the level {unknown[0]} does not learn; levels that do are numpy, {', '.join(LEVELS)}"
        )
    if labels is None or any(label is None for label in labels):
        raise ValueError("verify: without a label for every sequence nothing can be learnt")
    lesson = lesson_of(program, xs, labels, updates, batch=batch)
    progress(f"numpy: {lesson.updates} updates")
    expected = tuple(learn(NumpyLearner(program.artifact), lesson))
    job = LearningJob(program, lesson, expected, simulator, stall_seed, image, wrapper, port)
    cycles, totals = dict[str, CycleReport](), (None, None)
    reports: dict[str, LevelReport] = {}
    for name, level in LEVELS.items():
        if name not in levels:
            continue
        progress(f"{name}: {lesson.updates} updates of {lesson.order.shape[1]} sequences")
        compared = 0
        for number, (wanted, found) in enumerate(zip(expected, level(job), strict=True)):
            compared += _compare(name, job, number, wanted, found.update)
            compared += _compare_cycles(program, name, number, found.passes, cycles)
            totals = _totals(found.passes) if found.passes else totals
        reports[name] = LevelReport(compared, 0, lesson.order.size, lesson.order.size)
    simulated = "rtl" in levels
    flags = np.array([sums.forward_flags | sums.echo_flags for sums, _ in expected])

    def weights(update: int) -> Mapping[str, Words]:
        return expected[update - 1][1].weights if update else {}

    clamp, overflow = (
        first_of_training(program.artifact, lesson, flags, weights, wanted)
        for wanted in (Flag.SATURATED, FAILURES)
    )
    return VerifyReport(
        reports,
        None,
        cycles,
        int(np.count_nonzero(flags & Flag.SATURATED)),
        int(np.count_nonzero(flags & FAILURES)),
        simulator if simulated else None,
        stall_seed,
        (GOLDEN,) if simulated and simulator == "golden" else (),
        learning=LearningReport(
            lesson.updates,
            lesson.order.shape[1],
            sum(words.size for words in expected[0][1].weights.values()),
            sum(sum(after.clamped.values()) for _, after in expected),
            *totals,
        ),
        excesses=tuple(kept.excess for kept in (clamp, overflow) if kept is not None),
    )


def _compare(level: str, job: LearningJob, number: int, wanted: Update, found: Update) -> int:
    """Number of integers compared; raises Mismatch at the first that differs in this update."""
    try:
        batch = compare(level, number, batch_words(wanted[0]), batch_words(found[0]))
    except Mismatch as mismatch:
        locate = LOCATORS.get(level, lambda job, number: None)
        raise Mismatch(locate(job, number) or mismatch.difference) from None
    return batch + compare(level, number, updated_words(wanted[1]), updated_words(found[1]))


def _compare_cycles(
    program: CompiledProgram,
    level: str,
    number: int,
    passes: Sequence[Played],
    reports: dict[str, CycleReport],
) -> int:
    """Number of counts compared with the schedule's; a kind's first pass goes to `reports`."""
    mapped = program.artifact.mapped
    for one, counted in passes:
        kind, length = one.request.kind, len(one.request.frames)
        predicted = mapped.cycles_of(SECTIONS[kind], length)
        if counted.cycles != predicted:
            what = f"cycles of the {kind} pass{' of ' if one.tensor else ''}{one.tensor}"
            raise Mismatch(
                Difference(
                    level, None, "", what, (), None, predicted, counted.cycles, update=number
                )
            )
        utilisation = counted.busy / (mapped.config.lanes * max(1, counted.cycles))
        reports.setdefault(kind, CycleReport(length, predicted, counted.cycles, utilisation))
    return len(passes)


def _totals(passes: Sequence[Played]) -> tuple[int, int]:
    """Clock cycles of a batch's passes, and of an update's."""
    batch = sum(counted.cycles for one, counted in passes if one.sweep is not None)
    return batch, sum(counted.cycles for _, counted in passes) - batch
