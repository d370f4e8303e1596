"""One sequence through the NumPy and the JAX level, as equal RunResults.

`Artifact` is everything the integer levels need and nothing else: no model, no floats.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from echoloom.backends.run.integers import Floats, Words, host_of, input_types, to_words
from echoloom.backends.run.run_jax import compile_pass, empty_memory
from echoloom.backends.run.run_numpy import NumpyMachine
from echoloom.ir.host import Host, RunResult, Sweep, Swept, run
from echoloom.ir.interpret import Observer
from echoloom.ir.objective import gain_exponent
from echoloom.ir.ops import DynamicShift
from echoloom.ir.passes.image import Mapped
from echoloom.ir.program import Program
from echoloom.ir.sections import ECHO, FORWARD
from echoloom.ir.tables import TableContents


@dataclass(frozen=True, eq=False)
class IntegerProgram:
    """A quantised program with its coefficient words and tables."""

    program: Program
    coefficients: Mapping[str, Words]
    tables: Mapping[str, TableContents]
    output_step: int

    @cached_property
    def host(self) -> Host:
        """Writes the sweeps of its runs."""
        return host_of(self.program, self.output_step)


@dataclass(frozen=True, eq=False)
class Artifact(IntegerProgram):
    """An integer program placed on an engine."""

    mapped: Mapped


def numpy_run(
    artifact: IntegerProgram,
    x: Floats,
    label: Any = None,
    observer: Observer | None = None,
    echo_steps: int | None = None,
    machine: type[NumpyMachine] = NumpyMachine,
) -> RunResult:
    """x [..., T, inputs] through the NumPy level; with a label (or targets) also the echo.

    `echo_steps` stops the echo after so many steps. A StagedNumpyMachine gives the same integers
    in less time, for x [n, T, inputs]; only its observer sees things otherwise.
    """
    level = machine(artifact.program, artifact.coefficients, artifact.tables, observer)
    return run(artifact.host, level.sweep, x, label, echo_steps)


def host_frames(program: Program, x: Floats) -> Words:
    """Forward frames: sample words [T, inputs]."""
    return to_words(x, input_types(program)["x"].q, "a sample")


def echo_frames(
    program: Program, x: Words, targets: Floats | None, predictions: Floats, output_step: int
) -> tuple[dict[str, Words], Words]:
    """Frame inputs of the echo by name, time reversed, and the gradient's exponent."""
    if targets is None:
        return {"x": x[::-1]}, np.zeros((), np.int64)
    types = input_types(program)
    exponent = gain_exponent(predictions - targets)
    target = np.zeros((len(x), targets.shape[-1]), np.int64)
    gain = np.zeros((len(x), 1), np.int64)
    hit = np.arange(output_step - 1, len(x), output_step)
    target[hit] = to_words(targets, types["target"].q, "a target")
    gain[hit] = to_words(2.0**exponent, types["gain"].q, "the gain")
    return {"x": x[::-1], "target": target[::-1], "gain": gain[::-1]}, -exponent


def jax_run(artifact: Artifact, x: Floats, label: Any = None) -> RunResult:
    """x [T, inputs] through the JAX level; with a label (or targets) also the echo."""
    with jax.enable_x64(True):
        return run(artifact.host, JaxLevel(artifact).sweep, x, label)


@lru_cache(maxsize=8)
def _passes(artifact: Artifact) -> tuple[Any, Any]:
    program, tables = artifact.program, artifact.tables
    return compile_pass(program, tables, FORWARD), compile_pass(program, tables, ECHO)


class JaxLevel:
    """An `ir.host.Level` of one sequence."""

    def __init__(self, artifact: Artifact):
        self.artifact, self.memory = artifact, empty_memory(artifact.program)
        words = dict(artifact.coefficients)
        words |= {d.name: np.zeros(d.type.shape, np.int64) for d in artifact.program.runtime}
        self.fixed = {name: jnp.asarray(value) for name, value in words.items()}

    def sweep(self, given: Sweep) -> Swept:
        self.fixed |= {name: jnp.asarray(words) for name, words in given.runtime.items()}
        sweeps = dict(zip((FORWARD, ECHO), _passes(self.artifact), strict=True))
        shifts = {DynamicShift.LENGTH.name: jnp.asarray(given.shift, jnp.int64)}
        frames = {name: jnp.asarray(rows) for name, rows in given.frames.items()}
        self.memory, flags, emitted = sweeps[given.sections](
            self.fixed, shifts, self.memory, frames
        )
        rows = [np.atleast_2d(np.asarray(v)) for section in emitted for v in section]
        return Swept(
            np.concatenate(rows)[given.every - 1 :: given.every] if given.rows else None,
            {name: np.asarray(self.memory.states[name]) for name in given.states},
            {name: np.asarray(self.memory.accumulators[name]) for name in given.sums},
            np.asarray(flags),
        )
