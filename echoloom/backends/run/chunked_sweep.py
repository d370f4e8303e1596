"""A sweep over a batch, a chunk of steps at a time: one jitted function per program structure.

Within a chunk only recurrences run step by step (`ir.distribute`); everything else is done
for all steps and sequences of the chunk at once. Arrays are [steps, sequences, size].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp

from echoloom.backends.run.jax_stages import Stepping, Stretch, Values
from echoloom.backends.run.jax_words import (
    EXACT_BITS,
    JAX_RULES,
    TOTALS,
    Kind,
    Numbers,
    Step,
    wrapped,
)
from echoloom.ir.distribute import only_summed
from echoloom.ir.flags import Flag
from echoloom.ir.ops import Read
from echoloom.ir.program import Body, Instr, Program
from echoloom.ir.sections import STEPS, Section

CHUNK = 128  # steps: few enough that a chunk's values stay in a processor's cache


@dataclass(frozen=True)
class Memory:
    """What lives between sections, for every sequence of a batch; a JAX pytree.

    `states` are words, `accumulators` int64. `reached` bounds the magnitude that every accumulator
    may have had on its way.
    """

    states: Values
    accumulators: Values
    reached: Values
    flags: jax.Array

    def with_words(self, states: Mapping[str, Any], sums: Mapping[str, Any]) -> Memory:
        """With other words [batch, ...] of some states and sums, which are exact."""
        sums = {name: jnp.asarray(words, jnp.int64) for name, words in sums.items()}
        reached = {name: _largest(words, 1) for name, words in sums.items()}
        return replace(
            self,
            states={**self.states, **{n: jnp.asarray(w) for n, w in states.items()}},
            accumulators={**self.accumulators, **sums},
            reached={**self.reached, **reached},
        )


jax.tree_util.register_dataclass(Memory, ["states", "accumulators", "reached", "flags"], [])


def empty_memory(program: Program, batch: int, kind: Kind) -> Memory:
    """States and accumulators of zeros; the sweeps overwrite them before they read them."""
    return Memory(
        {d.name: jnp.zeros((batch, *d.type.shape), kind) for d in program.states},
        {a.name: jnp.zeros((batch, *a.type.shape), jnp.int64) for a in program.accumulators},
        {a.name: jnp.zeros(batch) for a in program.accumulators},
        jnp.zeros(batch, jnp.int64),
    )


def chunk_length(steps: int, most: int) -> int:
    """The longest chunk that divides `steps`, or the longest of all where that would be short."""
    best = next(k for k in range(min(most, steps), 0, -1) if steps % k == 0)
    return best if 4 * best >= min(most, steps) else most


@dataclass(frozen=True)
class Code:
    """What a jitted sweep depends on, beside the shapes of its arguments.

    program: a `structure`; most: steps in a chunk, at most. In chunks of one step sums wrap and
    raise their flag exactly when they leave their range; in longer ones, which only know where they
    end, `reached` has to show that they never did. watched: every value of a body is given out too.
    resumes: the step body's sums go on from what the memory has; adds: those of all bodies do.
    """

    program: Program
    sections: tuple[Section, ...]
    kind: Kind
    most: int = CHUNK
    watched: bool = False
    resumes: bool = False
    adds: bool = False


@lru_cache(maxsize=32)
def compile_sweep(code: Code) -> Callable[..., Any]:
    """A jitted (numbers, fixed, registers, memory, frames) -> (memory, given out by section).

    `fixed` holds the words of coefficients, and runtime words [batch, size]; `frames` the frame
    inputs [T, batch, size] in the order the sweep consumes them. Given out is what a body emits,
    of a step body [T, batch, size], of a watched one its instructions' values after that.
    """

    def run(
        numbers: Numbers, fixed: Values, registers: Values, memory: Memory, frames: Values
    ) -> tuple[Memory, list[Any]]:
        emitted: list[Any] = []
        for section in code.sections:
            own = _Section(code, code.program.body(section), numbers, fixed, registers)
            memory, out = own.all_steps(memory, frames) if section in STEPS else own.once(memory)
            emitted.append(out)
        return memory, emitted

    return jax.jit(run)


class _Section:
    """One body with everything that does not change while it runs."""

    def __init__(self, code: Code, body: Body, numbers: Numbers, fixed: Values, registers: Values):
        self.code, self.body, self.fixed, self.registers = code, body, fixed, registers
        self.numbers, self.sums = numbers.get(body.section.name, {}), numbers[TOTALS]
        self.types = code.program.types(body)
        self.given_out = (*body.emits, *(i.name for i in body.instrs if code.watched))
        self.only_summed = {} if code.watched else only_summed(body)

    @property
    def stepping(self) -> Stepping:
        return Stepping(
            self.body, self.types, JAX_RULES, self.numbers, self.registers, self.fixed,
            self.given_out, self.only_summed,
        )  # fmt: skip

    def once(self, memory: Memory) -> tuple[Memory, Any]:
        """A body that runs once: (memory, given out)."""
        if not self.code.adds:
            memory = self._from_zero(memory)
        step = Step(self.numbers, self.registers)
        env = {**self.fixed, **memory.states}
        for instr in self.body.instrs:
            if isinstance(instr.attr, Read):
                words = memory.accumulators[instr.attr.accumulator]
                env[instr.name] = words.astype(self.code.kind)
            else:
                env[instr.name] = JAX_RULES[instr.op](step, instr, [env[a] for a in instr.args])
        accumulators, reached = dict(memory.accumulators), dict(memory.reached)
        flags = _with_raised(memory.flags, step.raised)
        for name, value in self.body.accumulates:
            part = jnp.broadcast_to(env[value], accumulators[name].shape).astype(jnp.int64)
            accumulators[name], reached[name], flags = self.added(
                name, memory, flags, part, _largest(part, 1)
            )
        updates = self.stepping.updates
        states = {
            name: jnp.broadcast_to(env[updates[name]], old.shape) if name in updates else old
            for name, old in memory.states.items()
        }
        return Memory(states, accumulators, reached, flags), [env[v] for v in self.given_out]

    def added(
        self, name: str, memory: Memory, flags: jax.Array, part: jax.Array, bound: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """A sum with `part` added, which is up to `bound` on its way; what it may have reached so
        far; and the flags."""
        old, own = memory.accumulators[name], self.sums[name]
        total = old + part
        outside = (total >= own["end"]) | (total < -own["end"])
        where = outside.reshape(len(flags), -1)
        flags = _with_raised(flags, {(Flag.ACCUMULATOR, where.shape[-1]): where})
        reached = jnp.maximum(memory.reached[name], _largest(old, 1) + bound)
        return wrapped(total, own), reached, flags

    def all_steps(self, memory: Memory, frames: Values) -> tuple[Memory, Any]:
        """A step body over all steps of the frames: (memory, given out [T, batch, size])."""
        if not self.code.resumes and not self.code.adds:
            memory = self._from_zero(memory)
        steps = next(iter(frames.values())).shape[0]
        length = chunk_length(steps, self.code.most)
        whole = steps // length * length
        parts: list[Any] = []
        if whole > length:
            stacked = {n: v[:whole].reshape(-1, length, *v.shape[1:]) for n, v in frames.items()}
            memory, out = jax.lax.scan(self.chunk, memory, stacked)
            parts.append([v.reshape(-1, *v.shape[2:]) for v in out])
        else:
            memory, out = self.chunk(memory, {n: v[:whole] for n, v in frames.items()})
            parts.append(out)
        if steps > whole:
            memory, out = self.chunk(memory, {n: v[whole:] for n, v in frames.items()})
            parts.append(out)
        return memory, [jnp.concatenate(series) for series in zip(*parts, strict=True)]

    def _from_zero(self, memory: Memory) -> Memory:
        """The memory with the accumulators that this body adds to at zero."""
        own = {name for name, _ in self.body.accumulates}

        def zeroed(values: Values) -> Values:
            return {n: jnp.zeros_like(v) if n in own else v for n, v in values.items()}

        return replace(
            memory, accumulators=zeroed(memory.accumulators), reached=zeroed(memory.reached)
        )

    def chunk(self, memory: Memory, frames: Values) -> tuple[Memory, list[jax.Array]]:
        """The steps of one chunk: frames [length, batch, size]."""
        return _Chunk(self, memory, frames).result()


class _Chunk:
    """One chunk of words: what becomes of the memory."""

    def __init__(self, section: _Section, memory: Memory, frames: Values):
        self.section, self.memory = section, memory
        self.stretch = Stretch(section.stepping, memory.states, frames)

    def result(self) -> tuple[Memory, list[jax.Array]]:
        """The memory after the chunk, and what it gives out [length, batch, size]."""
        accumulators, reached = dict(self.memory.accumulators), dict(self.memory.reached)
        flags = self.memory.flags
        for raised in self.stretch.raised:
            flags = _with_raised(flags, raised)
        for name, value in self.section.body.accumulates:
            part, bound = self._total(value)
            accumulators[name], reached[name], flags = self.section.added(
                name, self.memory, flags, part, bound
            )
        given_out = [self.stretch.series(v) for v in self.section.given_out]
        return Memory(self.stretch.final(), accumulators, reached, flags), given_out

    def _total(self, value: str) -> tuple[jax.Array, jax.Array]:
        """The sum over the chunk's steps, and a bound on the magnitude of any part of it."""
        outer = self.section.only_summed.get(value)
        if outer is not None:
            return self._outer_total(outer)
        terms = self.stretch.series(value)
        bound = _largest(terms, 2).sum(0)
        if self.stretch.length << (self.section.types[value].q.width - 1) > 1 << EXACT_BITS:
            terms = terms.astype(jnp.int64)
        return terms.sum(0).astype(jnp.int64), bound

    def _outer_total(self, instr: Instr) -> tuple[jax.Array, jax.Array]:
        """A sum of outer products is a matrix product over the steps."""
        left, right = (self.stretch.series(a) for a in instr.args)
        bound = (_largest(left, 2) * _largest(right, 2)).sum(0)
        bits = sum(self.section.types[a].q.width - 1 for a in instr.args)
        if self.stretch.length << bits > 1 << EXACT_BITS:
            left, right = left.astype(jnp.int64), right.astype(jnp.int64)
        total = jax.lax.dot_general(left, right, (((0,), (0,)), ((1,), (1,))))
        return total.astype(jnp.int64), bound


def _largest(value: jax.Array, leading: int) -> jax.Array:
    """Largest magnitude over all but the leading axes, as float64."""
    return jnp.abs(value).max(tuple(range(leading, value.ndim))).astype(jnp.float64)


def _with_raised(flags: jax.Array, raised: Mapping[tuple[Flag, int], jax.Array]) -> jax.Array:
    """Flags [batch] with those raised at [size], [batch, size] or [steps, batch, size]."""
    for (flag, _), where in raised.items():
        hit = where.any(-1)
        if hit.ndim == 2:
            hit = hit.any(0)
        flags = flags | jnp.where(hit, int(flag), 0)
    return flags
