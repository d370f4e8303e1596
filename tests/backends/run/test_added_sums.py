"""Sums that go on from one sequence's echo to the next one's."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import jax
import numpy as np
import pytest

import echoloom as el
from echoloom.backends.run.levels import Artifact
from echoloom.backends.run.run_jax import JaxLevel, JaxRunner
from echoloom.backends.run.run_numpy import NumpyMachine, StagedNumpyMachine
from echoloom.ir.flags import Flag
from echoloom.ir.formats import Q, Type
from echoloom.ir.host import Level, Swept
from echoloom.ir.objective import SharedError
from echoloom.ir.sections import Section

COUNT, STEPS = 3, 7


@lru_cache
def made(task: Any) -> tuple[el.CompiledProgram, np.ndarray, np.ndarray]:
    model = el.HSSM(2, 3, 3, 2, 1, task=task, key=jax.random.key(1))
    random = np.random.default_rng(0)
    x = random.uniform(-1.5, 1.5, (COUNT, STEPS, 2))
    y = random.integers(0, 3, COUNT)
    if task == "regression":
        y = random.uniform(-0.9, 0.9, (COUNT, STEPS, 3))
    return el.compile(model, x, y, lanes=2), x, y


def levels(artifact: Artifact) -> dict[str, Level]:
    machines = {"numpy": NumpyMachine, "staged": StagedNumpyMachine}
    given = artifact.program, artifact.coefficients, artifact.tables
    found: dict[str, Level] = {name: m(*given).sweep for name, m in machines.items()}
    return found | {"jax": JaxLevel(JaxRunner(artifact), artifact.coefficients, 1).sweep}


def echoes(artifact: Artifact, level: Level, x: np.ndarray, y: np.ndarray) -> list[Swept]:
    host, shared, found = artifact.host, SharedError(0, STEPS), []
    with jax.enable_x64(True):
        for number in range(len(x)):
            forward = host.forward(x[number])
            outputs = host.outputs(level(forward))
            label = y[number]
            echo = host.echo(forward, outputs, label, shared=shared, adds=number > 0)
            assert echo.exponent == 0
            found.append(level(echo))
    return found


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_sums_of_a_batch_are_those_of_its_sequences(task: str) -> None:
    program, x, y = made(task)
    artifact = program.artifact
    alone = [
        echoes(artifact, levels(artifact)["numpy"], x[[n]], y[[n]])[0].sums for n in range(COUNT)
    ]
    for name, level in levels(artifact).items():
        found = echoes(artifact, level, x, y)
        for n, one in enumerate(found):
            assert one.flags & Flag.ACCUMULATOR == 0
            for sum_, words in one.sums.items():
                total = sum(own[sum_] for own in alone[: n + 1])
                assert np.array_equal(words, total), (name, sum_)
    prologue = program.ir.body(Section.ECHO_PROLOGUE).accumulates
    assert bool(prologue) == (task == "classification")


def test_a_sum_overflows_in_the_sequence_in_which_it_does() -> None:
    """At widths in which one sequence fits, but not all."""
    program, x, y = made("classification")
    raised = set()
    for width in range(46, 38, -1):
        sums = tuple(
            replace(a, type=Type(a.type.shape, Q(width, a.type.q.frac)))
            for a in program.ir.accumulators
        )
        artifact = replace(program.artifact, program=replace(program.ir, accumulators=sums))
        found = {name: echoes(artifact, level, x, y) for name, level in levels(artifact).items()}
        flags = {name: [int(one.flags) for one in own] for name, own in found.items()}
        assert flags["jax"] == flags["numpy"] == flags["staged"]
        for one, other in zip(found["numpy"], found["jax"], strict=True):
            assert all(np.array_equal(one.sums[n], other.sums[n]) for n in one.sums)
        raised.add(tuple(flag & Flag.ACCUMULATOR != 0 for flag in flags["numpy"]))
    assert (False, False, False) in raised and len(raised) > 2


def test_a_longer_sequence_weighs_less_in_its_steps() -> None:
    program, _, _ = made("classification")
    told = program.artifact.host.objective.told(np.array([[1.0, 2.0, 0.5]]), np.array([1]), 1.0)
    shared = SharedError(-2, STEPS)
    fixed = program.artifact.host.objective.told(
        np.array([[1.0, 2.0, 0.5]]), np.array([1]), 1.0, shared
    )
    assert fixed.exponent == -2
    scale = 2.0 ** (int(told.exponent[0]) + 2)
    assert np.array_equal(fixed.runtime["error"], told.runtime["error"] * scale)
    assert shared.weight(2 * STEPS) == 0.5
