"""Formats: what they hold, what they share, and that every loss of bits is written down."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_models import Built, Sizes, build, sizes

from echoloom.backends.run_numpy import NumpyMachine
from echoloom.ir.arithmetic import Rounding
from echoloom.ir.engine import Flag, Overflow, Section
from echoloom.ir.formats import Q, largest
from echoloom.ir.interpret import Machine
from echoloom.ir.ops import ODD_ROUNDINGS, Op, Requant, Scale
from echoloom.ir.passes.calibrate import measure
from echoloom.ir.passes.formats_plan import Widths, coefficient_format
from echoloom.ir.passes.quantise import quantise
from echoloom.ir.program import Instr, Program
from echoloom.ir.real import RULES
from echoloom.ir.session import Session, normalised_error, softmax_error
from echoloom.ir.verify import verify, verify_target

UNITS = ("linear", "quartic", "massive")
WIDTHS = st.builds(
    Widths,
    word=st.integers(22, 28),
    narrow=st.integers(14, 18),
    accumulator=st.integers(50, 54),
    margin=st.integers(0, 3),
    segment_bits=st.integers(6, 9),
)


@given(sizes(UNITS), WIDTHS)
@settings(max_examples=12, deadline=None)
def test_any_model_at_any_width_is_a_program_for_its_target(s: Sizes, widths: Widths) -> None:
    program = build(s, widths).quantised
    verify(program)
    verify_target(program, widths.narrow, widths.word, widths.accumulator)


@given(sizes(UNITS), st.integers(0, 3))
@settings(max_examples=6, deadline=None)
def test_formats_hold_the_calibrated_ranges(s: Sizes, margin: int) -> None:
    """Every stored signal and state, with `margin` bits to spare."""
    built = build(s, Widths(margin=margin))
    held = 0
    for body in built.quantised.bodies:
        for instr in body.instrs:
            if not isinstance(instr.attr, Requant):
                continue
            name = instr.name.removesuffix(".narrow")
            seen = built.ranges.values.get((body.section, name))
            if seen is not None:
                held += 1
                assert seen * 2.0**margin <= 2.0 ** (instr.type.q.width - 1 - scalar(instr))
    assert held > 20
    for d in built.quantised.states:
        q = d.type.q
        assert built.ranges.states[d.name] * 2.0**margin <= 2.0 ** (q.width - 1 - q.scalar_frac)


def scalar(instr: Instr) -> int:
    return instr.type.q.scalar_frac


@given(sizes(UNITS))
@settings(max_examples=6, deadline=None)
def test_a_units_states_share_one_format(s: Sizes) -> None:
    """q and p are added to each other, and the copies retrace one another."""
    program = build(s).quantised
    for block in range(s.blocks):
        own = {d.type.q for d in program.states if d.name.startswith(f"b{block}.")}
        assert len(own) == 1
    forward, echo = (
        {i.name: i.type for i in program.body(section).instrs if ".exact" not in i.name}
        for section in (Section.FORWARD_STEP, Section.ECHO_STEP)
    )
    shared = [n for n in forward if n in echo and f".free.{n.split('.')[-1]}" not in n]
    assert shared
    for name in shared:
        assert forward[name] == echo[name]


@given(sizes(UNITS), st.sampled_from(sorted(ODD_ROUNDINGS, key=lambda r: r.value)))
@settings(max_examples=4, deadline=None)
def test_state_sums_wrap_and_everything_else_saturates(s: Sizes, rounding: Rounding) -> None:
    program = build(s, Widths(rounding=rounding)).quantised
    states = {d.type for d in program.states if d.name.startswith("b")}
    for body in program.bodies:
        written = {v for _, v in body.updates}
        for instr in body.instrs:
            if isinstance(instr.attr, Requant):
                assert instr.attr.rounding is rounding
                if instr.attr.overflow is Overflow.WRAP:
                    assert instr.type in states
                else:
                    assert instr.name not in written or body.section not in STEPS


STEPS = (Section.FORWARD_STEP, Section.ECHO_STEP)


def test_rounding_that_is_not_odd_is_refused_by_the_verifier() -> None:
    built = build(Sizes())
    widths = Widths(rounding=Rounding.HALF_UP)
    program = quantise(built.simplified, built.values, built.ranges, widths)
    with pytest.raises(ValueError, match="rounds half_up, which is not odd"):
        verify(program)


# Coefficients


@given(
    st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=1, max_size=5),
    st.integers(4, 30),
    st.booleans(),
)
def test_coefficient_formats_are_the_finest_that_fit(
    values: list[float], width: int, per_element: bool
) -> None:
    array = np.array(values)
    q = coefficient_format(array, width, per_element)
    assert q.per_element == per_element
    fracs = np.array(q.fracs if per_element else q.fracs * len(values))
    words = np.rint(array * 2.0**fracs)
    assert np.abs(words).max() <= largest(width)
    top = max(map(abs, values))
    for group, frac in enumerate(q.fracs):
        part = np.abs(array[group] if per_element else top)
        if part == 0.0:
            assert frac == min(q.fracs), "zero takes the coarsest exponent"
        else:
            finer = np.rint(part * 2.0 ** (frac + 1)) > largest(width)
            assert finer or frac in (60, min(q.fracs) + 31)


@pytest.mark.parametrize("name", ["feedthrough", "unit.stiffness", "norm.scale"])
def test_a_vector_of_zeros_compiles(name: str) -> None:
    """A skip weight of zero, or a stiffness that relu has cut off, is a model like any other."""
    built = build(Sizes())
    folded = name.removeprefix("norm.")
    values = {n: 0.0 * v if n == f"b0.{folded}" else v for n, v in built.values.items()}
    ranges = measure(built.simplified, values, built.samples, None, 1)
    verify_target(verify(quantise(built.simplified, values, ranges, Widths())))


def test_a_vector_that_only_scales_has_one_exponent_for_each_element() -> None:
    program = build(Sizes(complex=False)).quantised
    formats = {d.name: d.type.q for d in program.coefficients}
    for name in ("b0.step", "b0.unit.stiffness", "b0.scale", "b0.feedthrough"):
        assert formats[name].per_element, name
    for name in ("encoder.weight", "encoder.bias", "b0.readout", "b0.shift"):
        assert not formats[name].per_element, name


# Nothing is lost but where a REQUANT or a TABLE says so


class Inspector:
    """Computes every exact instruction of an integer run again, in rational numbers."""

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
        if instr.op in EXACT and all(a in self.local for a in instr.args):
            operands = [self.real(section, a, self.local[a]) for a in instr.args]
            expected = EXACT[instr.op](instr, *operands)
            assert (expected == self.real(section, name, value)).all(), name
            self.checked += 1

    def real(self, section: Section, name: str, words: np.ndarray) -> np.ndarray:
        q = self.machine.types[section][name]
        shape = (-1, *(1,) * (words.ndim - 1)) if q.per_element else ()
        units = np.array([Fraction(2) ** -f for f in q.fracs], dtype=object)
        whole = np.vectorize(Fraction, otypes=[object])(words.astype(object))
        return whole * (units.reshape(shape) if q.per_element else units[0])


EXACT: dict[Op, Callable[..., Any]] = {
    Op.ADD: lambda i, a, b: a + b,
    Op.SUB: lambda i, a, b: a - b,
    Op.MUL: lambda i, a, b: a * b,
    Op.OUTER: lambda i, a, b: a[:, None] * b[None, :],
    Op.MATVEC: lambda i, a, b: a @ b,
    Op.TMATVEC: lambda i, a, b: a.T @ b,
    Op.SCALE: lambda i, a: a * Fraction(i.attr.factor),
}


def run(built: Built, machine: Machine) -> Session:
    """Forward and echo of one sequence, whatever the machine computes with."""
    formats = {d.name: d.type.q for b in built.quantised.bodies for d in b.frame}
    formats |= {d.name: d.type.q for d in built.quantised.runtime}

    def words(name: str, values: Any) -> Any:
        return np.rint(np.asarray(values) * 2.0 ** formats[name].scalar_frac).astype(np.int64)

    integer = isinstance(machine, NumpyMachine)
    session = Session(machine, 1, words if integer else lambda _, v: v)
    x = built.samples[0]
    outputs = np.asarray(session.forward(x), float)
    if built.sizes.task == "classification":
        error, _ = normalised_error(softmax_error(outputs * 2.0**-20, np.array(0)))
        session.echo_classification(x, error)
    else:
        targets = np.full(outputs.shape, 0.25)
        session.echo_regression(x, targets, targets + 0.5)
    return session


@given(sizes(UNITS))
@settings(max_examples=4, deadline=None)
def test_exact_instructions_are_exact_in_a_run(s: Sizes) -> None:
    built = build(s)
    inspector = Inspector(built)
    for d in (*built.quantised.coefficients,):
        inspector.local[d.name] = built.words[d.name]
    run(built, inspector.machine)
    assert inspector.checked > 100
    assert not inspector.machine.flags & (Flag.STATE | Flag.ACCUMULATOR)


@given(sizes(UNITS))
@settings(max_examples=4, deadline=None)
def test_without_its_roundings_a_quantised_program_is_the_real_one(s: Sizes) -> None:
    """Bit for bit in float64: quantising adds requants and changes nothing else."""
    built = build(s)
    machines = []
    for program in (built.simplified, built.quantised):
        machine = Machine(program, RULES, dict(built.values))
        run(built, machine)
        machines.append(machine)
    real, quantised = machines
    for name, value in real.accumulators.items():
        assert np.array_equal(value, quantised.accumulators[name]), name
    for d in built.simplified.states:
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


# Refusals


def edited(program: Program, section: Section, change: Callable[[Instr], Instr]) -> Program:
    bodies = tuple(
        replace(b, instrs=tuple(map(change, b.instrs))) if b.section is section else b
        for b in program.bodies
    )
    return replace(program, bodies=bodies)


def test_a_factor_that_is_no_power_of_two_is_refused() -> None:
    built = build(Sizes())

    def change(i: Instr) -> Instr:
        half = isinstance(i.attr, Scale) and i.name == "b0.free.first.half"
        return replace(i, attr=Scale(0.3)) if half else i

    program = edited(built.simplified, Section.FORWARD_STEP, change)
    message = (
        "the factor 0.3 of b0.free.first.half is not a power of two; "
        "hold it as a coefficient of the unit instead"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        quantise(program, built.values, built.ranges, Widths())


def test_a_coefficient_in_two_roles_is_refused() -> None:
    built = build(Sizes())

    def change(i: Instr) -> Instr:
        add = i.op is Op.ADD and "b0.shift" in i.args
        return replace(i, args=tuple(a.replace("shift", "scale") for a in i.args)) if add else i

    program = edited(built.simplified, Section.FORWARD_STEP, change)
    with pytest.raises(ValueError, match=r"b0\.scale is both multiplied and added; split it"):
        quantise(program, built.values, built.ranges, Widths())


def test_formats_are_as_printed() -> None:
    """A golden line each of a coefficient, an increment and a wrapping sum."""
    text = str(build(Sizes(complex=False)).quantised)
    q = next(d.type.q for d in build(Sizes(complex=False)).quantised.states)
    assert q == Q(28, q.frac)
    assert re.search(r"^coefficient b0.step : Q\(18:\d+,\d+\)\[2\]$", text, re.M)
    increment = r"^  %b0.free.first.q.rounded = requant\(%b0.free.first.half\) "
    assert re.search(increment + r"\{rounding=half_even, overflow=saturate\}", text, re.M)
    assert re.search(
        r"^  %b0.free.first.q = requant\(%b0.free.first.q.exact\) "
        rf"\{{rounding=half_even, overflow=wrap\}} : {re.escape(str(q))}\[2\]$", text, re.M,
    )  # fmt: skip
