"""A batch of sequences through an integer program at once: the integers of `numpy_run`, fast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from echoloom.backends.run.chunked_sweep import Memory, compile_pass, empty_memory
from echoloom.backends.run.float_words import Numbers, fits, numbers, structure
from echoloom.backends.run.integers import Floats, Words
from echoloom.backends.run.levels import IntegerProgram, numpy_run
from echoloom.ir.host import RunResult, Sweep, Swept, run
from echoloom.ir.ops import DynamicShift
from echoloom.ir.program import Program


@dataclass(frozen=True, eq=False)
class BatchRunner:
    """Runs batches on a program's formats, whatever its coefficients are at the time.

    What JAX compiles depends on the program's `structure` and the batch's shape alone, so another
    runner for the same model calibrated again, or with other coefficients, compiles nothing.
    """

    artifact: IntegerProgram

    @cached_property
    def _structure(self) -> Program:
        return structure(self.artifact.program)

    @cached_property
    def _numbers(self) -> Numbers:
        return jax.tree.map(jnp.asarray, numbers(self.artifact.program, self.artifact.tables))

    @cached_property
    def _exact(self) -> bool:
        return fits(self.artifact.program, self.artifact.tables)

    def run(
        self, samples: Floats, labels: Any = None, coefficients: Mapping[str, Words] | None = None
    ) -> RunResult:
        """All integers of samples [n, T, inputs], each array with a first axis [n].

        labels [n] or targets [n, T', outputs]; without them there is no echo. `coefficients` are
        words for the program's formats, its own if None. InputRange (a ValueError) for what lies
        outside the calibrated range.
        """
        artifact = self.artifact
        if coefficients is not None:
            artifact = replace(artifact, coefficients=coefficients)
        if not self._exact:
            return numpy_run(artifact, samples, labels)
        with jax.enable_x64(True):
            level = JaxLevel(self, artifact)
            result = run(artifact.host, level.sweep, samples, labels)
        if level.doubtful.any():
            return _checked(artifact, samples, labels, result, level.doubtful)
        return result


class JaxLevel:
    """An `ir.host.Level` of a batch [n]; `doubtful`: for which sequences an accumulator may have
    overflowed on its way."""

    def __init__(self, runner: BatchRunner, artifact: IntegerProgram):
        self.program, self.structure = artifact.program, runner._structure
        self.numbers, self.memory = runner._numbers, None
        self.fixed = {n: np.asarray(w, np.float64) for n, w in artifact.coefficients.items()}
        self.doubtful = np.zeros((), bool)

    def sweep(self, given: Sweep) -> Swept:
        (batch,) = given.batch
        if self.memory is None:
            zeros = {d.name: np.zeros((batch, *d.type.shape)) for d in self.program.runtime}
            self.fixed, self.memory = self.fixed | zeros, empty_memory(self.structure, batch)
        self.fixed |= {name: words.astype(np.float64) for name, words in given.runtime.items()}
        memory = replace(self.memory, flags=jnp.zeros_like(self.memory.flags))
        frames = {name: _streamed(words) for name, words in given.frames.items()}
        registers = {DynamicShift.LENGTH.name: jnp.asarray(2.0**-given.shift)}
        sweep = compile_pass(self.structure, given.sections)
        memory, emitted = sweep(self.numbers, self.fixed, registers, memory, frames)
        self.memory, self.doubtful = memory, self.doubtful | _doubtful(self.program, memory)
        rows = [v.reshape(-1, *v.shape[-2:]) for section in emitted for v in section]
        return Swept(
            _words(np.concatenate(rows)[given.every - 1 :: given.every]).swapaxes(0, 1)
            if given.rows
            else None,
            {name: _words(memory.states[name]) for name in given.states},
            {name: np.asarray(memory.accumulators[name]) for name in given.sums},
            np.asarray(memory.flags),
        )


def _words(values: Any) -> Words:
    return np.asarray(values).astype(np.int64)


def _streamed(words: Words) -> Floats:
    """[n, T, size] as the passes take it, [T, n, size]."""
    return np.ascontiguousarray(words.swapaxes(0, 1), np.float64)


def _doubtful(program: Program, memory: Memory) -> np.ndarray:
    """Sequences whose accumulators are not proven to have stayed in range all the way.

    Sums are made a chunk at a time, so only a bound on their magnitude is known; the hair less than
    the limit allows for the bound's own rounding.
    """
    limits = {a.name: 2.0 ** (a.type.q.width - 1) * (1 - 2.0**-30) for a in program.accumulators}
    return np.any([np.asarray(memory.reached[n]) >= limit for n, limit in limits.items()], axis=0)


def _checked(
    artifact: IntegerProgram, samples: Floats, labels: Any, result: RunResult, doubtful: np.ndarray
) -> RunResult:
    """The result with doubtful sequences computed step by step, as `numpy_run` does it."""
    some = None if labels is None else np.asarray(labels)[doubtful]
    exact = numpy_run(artifact, samples[doubtful], some)

    def merged(fast: Any, slow: Any) -> Any:
        if isinstance(fast, Mapping):
            return {name: merged(fast[name], slow[name]) for name in fast}
        if fast.ndim == 0:
            return fast
        whole = np.array(fast)
        whole[doubtful] = slow
        return whole

    return RunResult(
        *(
            merged(getattr(result, name), getattr(exact, name))
            for name in RunResult.__dataclass_fields__
        )
    )
