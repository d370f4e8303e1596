"""Text and back."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import astuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_models import Sizes, build, sizes

from echoloom.ir.arithmetic import Overflow, Rounding
from echoloom.ir.formats import Q, Real, Type
from echoloom.ir.ops import (
    ARITY,
    ATTRIBUTE_OF,
    Attribute,
    Constant,
    DynamicShift,
    Op,
    Read,
    Requant,
    Scale,
    Shift,
    Table,
)
from echoloom.ir.parser import ParseError, parse
from echoloom.ir.program import Accumulator, Body, Coefficient, Declaration, Instr, Program, State
from echoloom.ir.sections import SWEPT, Section

FLOATS = st.floats(allow_nan=False)
NAMES = st.from_regex(r"[A-Za-z0-9_./'-]{1,6}", fullmatch=True)
FRACS = st.integers(-40, 90)
COLUMNS = st.lists(st.integers(0, 90), min_size=1, max_size=4).map(tuple)
FORMATS = st.one_of(
    st.just(Real()),
    st.builds(Q, st.integers(1, 63), FRACS),
    st.builds(Q, st.integers(1, 63), st.lists(FRACS, min_size=1, max_size=4).map(tuple)),
    st.builds(Q, st.integers(1, 63), FRACS, COLUMNS),
    st.builds(Q, st.integers(1, 63), st.lists(FRACS, min_size=1, max_size=4).map(tuple), COLUMNS),
)
TYPES = st.builds(Type, st.lists(st.integers(0, 300), max_size=2).map(tuple), FORMATS)
DECLARATIONS = st.lists(st.builds(Declaration, NAMES, TYPES), max_size=3).map(tuple)
COEFFICIENTS = st.lists(st.builds(Coefficient, NAMES, TYPES, st.none()), max_size=3).map(tuple)
STATES = st.lists(st.builds(State, NAMES, TYPES, st.none()), max_size=3).map(tuple)
PAIRS = st.lists(st.tuples(NAMES, NAMES), max_size=3).map(tuple)
ATTRIBUTES: dict[type, st.SearchStrategy[Attribute]] = {
    Constant: st.builds(Constant, FLOATS),
    Read: st.builds(Read, NAMES),
    Scale: st.builds(Scale, FLOATS),
    Table: st.builds(Table, NAMES, st.integers(0, 20), st.integers(-9, 9)),
    Shift: st.builds(Shift, st.sampled_from(DynamicShift)),
    Requant: st.builds(
        Requant, st.sampled_from(Rounding), st.sampled_from(Overflow), st.sampled_from(DynamicShift)
    ),
}


@st.composite
def instructions(draw: st.DrawFn) -> Instr:
    op = draw(st.sampled_from(Op))
    args = draw(st.lists(NAMES, min_size=ARITY[op], max_size=ARITY[op]))
    kind = ATTRIBUTE_OF.get(op)
    attr = draw(ATTRIBUTES[kind]) if kind else None
    return Instr(draw(NAMES), op, tuple(args), draw(TYPES), attr)


@st.composite
def bodies(draw: st.DrawFn) -> Body:
    return Body(
        draw(st.sampled_from(SWEPT)),
        draw(DECLARATIONS),
        draw(st.lists(instructions(), max_size=4).map(tuple)),
        draw(PAIRS),
        draw(PAIRS),
        draw(st.lists(NAMES, max_size=2).map(tuple)),
    )


PROGRAMS = st.builds(
    Program,
    NAMES,
    COEFFICIENTS,
    DECLARATIONS,
    STATES,
    st.lists(
        st.builds(Accumulator, NAMES, TYPES, FLOATS, NAMES | st.just(""), NAMES | st.just("")),
        max_size=3,
    ).map(tuple),
    st.lists(bodies(), max_size=3).map(tuple),
)


@given(PROGRAMS)
@settings(max_examples=60, deadline=None)
def test_any_program_comes_back(program: Program) -> None:
    """Also ones that mean nothing: the text says all there is, down to a float's last bit."""
    assert parse(str(program)) == program


@given(sizes(("linear", "quartic", "massive")))
@settings(max_examples=5, deadline=None)
def test_models_come_back(s: Sizes) -> None:
    built = build(s)
    for program in (built.assembled, built.simplified, built.held, built.quantised):
        text = str(program)
        again = parse(text)
        assert again == program
        assert str(again) == text
        for ours, theirs in zip(again.bodies, program.bodies, strict=True):
            assert [i.place for i in ours.instrs] == [i.place for i in theirs.instrs]
        assert again.coordinates() == program.coordinates()
        for ours, theirs in zip(again.coefficients, program.coefficients, strict=True):
            assert astuple(ours) == astuple(theirs)


def test_floats_keep_their_last_bit() -> None:
    third = Instr("a", Op.SCALE, ("x",), Type((), Real()), Scale(1.0 / 3.0))
    tiny = Instr("b", Op.CONSTANT, (), Type((), Real()), Constant(5e-324))
    program = Program("p", (), (), (), (), (Body(Section.FORWARD_STEP, (), (third, tiny)),))
    assert "{factor=0.3333333333333333}" in str(program)
    assert parse(str(program)) == program


def test_comments_and_blank_lines_are_skipped() -> None:
    text = "# a program\n\nprogram p   # its name\n\n  state   s :  real[2]\n"
    assert parse(text) == parse("program p\nstate s : real[2]")


def test_a_name_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(ValueError, match=re.escape("the name 'a b' cannot be written")):
        str(Program("a b", (), (), (), (), ()))


@pytest.mark.parametrize("keyword", ["emit", "frame", "state", "accumulate", "program"])
def test_a_state_may_be_called_like_a_keyword(keyword: str) -> None:
    body = Body(Section.FORWARD_STEP, updates=((keyword, "x"),), emits=(keyword,))
    program = Program("p", (), (), (), (), (body,))
    assert parse(str(program)) == program


HEAD = "program p\nstate s : real[2]\n"

ERRORS = {
    "": "line 1: the text is empty; a program starts with 'program <name>'.",
    "state s : real[2]": (
        "line 1: a program starts with 'program <name>', not 'state s : real[2]'."
    ),
    "program": "line 1: '' is not a name.",
    "program a b": "line 1: 'a b' is not a name.",
    "program p\nprogram q": "line 2: a text holds one program, and this is the second.",
    "program p\nstate s real[2]": ("line 2: expected '<name> : <type>', found 's real[2]'."),
    "program p\nstate s : float[2]": (
        "line 2: 'float[2]' is not a type; types are real[3], Q(6,22)[3] or Q(18:17,16,17)[3]."
    ),
    "program p\nstate s : Q(3,-3)[2]": "line 2: Q(3,-3) has words of 0 bits.",
    "program p\nstate s : Q(18:)[2]": (
        "line 2: 'Q(18:)[2]' is not a type; types are real[3], Q(6,22)[3] or Q(18:17,16,17)[3]."
    ),
    "program p\naccumulator a : real[2]": (
        "line 2: expected '<name> {scale=...} : <type>', found 'a : real[2]'."
    ),
    "program p\naccumulator a {scale=1} : real[2]\naccumulator b {half=1} : real[2]": (
        "line 3: 'half=1' is not one of scale=, target=, divisor=."
    ),
    "program p\naccumulator a {scale=1, scale=2} : real[2]": "line 2: scale is given twice.",
    "program p\naccumulator a {scale=much} : real[2]": "line 2: 'much' is not a number.",
    HEAD + "\nsideways_step:": (
        "line 4: 'sideways_step' is not a body; bodies are forward_prologue, forward_step, "
        "forward_epilogue, echo_prologue, echo_step, echo_epilogue."
    ),
    HEAD + "emit s": "line 3: 'emit s' stands in a body, and none has begun.",
    HEAD + "s <- s": "line 3: 's <- s' stands in a body, and none has begun.",
    HEAD + "echo_step:\nstate t : real[2]": (
        "line 4: state declarations come before the first body."
    ),
    HEAD + "echo_step:\nreturn s": ("line 4: 'return s' is neither a declaration nor a statement."),
    HEAD + "echo_step:\n%a = add(s, s)": (
        "line 4: expected '%<name> = <op>(<operands>) {<attributes>} : <type>', "
        "found '%a = add(s, s)'."
    ),
    HEAD + "echo_step:\n%a = twist(s) : real[2]": "line 4: there is no operation 'twist'.",
    HEAD + "echo_step:\n%a = add(s,, s) : real[2]": "line 4: '' is not a name.",
    HEAD + "echo_step:\n%a = add(s, s) {factor=1} : real[2]": ("line 4: add takes no attributes."),
    HEAD + "echo_step:\n%a = scale(s) : real[2]": "line 4: scale lacks the attribute 'factor'.",
    HEAD + "echo_step:\n%a = requant(s) {rounding=half_even} : real[2]": (
        "line 4: requant lacks the attribute 'overflow'."
    ),
    HEAD + "echo_step:\n%a = requant(s) {rounding=up, overflow=wrap} : real[2]": (
        "line 4: 'up' is not one of half_even, half_away, half_up, to_zero, floor."
    ),
    HEAD + "echo_step:\n%a = table(s) {function=tanh, segment_bits=x, range_bits=3} : real[2]": (
        "line 4: 'x' is not a whole number."
    ),
    HEAD + "echo_step:\n%a = add(s, %b) : real[2]": "line 4: %b is not computed in this body.",
    HEAD + "echo_step:\n%a = add(s, s) : real[2]\ns <- a": (
        "line 5: a is computed in this body: write %a."
    ),
    HEAD + "echo_step:\naccumulate a s": (
        "line 4: expected 'accumulate <accumulator> += <value>', found 'a s'."
    ),
    HEAD + "echo_step:\nframe x": "line 4: expected '<name> : <type>', found 'x'.",
}


@pytest.mark.parametrize("text", ERRORS)
def test_errors_name_the_line(text: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse(text)
    assert str(caught.value) == ERRORS[text]
    assert caught.value.line == int(ERRORS[text].split(":")[0].removeprefix("line "))


WHOLE = str(build(Sizes(hidden=1, state=1, inputs=1)).quantised)


@given(st.integers(0, len(WHOLE) - 1), st.sampled_from(["", " ", ":", "9", "%", "{", ",", "\n"]))
@settings(max_examples=100, deadline=None)
def test_damaged_text_gives_a_program_or_a_parse_error(at: int, instead: str) -> None:
    with suppress(ParseError):
        parse(WHOLE[:at] + instead + WHOLE[at + 1 :])
