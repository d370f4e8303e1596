"""Real programs under JAX, for sweeps that are too long for an interpreter: a machine that gives
chunks of steps to one compiled function, and all else to NumPy.

What is compiled depends on the program's code and the chunk's shape alone: coefficients, constants
and factors are arguments, so other nudges and other weights compile nothing. Its numbers are
NumPy's but for the last bits, which XLA rounds in an order of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from echoloom.backends.run.chunked_sweep import chunk_length
from echoloom.backends.run.integers import Floats
from echoloom.backends.run.jax_stages import Stepping, Stretch, Values
from echoloom.backends.run.jax_words import JAX_RULES, Rule, Step
from echoloom.frontend.energy.vocabulary import FUNCTIONS
from echoloom.ir.distribute import only_summed, stages
from echoloom.ir.host import Sweep, Swept
from echoloom.ir.interpret import Value
from echoloom.ir.ops import Constant, Op, Scale, Shift, Table
from echoloom.ir.passes.recorder import Chunk, Recorder
from echoloom.ir.program import Body, Instr, Program, State
from echoloom.ir.real import REAL_RULES
from echoloom.ir.sections import STEPS, Section
from echoloom.ir.staged import StagedMachine

MOST_STEPS = 128  # in a chunk
MOST_NUMBERS = 1 << 25  # of all values of a chunk


def _constant(s: Step, i: Instr, args: list[jax.Array]) -> jax.Array:
    return jnp.full(i.type.shape or (1,), s.numbers[i.name]["number"])


def _scale(s: Step, i: Instr, args: list[jax.Array]) -> jax.Array:
    return args[0] * s.numbers[i.name]["number"]


def _table(s: Step, i: Instr, args: list[jax.Array]) -> jax.Array:
    assert isinstance(i.attr, Table)
    return FUNCTIONS[i.attr.function](args[0])


def _shift(s: Step, i: Instr, args: list[jax.Array]) -> jax.Array:
    assert isinstance(i.attr, Shift)
    return args[0] * s.registers[i.attr.register.name]


JAX_REAL_RULES: Mapping[Op, Rule] = {
    **{op: JAX_RULES[op] for op in (Op.ADD, Op.SUB, Op.MUL, Op.MATVEC, Op.TMATVEC, Op.OUTER)},
    Op.CONSTANT: _constant,
    Op.SCALE: _scale,
    Op.TABLE: _table,
    Op.SHIFT: _shift,
}


def _code(program: Program, body: Body) -> Program:
    """What a compiled chunk of this body depends on: the program without its numbers."""

    def plain(i: Instr) -> Instr:
        if isinstance(i.attr, Constant):
            return replace(i, attr=Constant(0.0))
        return replace(i, attr=Scale(1.0)) if isinstance(i.attr, Scale) else i

    sums = tuple(replace(a, scale=1.0, divisor="", target="") for a in program.accumulators)
    own = replace(body, instrs=tuple(map(plain, body.instrs)))
    return replace(program, accumulators=sums, bodies=(own,))


def _numbers(body: Body) -> dict[str, dict[str, float]]:
    """What `_code` leaves out, by instruction."""
    scales = {i.name: i.attr.factor for i in body.instrs if isinstance(i.attr, Scale)}
    constants = {i.name: i.attr.value for i in body.instrs if isinstance(i.attr, Constant)}
    return {name: {"number": number} for name, number in {**scales, **constants}.items()}


@dataclass(frozen=True)
class Asked:
    """Of which values a chunk tells what: of `values` the largest magnitude and the sum of squares,
    of `steps` the magnitude at every step, of `pairs` the largest distance."""

    values: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()


@lru_cache(maxsize=32)
def compile_chunk(code: Program, asked: Asked) -> Callable[..., Any]:
    """A jitted (numbers, registers, fixed, states, frames) -> (states, sums, emitted, seen): sums
    of the chunk's steps, emitted [steps, batch, size] in the body's order."""
    (body,) = code.bodies
    summed = only_summed(body)
    pairs = (n for pair in asked.pairs for n in pair)
    given_out = (*body.emits, *asked.values, *asked.steps, *pairs)

    @jax.jit
    def chunk(
        numbers: Any, registers: Values, fixed: Values, states: Values, frames: Values
    ) -> Any:
        stepping = Stepping(
            body, code.types(body), JAX_REAL_RULES, numbers, registers, fixed, given_out, summed
        )
        run = Stretch(stepping, states, frames)
        sums = {name: _total(run, summed, value) for name, value in body.accumulates}
        emitted = [run.series(v) for v in body.emits]
        return run.final(), sums, emitted, _seen(run, asked, summed)

    return chunk


def _total(run: Stretch, summed: Mapping[str, Instr], value: str) -> jax.Array:
    if value not in summed:
        return run.series(value).sum(0)
    left, right = (run.series(a) for a in summed[value].args)
    return jax.lax.dot_general(left, right, (((0,), (0,)), ((1,), (1,))))


def _seen(run: Stretch, asked: Asked, summed: Mapping[str, Instr]) -> Any:
    def of(name: str) -> jax.Array:
        if name not in summed:
            return run.series(name)
        left, right = (jnp.abs(run.series(a)).max(-1, keepdims=True) for a in summed[name].args)
        return left * right

    every = [of(name) for name in asked.values]
    return {
        "largest": _stacked([jnp.abs(v).max() for v in every]),
        "squares": _stacked([jnp.square(v).sum() for v in every]),
        "steps": _stacked([jnp.abs(run.series(n)).max((1, 2)) for n in asked.steps]),
        "pairs": _stacked([jnp.abs(run.series(a) - run.series(b)).max() for a, b in asked.pairs]),
    }


def _stacked(parts: list[jax.Array]) -> jax.Array:
    """In one array: every one that leaves JAX costs as long as some steps take."""
    return jnp.stack(parts) if parts else jnp.zeros(0)


@dataclass
class JaxRealMachine(StagedMachine):
    """A machine of real numbers for sweeps of sequences, one axis of them. Chunks of `most` steps,
    or as many as divide the sweep and fit MOST_NUMBERS, go through JAX, what remains through NumPy.

    A chunk in which a state runs away is run again by NumPy, whose recorder says where.
    """

    recorder: Recorder | None = None
    most: int = MOST_STEPS
    together: int = field(default=0, init=False)  # steps of a chunk of the present sweep

    def sweep(self, given: Sweep) -> Swept:
        self.together = steps_of_a_chunk(self.program, given, self.most)
        return super().sweep(given)

    def steps_together(self, sequences: int) -> int:
        return self.together

    @cached_property
    def _steps(self) -> dict[Section, _Step]:
        return {s: _Step.of(self.program, self.program.body(s), self.recorder) for s in STEPS}

    def _chunk(self, body: Body, start: int, frames: list[Mapping[str, Value]]) -> None:
        if len(frames) < self.together or not self._by_jax(body, start, frames):
            super()._chunk(body, start, frames)

    def _by_jax(self, body: Body, start: int, frames: list[Mapping[str, Value]]) -> bool:
        """The chunk's steps. False, and nothing has changed, where a state leaves."""
        step = self._steps[body.section]
        streamed = {n: np.stack([f[n] for f in frames]) for n in frames[0]}
        sequences = next(iter(streamed.values())).shape[1]
        registers = {r.name: np.float64(2.0**-by) for r, by in self.shifts.items()}
        fixed = {n: self.values[n] for n in step.fixed}
        states = {
            d.name: np.broadcast_to(
                self.values.get(d.name, np.zeros(1)), (sequences, *(d.type.shape or (1,)))
            )
            for d in step.states
        }
        with jax.enable_x64(True):
            states, sums, emitted, seen = jax.device_get(
                step.compiled(step.numbers, registers, fixed, states, streamed)
            )
        saw = step.chunk(start, len(frames), sequences, seen)
        if self.recorder is not None and not self.recorder.chunk(saw):
            return False
        self.values.update({s: states[s] for s, _ in body.updates})
        for name, total in sums.items():
            self.sum_up(name, total)
        self.emitted.extend(rows[k] for k in range(len(frames)) for rows in emitted)
        return True


def steps_of_a_chunk(program: Program, given: Sweep, most: int) -> int:
    """At most `most`, as many as divide the sweep and fit MOST_NUMBERS."""
    bodies = (program.body(section) for section in given.sections if section in STEPS)
    sizes = sum(i.type.size for b in bodies for i in b.instrs if i.op is not Op.OUTER)
    fitting = MOST_NUMBERS // (sizes * math.prod(given.batch))
    return chunk_length(given.length, max(1, min(most, fitting)))


@dataclass(frozen=True, eq=False)
class _Step:
    """A step body, compiled: the values that it reads, its numbers, and what is asked of it."""

    body: Body
    compiled: Callable[..., Any]
    numbers: dict[str, dict[str, float]]
    fixed: tuple[str, ...]
    states: tuple[State, ...]
    asked: Asked
    sizes: Mapping[str, int]  # how many numbers a step of a sequence has of a value that is seen
    blocks: tuple[int, ...]  # of the pairs asked for

    @classmethod
    def of(cls, program: Program, body: Body, recorder: Recorder | None) -> _Step:
        read = {a for i in body.instrs for a in i.args}
        read |= {v for _, v in (*body.updates, *body.accumulates)} | set(body.emits)
        kept = {d.name for d in program.states}
        moved = (read | {s for s, _ in body.updates}) & kept
        own = {i.name for i in body.instrs} | {d.name for d in body.frame}
        summed, pairs, asked = only_summed(body), dict[int, tuple[str, str]](), Asked()
        if recorder is not None:
            recurrent = [s for stage in stages(body) for s in stage.states]
            moving = {i.name for stage in stages(body) for i in stage.recurrent}
            pairs = {b: p for b, p in recorder.pairs(body.section).items() if p[0] in moving}
            steps = [v for s, v in recorder.states if s is body.section and v in moving]
            every = (*recurrent, *(i.name for i in body.instrs))
            asked = Asked(every, tuple(steps), tuple(pairs.values()))
        types = program.types(body)
        return cls(
            body,
            compile_chunk(_code(program, body), asked),
            _numbers(body),
            tuple(sorted(read - own - kept)),
            tuple(d for d in program.states if d.name in moved),
            asked,
            {n: 1 if n in summed else types[n].size for n in asked.values},
            tuple(pairs),
        )

    def chunk(self, start: int, steps: int, sequences: int, seen: Any) -> Chunk:
        """What a recorder is told of a chunk."""
        rows = steps * sequences
        names = self.asked.values
        squares = zip(names, seen["squares"].tolist(), strict=True)
        return Chunk(
            self.body.section,
            start,
            steps,
            dict(zip(names, seen["largest"].tolist(), strict=True)),
            {n: (total, rows * self.sizes[n]) for n, total in squares},
            {n: sizes.tolist() for n, sizes in zip(self.asked.steps, seen["steps"], strict=True)},
            {b: float(apart) for b, apart in zip(self.blocks, seen["pairs"], strict=True)},
        )


def compiled(
    program: Program, coefficients: Mapping[str, Floats], recorder: Recorder
) -> JaxRealMachine:
    """A machine for `ir.passes.calibrate.measure`."""
    return JaxRealMachine(
        program, REAL_RULES, dict(coefficients), observer=recorder.value,
        recurrence_observer=recorder.recurrence, recorder=recorder,
    )  # fmt: skip
