"""Runs a program, whatever its values are: the order of things, without the arithmetic.

An interpreter is a table with one rule per Op. Values carry leading batch axes, so a rule works on
the last axis (vectors) or the last two (matrices); a scalar is a vector of length one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from echoloom.ir.ops import DynamicShift, Op, Read
from echoloom.ir.program import Body, Instr, Program
from echoloom.ir.sections import Section

Value = Any
Rule = Callable[["Machine", Instr, list[Value]], Value]
Observer = Callable[[Section, int, str, Value], None]


@dataclass
class Machine:
    """State of one run: coefficient, runtime and state values, accumulators, shift registers."""

    program: Program
    rules: Mapping[Op, Rule]
    values: dict[str, Value]
    accumulators: dict[str, Value] = field(default_factory=dict)
    shifts: dict[DynamicShift, int] = field(default_factory=dict)
    emitted: list[Value] = field(default_factory=list)
    section: Section | None = None  # of the body that runs
    observer: Observer | None = None
    add: Callable[[Machine, str, Value, Value], Value] = lambda m, name, old, new: old + new

    def run(self, section: Section, frames: Iterable[Mapping[str, Value]] = ({},)) -> None:
        """Run a body once per frame; outputs are appended to `emitted`."""
        body = self.program.body(section)
        self.section = section
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
            new = local[value]
            self.accumulators[name] = (
                new if iteration == 0 else self.add(self, name, self.accumulators[name], new)
            )
        self.emitted.extend(local[value] for value in body.emits)
        self.values.update({state: local[value] for state, value in body.updates})
