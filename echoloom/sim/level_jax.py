"""The level "jax": the program jitted, one scan per step section."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from echoloom.backends.run.integers import (
    Floats,
    Words,
    error_words,
    input_types,
    is_classification,
    output_type,
    to_real,
    to_words,
)
from echoloom.backends.run.levels import Artifact, echo_frames, host_frames, jax_run
from echoloom.backends.run.run_jax import empty_memory, run_body
from echoloom.ir.objective import length_words
from echoloom.ir.ops import DynamicShift
from echoloom.ir.sections import ECHO, FORWARD, STEPS, Section
from echoloom.sim.first_difference import Difference
from echoloom.sim.level import Job, Run
from echoloom.sim.locate import Key, first_value, numpy_trace


def jax_level(job: Job) -> Iterator[Run]:
    job.progress("jax: compiling and running")
    artifact = job.program.artifact
    for case in job.cases:
        found = jax_run(artifact, case.x, case.label)
        locate = partial(_locate, artifact, case.x, case.label)
        yield Run(case, case.expected.named(), found.named(), locate)


def _locate(artifact: Artifact, x: Floats, label: Any) -> Difference | None:
    wanted = numpy_trace(artifact, x, label)
    with jax.enable_x64(True):
        return first_value("jax", wanted, _jax_trace(artifact, x, label))


def _jax_trace(artifact: Artifact, x: Floats, label: Any) -> Iterator[tuple[Key, Words]]:
    """Every value of a JAX run, step by step."""
    program, tables = artifact.program, artifact.tables
    types = input_types(program)
    fixed = {name: jnp.asarray(words) for name, words in artifact.coefficients.items()}
    shift, inverse = length_words(len(x))
    shifts = {DynamicShift.LENGTH.name: jnp.asarray(shift, jnp.int64)}
    if is_classification(program):
        words = to_words([inverse], types["inverse_length"].q, "1/T")
        fixed["inverse_length"] = jnp.asarray(words)
    memory, flags = empty_memory(program), jnp.zeros((), jnp.int64)
    frames: Mapping[str, Words] = {"x": host_frames(program, x)}
    emitted: list[Words] = []
    for section in (*FORWARD, *(ECHO if label is not None else ())):
        body = program.body(section)
        if section is Section.ECHO_PROLOGUE:
            targets, predictions = None, np.zeros(0)
            if is_classification(program):
                error, _ = error_words(program, emitted[-1], label)
                fixed["error"] = jnp.asarray(error)
            else:
                targets = np.asarray(label, np.float64)
                outputs = np.stack(emitted[artifact.output_step - 1 :: artifact.output_step])
                predictions = to_real(outputs, output_type(program).q)
            frames, _ = echo_frames(
                program, frames["x"], targets, predictions, artifact.output_step
            )

        def run(memory: Any, frame: Any, first: Any, body: Any = body) -> Any:
            record: dict[str, jax.Array] = {}
            after, _, out = run_body(
                program, body, tables, fixed, shifts, memory, frame, first, flags, record
            )
            return after, out, record

        run = jax.jit(run)
        steps = len(x) if section in STEPS else 1
        for step in range(steps):
            frame = {d.name: jnp.asarray(frames[d.name][step]) for d in body.frame}
            memory, out, record = run(memory, frame, jnp.asarray(step == 0))
            emitted += [np.asarray(o) for o in out]
            for instr in body.instrs:
                yield (section, step, instr.name), np.asarray(record[instr.name])
