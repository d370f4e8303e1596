"""Trainings that `learning.py` compares: in floats by Adam, and by a board's integers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import jax
import numpy as np
from learning_cases import Case, Setting, part
from learning_floats import accuracy, adam_course, rule_course
from parity.tasks import Task

import echoloom as el
from echoloom.backends.compile.learned import LearnResult, lesson_of, result_of
from echoloom.backends.run.learning_jax import JaxLearner
from echoloom.backends.run.learning_run import learn
from echoloom.backends.run.run_jax import JaxLevel, JaxRunner
from echoloom.ir.host import FAILURES
from echoloom.ir.learning import Rule, batch_order

LANES = 4


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Where a training ended. loss: mean of the last tenth of its batches, each before its update.
    The counts are of integers and 0 in floats: sequences, tests among them, whose states or sums
    overflowed; sums of updates that were clamped; weights that learn. cycles: of a sequence's
    forward pass and echo, and of an update."""

    train: float
    test: float
    loss: float
    updates: int
    seconds: float
    compile_seconds: float = 0.0
    overflowed: int = 0
    clamped: int = 0
    weights: int = 0
    cycles: Mapping[str, int] = field(default_factory=dict)


def in_floats(case: Case, task: Task, seed: int, name: str, setting: Setting) -> Outcome:
    """Adam, every parameter free, or a board's rule in floats, on the order of batches that the
    integers learn in."""
    began = time.perf_counter()
    updates = case.sequences // setting.batch
    order = batch_order(len(task.X), setting.batch, updates)
    start = case.model(task, seed)
    if name == "adam":
        course = adam_course(start, task.X, task.y, order, setting.step)
    else:
        course = rule_course(start, task.X, task.y, order, setting.rule(name, updates))
    models, losses = zip(*course, strict=True)
    return Outcome(
        train=accuracy(models[-1], task.X, task.y),
        test=accuracy(models[-1], task.X_test, task.y_test),
        loss=tail(np.array(losses)),
        updates=updates,
        seconds=time.perf_counter() - began,
    )


def tail(losses: np.ndarray) -> float:
    """Mean loss of the last tenth of the updates."""
    return float(np.mean(losses[-max(1, len(losses) // 10) :]))


@dataclass(frozen=True, eq=False)
class Taught:
    """A program that has learnt at the JAX level, and what runs it."""

    result: LearnResult[el.CompiledProgram]
    runner: JaxRunner

    def right(self, X: np.ndarray, y: np.ndarray, update: int = -1) -> tuple[float, int]:
        """The share of X [n, T, inputs] that the integers classify rightly after an update (0:
        before the first), and how many overflowed. They run in batches as large as those that they
        learnt in, for which JAX has compiled."""
        artifact, batch = self.runner.artifact, self.result.order.shape[1]
        words = {name: course[update] for name, course in self.result.weights.items()}
        right = overflowed = 0
        for first in range(0, len(X), batch):
            picks = np.arange(first, first + batch)
            real = picks < len(X)
            with jax.enable_x64(True):
                level = JaxLevel(self.runner, {**artifact.coefficients, **words}, self.runner.chunk)
                swept = level.sweep(artifact.host.forward(X[np.minimum(picks, len(X) - 1)]))
            logits = artifact.host.outputs(swept)[real]
            right += int(np.count_nonzero(logits.argmax(1) == y[picks[real]]))
            overflowed += int(np.count_nonzero(swept.flags[real] & FAILURES))
        return right / len(X), overflowed


def taught(
    program: el.CompiledProgram, X: np.ndarray, y: np.ndarray, order: np.ndarray | None = None
) -> Taught:
    """What `program.learn(X, y, level="jax")` does, with its runner kept."""
    lesson = lesson_of(program, list(X), list(y), order=order)
    runner = JaxRunner(program.artifact)
    updates = [*learn(JaxLearner(program.artifact, runner), lesson)]
    return Taught(result_of(program, lesson, updates), runner)


def in_fabric(case: Case, task: Task, seed: int, name: str, setting: Setting) -> Outcome:
    """The rule `name` from an untrained model to the end, by integers."""
    began = time.perf_counter()
    rule: Rule = setting.rule(name, case.sequences // setting.batch)
    known = part(task, case.calibration)
    program = el.compile(case.model(task, seed), known.X, known.y, lanes=LANES, learning=rule)
    compiled = time.perf_counter()
    done = taught(program, task.X, task.y)
    train, over = done.right(task.X, task.y)
    test, over_too = done.right(task.X_test, task.y_test)
    mapped, length = program.artifact.mapped, task.X.shape[1]
    return Outcome(
        train=train,
        test=test,
        loss=tail(done.result.losses.mean(axis=1)),
        updates=rule.updates,
        seconds=time.perf_counter() - compiled,
        compile_seconds=compiled - began,
        overflowed=int(np.count_nonzero(done.result.overflowed)) + over + over_too,
        clamped=sum(int(counts.sum()) for counts in done.result.clamped.values()),
        weights=sum(words[0].size for words in done.result.weights.values()),
        cycles={
            "sequence": mapped.cycles(True, length) + mapped.cycles(False, length),
            "update": mapped.update_cycles(),
        },
    )
