"""Integer programs under JAX: the integers of `numpy_run`, fast, for one sequence or a batch.

This is the engine that training runs on and the level that `verify` holds against NumPy's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from echoloom.backends.run.chunked_sweep import CHUNK, Code, Memory, compile_sweep, empty_memory
from echoloom.backends.run.integers import Floats, Words
from echoloom.backends.run.jax_words import Kind, Numbers, kind_of, numbers, right, structure
from echoloom.backends.run.levels import IntegerProgram
from echoloom.ir.carried import Carried
from echoloom.ir.host import RunResult, Sections, Sweep, Swept, run
from echoloom.ir.ops import DynamicShift
from echoloom.ir.program import Program
from echoloom.ir.sections import STEPS, Section

Trace = Iterator[tuple[tuple[Section, int, str], Words]]


@dataclass(frozen=True, eq=False)
class JaxRunner:
    """Runs sequences on a program's formats, whatever its coefficients are at the time.

    What JAX compiles depends on the program's `structure` and the samples' shape alone, so another
    runner for the same model calibrated again, or with other coefficients, compiles nothing.
    `chunk`: steps that are computed together, at most.
    """

    artifact: IntegerProgram
    chunk: int = CHUNK

    @cached_property
    def structure(self) -> Program:
        return structure(self.artifact.program)

    @cached_property
    def kind(self) -> Kind:
        return kind_of(self.artifact.program, self.artifact.tables)

    @cached_property
    def numbers(self) -> Numbers:
        found = numbers(self.artifact.program, self.artifact.tables, self.kind)
        return jax.tree.map(jnp.asarray, found)

    def run(
        self,
        samples: Floats,
        labels: Any = None,
        coefficients: Mapping[str, Words] | None = None,
        carried: Carried | None = None,
    ) -> RunResult:
        """All integers of samples [..., T, inputs], each array with the same leading axes.

        labels [...] or targets [..., T', outputs]; without them there is no echo. `coefficients`
        are words for the program's formats, its own if None. All sequences go on from what is
        `carried`, words of one; from rest if None. InputRange (a ValueError) for what
        lies outside the calibrated range.
        """
        words = self.artifact.coefficients if coefficients is None else coefficients
        with jax.enable_x64(True):
            level = JaxLevel(self, words, self.chunk)
            result = run(self.artifact.host, level.sweep, samples, labels, carried=carried)
            if not level.doubtful.any():
                return result
            some = None if labels is None else np.asarray(labels)[level.doubtful]
            exact = JaxLevel(self, words, 1)
            by_step = run(
                self.artifact.host, exact.sweep, samples[level.doubtful], some, carried=carried
            )
        return _merged(result, by_step, level.doubtful)

    def sweep(self, given: Sweep) -> Swept:
        """An `ir.host.Level` for sweeps that say all that is carried into them."""
        with jax.enable_x64(True):
            level = JaxLevel(self, self.artifact.coefficients, self.chunk)
            found = level.sweep(given)
            if level.doubtful.any():
                found = JaxLevel(self, self.artifact.coefficients, 1).sweep(given)
        return found

    def trace(self, samples: Floats, label: Any = None, carried: Carried | None = None) -> Trace:
        """Every value of a run of samples [T, inputs] by section, step and name, in order."""
        with jax.enable_x64(True):
            level = JaxLevel(self, self.artifact.coefficients, self.chunk, watched=True)
            run(self.artifact.host, level.sweep, samples, label, carried=carried)
        return level.watched()


class JaxLevel:
    """An `ir.host.Level`; `doubtful` [...]: for which sequences a sum may have overflowed on its
    way through a chunk, which chunks of one step tell exactly."""

    def __init__(
        self, runner: JaxRunner, words: Mapping[str, Words], chunk: int, watched: bool = False
    ):
        self.runner = runner
        self.code = Code(runner.structure, (), runner.kind, chunk, watched)
        self.fixed = {name: np.asarray(word, runner.kind) for name, word in words.items()}
        self.memory: Memory | None = None
        self.doubtful = np.zeros((), bool)
        self.seen: list[tuple[Section, list[jax.Array]]] = []

    def sweep(self, given: Sweep) -> Swept:
        """Run the sections, all sequences at once: their axes are one here."""
        program, kind, count = self.runner.artifact.program, self.code.kind, math.prod(given.batch)

        def joined(words: Words, rank: int, kind: Any = kind) -> Any:
            own = words.shape[words.ndim - rank :]
            batched = np.broadcast_to(words, (*given.batch, *own))
            return np.asarray(batched.reshape((count, *own)), kind)

        def parted(words: Any) -> Words:
            return np.asarray(words).astype(np.int64).reshape((*given.batch, *words.shape[1:]))

        if self.memory is None:
            self.memory = empty_memory(self.code.program, count, kind)
            self.fixed |= {d.name: np.zeros((count, *d.type.shape), kind) for d in program.runtime}
        self.fixed |= {name: joined(words, 1) for name, words in given.runtime.items()}
        frames = {n: np.ascontiguousarray(joined(words, 2).swapaxes(0, 1))
                  for n, words in given.frames.items()}  # fmt: skip
        memory = replace(self.memory, flags=jnp.zeros(count, jnp.int64))
        if given.carried is not None:
            states, sums = given.carried.states, given.carried.sums
            memory = memory.with_words(
                {name: joined(words, 1) for name, words in states.items()},
                {name: joined(words, memory.accumulators[name].ndim - 1, np.int64)
                 for name, words in sums.items()},
            )  # fmt: skip
        registers = {DynamicShift.LENGTH.name: jnp.asarray(right(given.shift, kind))}
        emitted: list[Any] = []
        for sections, part in _parts(given):
            code = replace(self.code, sections=sections, resumes=given.resumes, adds=given.adds)
            own = {name: rows[part] for name, rows in frames.items()}
            memory, found = compile_sweep(code)(
                self.runner.numbers, self.fixed, registers, memory, own
            )
            self.doubtful = self.doubtful | parted(_doubtful(program, memory)).astype(bool)
            if self.code.watched:
                self.seen += zip(sections, found, strict=True)
            emitted += [
                values.reshape(-1, *values.shape[-2:])
                for section, one in zip(sections, found, strict=True)
                for values in one[: len(program.body(section).emits)]
            ]
        self.memory = memory
        rows = np.concatenate(emitted)[given.kept] if given.rows else None
        return Swept(
            None if rows is None else parted(rows.swapaxes(0, 1)),
            {name: parted(memory.states[name]) for name in given.states},
            {name: parted(memory.accumulators[name]) for name in given.sums},
            parted(memory.flags),
        )

    def watched(self) -> Trace:
        """All that a watched level of one sequence has seen."""
        for section, found in self.seen:
            body = self.runner.artifact.program.body(section)
            values = {i.name: np.asarray(v) for i, v in zip(
                body.instrs, found[len(body.emits) :], strict=True)}  # fmt: skip
            steps = len(next(iter(values.values()), ())) if section in STEPS else 1
            for step in range(steps):
                for i in body.instrs:
                    value = values[i.name][step] if section in STEPS else values[i.name]
                    yield (section, step, i.name), value.reshape(i.type.shape or (1,)).astype(int)


def _parts(given: Sweep) -> Iterator[tuple[Sections, slice]]:
    """What is computed by one call each: sections, and which of the frames.

    A sweep that goes on may have any length, and JAX compiles for every one: so it is cut into
    powers of two, of which there are few.
    """
    if not given.resumes:
        yield given.sections, slice(None)
        return
    start, length = 0, given.length
    while length:
        size = 1 << length.bit_length() - 1
        yield (Section.FORWARD_STEP,), slice(start, start + size)
        start, length = start + size, length - size
    yield given.sections[1:], slice(0, 0)


def _doubtful(program: Program, memory: Memory) -> np.ndarray:
    """Sequences whose accumulators are not proven to have stayed in range all the way.

    Sums are made a chunk at a time, so only a bound on their magnitude is known.
    """
    most = limits(program).items()
    return np.any([np.asarray(memory.reached[n]) >= limit for n, limit in most], axis=0)


def limits(program: Program) -> dict[str, float]:
    """Below which bound a sum is proven to have stayed in range: a hair less than the range, for
    the bound's own rounding."""
    return {a.name: 2.0 ** (a.type.q.width - 1) * (1 - 2.0**-30) for a in program.accumulators}


def _merged(result: Any, some: Any, which: np.ndarray) -> Any:
    """A RunResult, or any part of it, with `some` in the place of the sequences `which`."""
    if isinstance(result, RunResult):
        names = RunResult.__dataclass_fields__
        return RunResult(*(_merged(getattr(result, n), getattr(some, n), which) for n in names))
    if isinstance(result, Mapping):
        return {name: _merged(value, some[name], which) for name, value in result.items()}
    if result.shape[: which.ndim] != which.shape:  # an exponent where there was no echo
        return result
    whole = np.array(result)
    whole[which] = some
    return whole
