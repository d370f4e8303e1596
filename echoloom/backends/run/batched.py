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
from echoloom.backends.run.levels import ECHO, FORWARD, IntegerProgram, numpy_run
from echoloom.ir.ops import DynamicShift
from echoloom.ir.program import Program
from echoloom.ir.session import gain_exponent, length_words


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
            result, doubtful = self._run(artifact, samples, labels)
        return _checked(artifact, samples, labels, result, doubtful) if doubtful.any() else result

    def _run(
        self, artifact: IntegerProgram, samples: Floats, labels: Any
    ) -> tuple[RunResult, np.ndarray]:
        """The result, and for which sequences an accumulator may have overflowed on its way."""
        program = artifact.program
        types = input_types(program)
        batch, length = samples.shape[:2]
        shift, inverse = length_words(length)
        registers = {DynamicShift.LENGTH.name: jnp.asarray(2.0**-shift)}
        fixed = {n: np.asarray(w, np.float64) for n, w in artifact.coefficients.items()}
        classification = is_classification(program)
        if classification:
            words = to_words([inverse], types["inverse_length"].q, "1/T")
            fixed["inverse_length"] = words.astype(np.float64)
            fixed["error"] = np.zeros((batch, *types["error"].shape))
        frames = {"x": _streamed(to_words(samples, types["x"].q, "a sample"))}
        memory = empty_memory(self._structure, batch)
        forward = compile_pass(self._structure, FORWARD)
        memory, emitted = forward(self._numbers, fixed, registers, memory, frames)
        step = artifact.output_step
        if classification:
            outputs = _words(emitted[2][0])
        else:
            outputs = _words(emitted[1][0][step - 1 :: step]).swapaxes(0, 1)
        states = {name: _words(memory.states[name]) for name in forward_states(program)}
        flags, doubtful = np.asarray(memory.flags), _doubtful(program, memory)
        if labels is None:
            zero = np.zeros((), np.int64)
            return RunResult(outputs, states, flags, {}, {}, zero, zero), doubtful
        frames = {"x": frames["x"][::-1]}
        if classification:
            error, exponent = error_words(program, outputs, np.asarray(labels))
            fixed["error"] = error.astype(np.float64)
        else:
            targets = np.asarray(labels, np.float64)
            predictions = to_real(outputs, output_type(program).q)
            own, exponent = _target_frames(program, targets, predictions, length, step)
            frames |= own
        echo = compile_pass(self._structure, ECHO)
        memory = replace(memory, flags=jnp.zeros_like(memory.flags))
        memory, _ = echo(self._numbers, fixed, registers, memory, frames)
        gradients = {
            a.name: np.asarray(memory.accumulators[a.name])
            for a in program.accumulators
            if a.target
        }
        echoed = {d.name: _words(memory.states[d.name]) for d in program.states if "." in d.name}
        result = RunResult(
            outputs, states, flags, gradients, echoed, np.asarray(memory.flags), exponent
        )
        return result, doubtful | _doubtful(program, memory)


def _words(values: Any) -> Words:
    return np.asarray(values).astype(np.int64)


def _streamed(words: Words) -> Floats:
    """[n, T, size] as the passes take it, [T, n, size]."""
    return np.ascontiguousarray(words.swapaxes(0, 1), np.float64)


def _target_frames(
    program: Program, targets: Floats, predictions: Floats, length: int, output_step: int
) -> tuple[dict[str, Floats], Words]:
    """Targets and gains as the echo meets them, [T, n, size], and the gradients' exponents [n]."""
    types = input_types(program)
    exponent = gain_exponent(predictions - targets)
    target = np.zeros((len(targets), length, targets.shape[-1]), np.int64)
    gain = np.zeros((len(targets), length, 1), np.int64)
    hit = np.arange(output_step - 1, length, output_step)
    target[:, hit] = to_words(targets, types["target"].q, "a target")
    gain[:, hit] = to_words(2.0**exponent, types["gain"].q, "the gain")[:, None, None]
    return {"target": _streamed(target)[::-1], "gain": _streamed(gain)[::-1]}, -exponent


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
