"""Quantised programs at work: exact but where they say so, and back to where they began."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import given, settings
from ir_models import Built, Sizes, build, sizes

from echoloom.backends.run.run_numpy import NumpyMachine
from echoloom.ir.flags import Flag
from echoloom.ir.host import Host
from echoloom.ir.interpret import Machine
from echoloom.ir.ops import Op
from echoloom.ir.real import REAL_RULES
from echoloom.ir.sections import Section

UNITS = ("linear", "quartic", "massive")


class Inspector:
    """Computes every exact instruction of an integer run again, in rational numbers.

    Also that each word fits its declared width. Products with a streamed input are not seen.
    """

    def __init__(self, built: Built):
        self.machine = NumpyMachine(built.quantised, built.words, built.tables, self)
        self.instrs = {
            body.section: {i.name: i for i in body.instrs} for body in built.quantised.bodies
        }
        self.local: dict[str, Any] = {}
        self.at: tuple[Section, int] | None = None
        self.checked = 0

    def __call__(self, section: Section, iteration: int, name: str, value: Any) -> None:
        if self.at != (section, iteration):
            self.at, self.local = (section, iteration), {}
        self.local[name] = value
        instr = self.instrs[section][name]
        assert np.abs(value).max() < 1 << (instr.type.q.width - 1), name
        known = {**self.machine.values, **self.local}
        if instr.op in EXACT and all(a in known for a in instr.args):
            operands = [self.real(section, a, known[a]) for a in instr.args]
            expected = EXACT[instr.op](instr, *operands)
            assert (expected == self.real(section, name, value)).all(), name
            self.checked += 1

    def real(self, section: Section, name: str, words: np.ndarray) -> np.ndarray:
        q = self.machine.types[section][name].q
        units = np.vectorize(lambda f: Fraction(2) ** -int(f), otypes=[object])(q.grid)
        whole = np.vectorize(Fraction, otypes=[object])(words.astype(object))
        return whole * units


EXACT: dict[Op, Callable[..., Any]] = {
    Op.ADD: lambda i, a, b: a + b,
    Op.SUB: lambda i, a, b: a - b,
    Op.MUL: lambda i, a, b: a * b,
    Op.OUTER: lambda i, a, b: a[:, None] * b[None, :],
    Op.MATVEC: lambda i, a, b: a @ b,
    Op.TMATVEC: lambda i, a, b: a.T @ b,
    Op.SCALE: lambda i, a: a * Fraction(i.attr.factor),
}


def run(built: Built, machine: Machine) -> None:
    """Forward and echo of one sequence, whatever the machine computes with."""
    formats = {d.name: d.type.q for b in built.quantised.bodies for d in b.frame}
    formats |= {d.name: d.type.q for d in built.quantised.runtime}

    def words(name: str, values: Any) -> Any:
        return np.rint(np.asarray(values) * 2.0 ** formats[name].grid).astype(np.int64)

    integer = isinstance(machine, NumpyMachine)
    host = Host(machine.program, 1, words if integer else lambda _, v: v)
    forward = host.forward(built.samples[0])
    outputs = np.asarray(host.outputs(machine.sweep(forward)), float)
    if built.sizes.task == "classification":
        machine.sweep(host.echo(forward, outputs * 2.0**-20, np.array(0)))
    else:
        targets = np.full(outputs.shape, 0.25)
        machine.sweep(host.echo(forward, targets + 0.5, targets))


@given(sizes(UNITS))
@settings(max_examples=4, deadline=None)
def test_exact_instructions_are_exact_in_a_run(s: Sizes) -> None:
    built = build(s)
    inspector = Inspector(built)
    run(built, inspector.machine)
    assert inspector.checked > 300
    assert not inspector.machine.flags & (Flag.STATE | Flag.ACCUMULATOR)


@given(sizes(UNITS))
@settings(max_examples=4, deadline=None)
def test_without_its_roundings_a_quantised_program_is_the_real_one(s: Sizes) -> None:
    """Bit for bit in float64: quantising adds requants and changes nothing else."""
    built = build(s)
    machines = []
    for program in (built.held, built.quantised):
        machine = Machine(program, REAL_RULES, dict(built.values))
        run(built, machine)
        machines.append(machine)
    real, quantised = machines
    for name, value in real.accumulators.items():
        assert np.array_equal(value, quantised.accumulators[name]), name
    for d in built.held.states:
        assert np.array_equal(real.values[d.name], quantised.values[d.name]), d.name


@given(sizes(UNITS))
@settings(max_examples=6, deadline=None)
def test_the_free_copy_comes_back_to_rest(s: Sizes) -> None:
    built = build(s)
    machine = NumpyMachine(built.quantised, built.words, built.tables)
    run(built, machine)
    for block in range(s.blocks):
        for letter in "qp":
            assert not machine.values[f"b{block}.free.{letter}"].any()


def test_a_momentum_that_has_no_negative_is_flagged() -> None:
    """Turning the most negative word round wraps, on every level alike."""
    built = build(Sizes())
    machine = NumpyMachine(built.quantised, built.words, built.tables)
    run(built, machine)
    width = machine.types[Section.ECHO_STEP]["b0.free.p"].q.width
    lowest = -(1 << (width - 1))
    machine.values["b0.free.p"] = np.full_like(machine.values["b0.free.p"], lowest)
    machine.flags = np.zeros((), np.int64)
    machine.run(Section.ECHO_PROLOGUE)
    assert (machine.values["b0.plus.p"] == lowest).all()
    assert machine.flags == Flag.STATE
