"""One sequence through the NumPy and the JAX level, as equal RunResults.

`Artifact` is everything the integer levels need and nothing else: no model, no floats.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from echoloom.backends.run.integers import (
    Floats,
    RunResult,
    Words,
    error_words,
    forward_states,
    input_types,
    is_classification,
    output_type,
    to_real,
    to_words,
)
from echoloom.backends.run.run_jax import compile_pass, empty_memory
from echoloom.backends.run.run_numpy import NumpyMachine
from echoloom.ir.interpret import Observer
from echoloom.ir.ops import DynamicShift
from echoloom.ir.passes.image import Mapped
from echoloom.ir.program import Program
from echoloom.ir.sections import Section
from echoloom.ir.session import Session, gain_exponent, length_words
from echoloom.ir.tables import TableContents

FORWARD = (Section.FORWARD_PROLOGUE, Section.FORWARD_STEP, Section.FORWARD_EPILOGUE)
ECHO = (Section.ECHO_PROLOGUE, Section.ECHO_STEP, Section.ECHO_EPILOGUE)


@dataclass(frozen=True, eq=False)
class IntegerProgram:
    """A quantised program with its coefficient words and tables."""

    program: Program
    coefficients: Mapping[str, Words]
    tables: Mapping[str, TableContents]
    output_step: int


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
    program = artifact.program
    types = input_types(program)
    runner = machine(program, artifact.coefficients, artifact.tables, observer)
    runner.flags = np.zeros(x.shape[:-2], np.int64)
    session = Session(
        runner, artifact.output_step, lambda name, v: to_words(v, types[name].q, name)
    )
    outputs = session.forward(x)
    batch = x.shape[:-2]
    states = {n: _batched(runner.values[n], batch) for n in forward_states(program)}
    forward_flags = runner.flags
    if label is None:
        zero = np.zeros((), np.int64)
        return RunResult(outputs, states, forward_flags, {}, {}, zero, zero)
    runner.flags = np.zeros(batch, np.int64)
    if is_classification(program):
        error, exponent = error_words(program, outputs, label)
        runner.values["error"] = error
        session.echo_from(x, echo_steps)
    else:
        predictions = to_real(outputs, output_type(program).q)
        exponent = -session.echo_regression(
            x, np.asarray(label, np.float64), predictions, echo_steps
        )
    return RunResult(
        outputs,
        states,
        forward_flags,
        {a.name: runner.accumulators[a.name] for a in program.accumulators if a.target},
        {d.name: _batched(runner.values[d.name], batch) for d in program.states if "." in d.name},
        runner.flags,
        exponent,
    )


def _batched(value: Words, batch: tuple[int, ...]) -> Words:
    return np.broadcast_to(value, (*batch, value.shape[-1]))


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
        return _jax_run(artifact, x, label)


@lru_cache(maxsize=8)
def _passes(artifact: Artifact) -> tuple[Any, Any]:
    program, tables = artifact.program, artifact.tables
    return compile_pass(program, tables, FORWARD), compile_pass(program, tables, ECHO)


def _jax_run(artifact: Artifact, x: Floats, label: Any) -> RunResult:
    program = artifact.program
    forward, echo = _passes(artifact)
    fixed = {name: jnp.asarray(words) for name, words in artifact.coefficients.items()}
    shift, inverse = length_words(len(x))
    shifts = {DynamicShift.LENGTH.name: jnp.asarray(shift, jnp.int64)}
    classification = is_classification(program)
    if classification:
        types = input_types(program)
        words = to_words([inverse], types["inverse_length"].q, "1/T")
        fixed["inverse_length"] = jnp.asarray(words)
        fixed["error"] = jnp.zeros(types["error"].shape, jnp.int64)
    frames = host_frames(program, x)
    memory, flags, emitted = forward(
        fixed, shifts, empty_memory(program), {"x": jnp.asarray(frames)}
    )
    step = artifact.output_step
    outputs = np.asarray(emitted[2][0] if classification else emitted[1][0][step - 1 :: step])
    states = {name: np.asarray(memory.states[name]) for name in forward_states(program)}
    zero = np.zeros((), np.int64)
    if label is None:
        return RunResult(outputs, states, np.asarray(flags), {}, {}, zero, zero)
    if classification:
        error, exponent = error_words(program, outputs, label)
        fixed["error"] = jnp.asarray(error)
        reverse, _ = echo_frames(program, frames, None, np.zeros(0), step)
    else:
        predictions = to_real(outputs, output_type(program).q)
        targets = np.asarray(label, np.float64)
        reverse, exponent = echo_frames(program, frames, targets, predictions, step)
    memory, echo_flags, _ = echo(
        fixed, shifts, memory, {k: jnp.asarray(v) for k, v in reverse.items()}
    )
    return RunResult(
        outputs,
        states,
        np.asarray(flags),
        {a.name: np.asarray(memory.accumulators[a.name]) for a in program.accumulators if a.target},
        {d.name: np.asarray(memory.states[d.name]) for d in program.states if "." in d.name},
        np.asarray(echo_flags),
        exponent,
    )
