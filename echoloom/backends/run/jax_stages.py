"""A chunk of steps under JAX, whatever its values are: recurrences run step by step, everything
else is done for all steps and sequences of the chunk at once (`ir.distribute`).

Arrays are [steps, sequences, size].
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp

from echoloom.backends.run.jax_words import Rule, Step, raises
from echoloom.ir.distribute import Stage, stages
from echoloom.ir.flags import Flag
from echoloom.ir.formats import Type
from echoloom.ir.ops import Op
from echoloom.ir.program import Body

Values = dict[str, jax.Array]


@dataclass(frozen=True, eq=False)
class Stepping:
    """A step body with everything that does not change while it runs.

    given_out: values of every step that somebody asks for; skipped: instructions that nobody does.
    """

    body: Body
    types: Mapping[str, Type]
    rules: Mapping[Op, Rule]
    numbers: Mapping[str, Mapping[str, Any]]  # what `rules` know of an instruction, by its name
    registers: Mapping[str, jax.Array]
    fixed: Values
    given_out: tuple[str, ...]
    skipped: Collection[str] = ()

    @cached_property
    def updates(self) -> dict[str, str]:
        """By state that a step changes: the value that it takes."""
        return {state: value for state, value in self.body.updates if state != value}

    def step(self, raised: Mapping[tuple[Flag, int], jax.Array]) -> Step:
        return Step(self.numbers, self.registers, dict(raised))


class Stretch:
    """Values of one chunk, from states [sequences, size] and frames [steps, sequences, size]. Those
    in `timed` have an axis of steps, the others hold for all; `raised` says where, by flag."""

    def __init__(self, stepping: Stepping, states: Values, frames: Values):
        self.stepping, self.states = stepping, states
        self.length, self.count = next(iter(frames.values())).shape[:2]
        self.env: Values = {**stepping.fixed, **states, **frames}
        self.timed = set(frames)
        self.step = stepping.step({})
        self.raised: list[Mapping[tuple[Flag, int], jax.Array]] = []
        self.last: Values = {}
        for stage in stages(stepping.body):
            self._recurrence(stage)
            self._parallel(stage)
        self.raised.append(self.step.raised)

    def _recurrence(self, stage: Stage) -> None:
        """Run a stage's recurrence step by step, and keep what it goes through."""
        if not stage.states:
            return
        stepping = self.stepping
        own = {i.name for i in stage.recurrent}
        needed = {a for i in stage.recurrent for a in i.args}
        needed |= {stepping.updates[s] for s in stage.states}
        streamed = {n: self.env[n] for n in needed & self.timed}
        seen = [n for n in (*stage.states, *own) if self._leaves(n, stage, own)]
        blank = {
            (flag, i.type.size): jnp.zeros((self.count, i.type.size), bool)
            for i in stage.recurrent
            if (flag := raises(i)) is not None
        }

        def advance(carry: Any, at: Values) -> Any:
            states, raised = carry
            step = stepping.step(raised)
            local = {**self.env, **at, **states}
            for i in stage.recurrent:
                local[i.name] = stepping.rules[i.op](step, i, [local[a] for a in i.args])
            states = {s: local[stepping.updates[s]] for s in stage.states}
            return (states, step.raised), {n: local[n] for n in seen}

        start = {s: self.states[s] for s in stage.states}
        (states, raised), series = jax.lax.scan(advance, (start, blank), streamed, self.length)
        self.last.update(states)
        self.raised.append(raised)
        self.env.update(series)
        self.timed.update(seen)

    def _leaves(self, name: str, stage: Stage, own: set[str]) -> bool:
        """Whether anything but the recurrence itself uses a value of its steps."""
        stepping = self.stepping
        if name in stepping.given_out:
            return True
        used = {a for i in stepping.body.instrs if i.name not in own for a in i.args}
        used |= {v for s, v in stepping.updates.items() if s not in stage.states}
        return name in used or name in dict(stepping.body.accumulates).values()

    def _parallel(self, stage: Stage) -> None:
        """Compute for all steps at once what needs no recurrence but those before."""
        for instr in stage.parallel:
            if instr.name in self.stepping.skipped:
                continue
            args = [self.env[a] for a in instr.args]
            self.env[instr.name] = self.stepping.rules[instr.op](self.step, instr, args)
            if not self.timed.isdisjoint(instr.args):
                self.timed.add(instr.name)

    def final(self) -> Values:
        """The states after the chunk."""
        states = dict(self.states)
        for state, value in self.stepping.updates.items():
            last = self.last.get(state)
            if last is None:
                last = self.env[value][-1] if value in self.timed else self.env[value]
            states[state] = jnp.broadcast_to(last, states[state].shape)
        return states

    def series(self, name: str) -> jax.Array:
        """A value with all its axes: [length, batch, ...]."""
        shape = self.stepping.types[name].shape or (1,)
        return jnp.broadcast_to(self.env[name], (self.length, self.count, *shape))
