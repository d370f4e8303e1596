"""Runs a program, whatever its values are: the order of things, without the arithmetic.

An interpreter is a table with one rule per Op. Values carry leading batch axes, so a rule works on
the last axis (vectors) or the last two (matrices); a scalar is a vector of length one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echoloom.ir.formats import Type
from echoloom.ir.host import Sweep, Swept
from echoloom.ir.ops import DynamicShift, Op, Read
from echoloom.ir.program import Body, Instr, Program
from echoloom.ir.sections import STEPS, Section

Value = Any
Rule = Callable[["Machine", Instr, list[Value]], Value]
Observer = Callable[[Section, int, str, Value], None]


@dataclass
class Machine:
    """State of one run: coefficient, runtime and state values, accumulators, shift registers, and
    the Flag bits that a sweep raised, one word per sequence (real numbers raise none)."""

    program: Program
    rules: Mapping[Op, Rule]
    values: dict[str, Value]
    accumulators: dict[str, Value] = field(default_factory=dict)
    shifts: dict[DynamicShift, int] = field(default_factory=dict)
    emitted: list[Value] = field(default_factory=list)
    section: Section | None = None  # of the body that runs
    observer: Observer | None = None
    add: Callable[[Machine, str, Value, Value], Value] = lambda m, name, old, new: old + new
    flags: NDArray[np.int64] = field(default_factory=lambda: np.zeros((), np.int64))

    @cached_property
    def types(self) -> dict[Section, dict[str, Type]]:
        """Of every name visible in a body."""
        return {body.section: self.program.types(body) for body in self.program.bodies}

    def type(self, name: str) -> Type:
        """Of an operand of the running body."""
        assert self.section is not None
        return self.types[self.section][name]

    def sweep(self, given: Sweep) -> Swept:
        """Run the bodies of a sweep: an `ir.host.Level`."""
        batch = given.batch
        self.emitted, self.flags = [], np.zeros(batch, np.int64)
        self.shifts[DynamicShift.LENGTH] = given.shift
        self.values.update(given.runtime)
        if given.carried is not None:
            self.values.update(given.carried.states)
            self.accumulators.update(given.carried.sums)
        for section in given.sections:
            stepping = section in STEPS
            frames = given.steps() if stepping else ({},)
            self.run(section, frames, resumes=given.adds or (given.resumes and stepping))
            if section is Section.FORWARD_PROLOGUE:
                # Each sequence has states of its own, also where no input ever reaches them.
                for state, _ in self.program.body(section).updates:
                    self.values[state] = _batched(self.values[state], batch)
        rows = self.emitted[given.kept]
        return Swept(
            np.stack(rows, axis=-2) if given.rows else None,
            {name: _batched(self.values[name], batch) for name in given.states},
            {name: self.accumulators[name] for name in given.sums},
            self.flags,
        )

    def sum_up(self, name: str, new: Value) -> None:
        """Add to an accumulator, which begins at zero."""
        self.accumulators[name] = self.add(self, name, self.accumulators.get(name, 0), new)

    def clear(self, section: Section) -> None:
        """The sums that a body adds to begin at zero."""
        for name, _ in self.program.body(section).accumulates:
            self.accumulators.pop(name, None)

    def run(
        self,
        section: Section,
        frames: Iterable[Mapping[str, Value]] = ({},),
        *,
        resumes: bool = False,
    ) -> None:
        """Run a body once per frame; outputs are appended to `emitted`. Sums begin at
        zero, unless it `resumes`."""
        body = self.program.body(section)
        self.section = section
        if not resumes:
            self.clear(section)
        for iteration, frame in enumerate(frames):
            self._iterate(body, iteration, frame)

    def _iterate(self, body: Body, iteration: int, frame: Mapping[str, Value]) -> None:
        local = {**self.values, **frame}
        for instr in body.instrs:
            if isinstance(instr.attr, Read):
                result = self.accumulators[instr.attr.accumulator]
            else:
                result = self.rules[instr.op](self, instr, [local[a] for a in instr.args])
            local[instr.name] = result
            if self.observer is not None:
                self.observer(body.section, iteration, instr.name, result)
        for name, value in body.accumulates:
            self.sum_up(name, local[value])
        self.emitted.extend(local[value] for value in body.emits)
        self.values.update({state: local[value] for state, value in body.updates})


# What means the same of integers and of real numbers.
COMMON_RULES: Mapping[Op, Rule] = {
    Op.READ: lambda m, i, a: a[0],
    Op.MUL: lambda m, i, a: a[0] * a[1],
    Op.MATVEC: lambda m, i, a: a[1] @ a[0].T,
    Op.TMATVEC: lambda m, i, a: a[1] @ a[0],
    Op.OUTER: lambda m, i, a: a[0][..., :, None] * a[1][..., None, :],
}


def _batched(value: Value, batch: tuple[int, ...]) -> Value:
    return np.broadcast_to(value, (*batch, value.shape[-1]))
