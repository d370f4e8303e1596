"""Formats: what they hold, what they share, and that every loss of bits is written down."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_models import Sizes, build, sizes

from echoloom.ir.arithmetic import Overflow, Rounding
from echoloom.ir.formats import Q, largest
from echoloom.ir.ops import ODD_ROUNDINGS, Op, Requant, Scale
from echoloom.ir.passes.calibrate import measure
from echoloom.ir.passes.coefficient_formats import coefficient_format, runtime_format
from echoloom.ir.passes.formats_plan import FACTORS, Cuts
from echoloom.ir.passes.quantise import cuts, quantise
from echoloom.ir.program import Instr, Program
from echoloom.ir.sections import STEPS, SWEPT, Section
from echoloom.ir.verifier import verify, verify_target
from echoloom.ir.widths import Widths

UNITS = ("linear", "quartic", "massive")
WIDTHS = st.builds(
    Widths,
    word=st.integers(22, 28),
    narrow=st.integers(16, 18),  # below, 1 - sigmoid takes a longer shift than a weight can make
    accumulator=st.integers(50, 54),
    margin=st.integers(0, 3),
    segment_bits=st.integers(6, 9),
)


@given(sizes(UNITS), WIDTHS)
@settings(max_examples=12, deadline=None)
def test_any_model_at_any_width_is_a_program_for_its_target(s: Sizes, widths: Widths) -> None:
    program = build(s, widths).quantised
    verify(program)
    verify_target(program, widths)


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
        for section in STEPS
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


def test_rounding_that_is_not_odd_is_refused_by_the_verifier() -> None:
    built = build(Sizes())
    widths = Widths(rounding=Rounding.HALF_UP)
    program = quantise(built.held, built.values, built.ranges, widths)
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
    ranges = measure(built.held, values, built.samples, None, 1)
    verify_target(verify(quantise(built.held, values, ranges, Widths())), Widths())


def test_a_vector_that_only_scales_has_one_exponent_for_each_element() -> None:
    program = build(Sizes(complex=False)).quantised
    formats = {d.name: d.type.q for d in program.coefficients}
    for name in ("b0.step", "b0.unit.stiffness", "b0.scale", "b0.feedthrough"):
        assert formats[name].per_element, name
    for name in ("encoder.weight", "encoder.bias", "b0.readout", "b0.shift"):
        assert not formats[name].per_element, name


@pytest.mark.parametrize("narrow", [12, 14, 16, 18, 20])
def test_what_the_host_writes_fits_at_every_width(narrow: int) -> None:
    """A mantissa of 1/T below 2, an error up to 1, and a gain of 1/4 without rounding."""
    largest_value = {"inverse_length": 2.0 - 2.0 ** (3 - narrow), "error": 1.0}
    for name, value in largest_value.items():
        q = runtime_format(name, narrow)
        assert q.width == narrow
        assert value * 2.0**q.scalar_frac <= largest(narrow)
    assert runtime_format("gain", narrow).scalar_frac >= 2


# Programs that resemble an earlier one


@pytest.mark.parametrize("unit", ["linear", "quartic"])
def test_products_keep_the_operand_that_is_cut(unit: str) -> None:
    """Whatever their ranges say now: those that are stored as those that are added in passing."""
    built, widths = build(Sizes(unit=unit)), Widths()
    given = built.held, built.values, built.ranges, widths
    found = cuts(built.quantised, widths)
    assert quantise(*given, found) == built.quantised
    turned = {s: tuple(n if n is None else 1 - n for n in of) for s, of in found.items()}
    program = quantise(*given, turned)
    again, stored = cuts(program, widths), 0
    for body in built.held.bodies:
        products = [i for i in body.instrs if i.op in FACTORS]
        words = {i.args[0] for i in program.body(body.section).instrs if i.op is Op.REQUANT}
        made = [i.name for i in program.body(body.section).instrs if i.op in FACTORS]
        streamed = {d.name for d in body.frame}
        for k, (instr, number) in enumerate(zip(products, turned[body.section], strict=True)):
            if number is None or instr.args[0] == instr.args[1] or instr.args[number] in streamed:
                continue
            assert again[body.section][k] == number, instr.name
            stored += made[k] in words
    assert stored > 1


def test_cuts_of_a_program_of_other_code_say_nothing() -> None:
    built = build(Sizes())
    assert cuts(built.quantised, Widths()).keys() >= set(STEPS)
    other: Cuts = dict.fromkeys(SWEPT, (0,))
    assert quantise(built.held, built.values, built.ranges, Widths(), other) == built.quantised


def test_formats_that_do_not_settle_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    built = build(Sizes())
    monkeypatch.setattr("echoloom.ir.passes.quantise.ROUNDS", 1)
    with pytest.raises(ValueError, match="formats did not settle"):
        quantise(built.held, built.values, built.ranges, Widths())


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

    program = edited(built.held, Section.FORWARD_STEP, change)
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

    program = edited(built.held, Section.FORWARD_STEP, change)
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
