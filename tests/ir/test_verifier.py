"""Every refusal of the verifier: one edit of a good program, and the sentence it gets."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from good_programs import GOOD, REAL, REQUANT, edited
from hypothesis import given, settings
from ir_models import Sizes, build, sizes

from echoloom.ir.ops import Scale
from echoloom.ir.parser import parse
from echoloom.ir.sections import Section
from echoloom.ir.verifier import InvalidProgram, verify, verify_target
from echoloom.ir.widths import Widths

# edit (old, new) -> sentence
REFUSALS: dict[tuple[str, str], str] = {
    # names and declarations
    ("coefficient bias", "coefficient step"): "declared value step is declared more than once",
    ("coefficient bias", "state b0.free.q"): "declared value b0.free.q is declared more than once",
    ("accumulator slope", "accumulator pool"): "accumulator pool is declared more than once",
    ("bias : Q(4,24)[2]", "bias : Q(4,24)[0]"): "bias: Q(4,24)[0] is no scalar, vector or matrix",
    ("bias : Q(4,24)[2]", "bias : Q(4,24)[1,1,2]"): (
        "bias: Q(4,24)[1,1,2] is no scalar, vector or matrix"
    ),
    ("bias : Q(4,24)[2]", "bias : Q(40,24)[2]"): (
        "bias: Q(40,24) has 64 bits, and words have 2 to 63"
    ),
    ("Q(18:17,16)[2]", "Q(18:17,16,15)[2]"): (
        "stiffness: Q(18:17,16,15)[2] needs one exponent for each element of axis 0"
    ),
    ("bias : Q(4,24)[2]", "bias : Q(4,24;0,1)[2]"): (
        "bias: Q(4,24;0,1)[2] needs one exponent for each column"
    ),
    ("bias : Q(4,24)[2]", "bias : Q(4,24;0,1)[2,3]"): (
        "bias: Q(4,24;0,1)[2,3] needs one exponent for each column"
    ),
    ("bias : Q(4,24)[2]", "bias : Q(4,24;1,2)[2,2]"): (
        "bias: Q(4,24;1,2)[2,2] has columns whose least exponent is not 0"
    ),
    ("bias : Q(4,24)[2]", "bias : real[2]"): (
        "bias is real[2] but step is Q(1,17)[2]: a program is real or quantised as a whole"
    ),
    ("frame u : Q(4,24)[1]", "frame u : real[1]"): (
        "forward_step: u is real[1] but step is Q(1,17)[2]: "
        "a program is real or quantised as a whole"
    ),
    ("scale=1.0", "scale=0.0"): "accumulator pool: its scale 0.0 is not a finite factor",
    ("scale=1.0", "scale=nan"): "accumulator pool: its scale nan is not a finite factor",
    ("target=stiffness", "target=drive"): (
        "accumulator slope: its target drive is no coefficient of its shape"
    ),
    ("divisor=step", "divisor=drive"): (
        "accumulator slope: its divisor drive is no coefficient of its shape"
    ),
    ("  accumulate pool += %q\n", ""): (
        "forward_epilogue: sum reads accumulator pool, which no earlier body adds to"
    ),
    ("  accumulate slope += %fine\n", ""): "accumulator slope: no body adds to it",
    # bodies
    ("forward_epilogue:", "forward_step:"): "body forward_step is declared more than once",
    ("forward_epilogue:", "echo_step:\nforward_epilogue:"): (
        "the bodies are not in the order in which they run"
    ),
    ("forward_epilogue:", "forward_epilogue:\n  frame y : Q(4,24)[1]"): (
        "forward_epilogue: only step bodies have input frames"
    ),
    ("frame u", "frame u : Q(4,24)[1]\n  frame u"): (
        "forward_step: frame input u is declared more than once"
    ),
    ("frame u", "frame bias : Q(4,24)[1]\n  frame u"): (
        "forward_step: the frame input bias hides a declared value"
    ),
    # order and assignment
    ("%half2 = ", "%half2 = scale(%v2) {factor=0.5} : Q(4,42)[2]\n  %half2 = "): (
        "forward_step: half2 is assigned more than once"
    ),
    ("%v = mul(step, b0.free.p)", "%v = mul(step, %p)"): (
        "forward_step: v uses p before it is defined"
    ),
    ("mul(stiffness, %q1)", "mul(stiffness, other)"): (
        "forward_step: pull uses other before it is defined"
    ),
    ("emit %shape", "emit shape2"): "forward_epilogue uses shape2 before it is defined",
    ("  b0.free.p <- %rest\n", ""): (
        "forward_step: v uses the state b0.free.p, which no earlier body has written"
    ),
    ("  mean <- %average\n", "  mean <- mean\n"): (
        "forward_epilogue uses the state mean, which no earlier body has written"
    ),
    # instructions
    ("requant(%half2)", "requant(%half2, %half2)"): (
        "forward_step: dq2: requant takes 1 operands, got 2"
    ),
    ("mul(step, %f) : Q(6,40)", "mul(step, %f) : Q(6,39)"): (
        "forward_step: hf: mul gives Q(6,40)[2], but is declared Q(6,39)[2]"
    ),
    ("mul(step, %f)", "mul(drive, %f)"): (
        "forward_step: hf: mul does not take shapes (2, 1), (2,)"
    ),
    ("matvec(drive, u)", "tmatvec(drive, u)"): (
        "forward_step: du: tmatvec does not take shapes (2, 1), (1,)"
    ),
    ("matvec(drive, u)", "outer(drive, u)"): (
        "forward_step: du: outer does not take shapes (2, 1), (1,)"
    ),
    ("%both = sub(%spring, %push)", "%both = sub(%pull, %push)"): (
        "forward_step: both: sub needs one exponent for all of an operand, got Q(46:41,40)"
    ),
    ("%half2 = scale(%v2) {factor=0.5}", "%half2 = scale(%v2) {factor=0.3}"): (
        "forward_step: half2: scale by 0.3: an exact factor is a power of two"
    ),
    ("%half2 = scale(%v2) {factor=0.5}", "%half2 = scale(%v2) {factor=inf}"): (
        "forward_step: half2: scale by inf is not a finite factor"
    ),
    ("{value=0.0}", "{value=8.0}"): (
        "forward_prologue: rest: the constant 8.0 does not fit Q(4,24)"
    ),
    ("{value=0.0}", "{value=inf}"): (
        "forward_prologue: rest: the constant inf is not a finite number"
    ),
    ("{value=0.0} : Q(4,24)", "{value=0.0} : Q(28:24,24)"): (
        "forward_prologue: rest: a constant needs one exponent for all elements, got Q(28:24,24)"
    ),
    ("function=tanh", "function=sine"): "forward_epilogue: shape: there is no table of 'sine'",
    ("range_bits=3} : Q(2,16)[2]", "range_bits=3} : Q(2,16)[1]"): (
        "forward_epilogue: shape: a table keeps its operand's shape"
    ),
    ("range_bits=3", "range_bits=4"): (
        "forward_epilogue: shape: the table of tanh on Q(4,24) covers 2**3 either way, not 2**4"
    ),
    ("segment_bits=9", "segment_bits=0"): (
        "forward_epilogue: shape: a table of 2**0 segments cannot be told apart in Q(4,24)"
    ),
    ("segment_bits=9", "segment_bits=29"): (
        "forward_epilogue: shape: a table of 2**29 segments cannot be told apart in Q(4,24)"
    ),
    ("{accumulator=pool}", "{accumulator=other}"): (
        "forward_epilogue: sum reads accumulator other, which no earlier body adds to"
    ),
    ("{accumulator=pool} : Q(30,24)[2]", "{accumulator=pool} : Q(30,24)[1]"): (
        "forward_epilogue: sum is Q(30,24)[1], but accumulator pool is Q(30,24)[2]"
    ),
    (f"%average = requant(%rated) {REQUANT} : Q(4,24)[2]",
     f"%average = requant(%rated) {REQUANT} : Q(4,24)[1]"): (
        "forward_epilogue: average: requant keeps its operand's shape"
    ),
    (f"%average = requant(%rated) {REQUANT} : Q(4,24)[2]",
     f"%average = requant(%rated) {REQUANT} : Q(4,41)[2]"): (
        "forward_epilogue: average: requant to Q(4,41) would invent fraction bits "
        "that Q(6,40) has not"
    ),
    (f"%average = requant(%rated) {REQUANT} : Q(4,24)[2]",
     f"%average = requant(%rated) {REQUANT} : Q(43,-24)[2]"): (
        "forward_epilogue: average: requant from Q(6,40) to Q(43,-24) shifts everything out"
    ),
    ("%near = requant(%sum) {rounding=half_even, overflow=saturate, register=length}",
     "%near = shift(%sum) {register=length}"): (
        "forward_epilogue: near: shift stands in real programs only: a requant shifts words"
    ),
    # results
    ("b0.free.q <- %q\n", "b.r <- %q\n"): "forward_step updates b.r, which is not a state",
    ("b0.free.q <- %q\n", "b0.free.q <- %q\n  b0.free.q <- %q\n"): (
        "forward_step: new value of state b0.free.q is declared more than once"
    ),
    ("b0.free.q <- %q\n", "b0.free.q <- %f\n"): (
        "forward_step: state b0.free.q is Q(4,24)[2] but f is Q(5,23)[2]"
    ),
    ("  b0.free.p <- %rest\n",
     "  %minus = scale(%rest) {factor=-1.0} : Q(4,24)[2]\n  b0.free.p <- %minus\n"): (
        "forward_prologue: state b0.free.p gets minus, which is scaled but not brought to its "
        "format: minus the most negative word does not fit"
    ),
    ("accumulate pool += %q\n", "accumulate pond += %q\n"): (
        "forward_step adds to pond, which is not an accumulator"
    ),
    ("accumulate pool += %q\n", "accumulate pool += %q\n  accumulate pool += %q\n"): (
        "forward_step: sum into pool is declared more than once"
    ),
    ("  emit %shape", "  accumulate pool += %average\n  emit %shape"): (
        "forward_epilogue adds to pool, as an earlier body does already"
    ),
    ("accumulate pool += %q", "accumulate pool += %du"): (
        "forward_step: accumulator pool is Q(30,24)[2], its term Q(5,41)[2]: "
        "their exponents differ"
    ),
    ("accumulate pool += %q", "accumulate pool += u"): (
        "forward_step: accumulator pool is Q(30,24)[2], its term Q(4,24)[1]"
    ),
    ("pool {scale=1.0} : Q(30,24)[2]", "pool {scale=1.0} : Q(3,24)[2]"): (
        "forward_step: accumulator pool is Q(3,24)[2], its term Q(4,24)[2]: the term is wider"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("above", "fits"), [(8, True), (7, True), (6, False)])
def test_a_sum_of_products_may_be_a_bit_shorter_than_they_are(above: int, fits: bool) -> None:
    """No word is the most negative, so a product of 28 and 18 bits has 45; its type says 46."""
    program = edited(GOOD, "divisor=step} : Q(16,38)[2]", f"divisor=step}} : Q({above},38)[2]")
    if fits:
        verify(program)
        return
    with pytest.raises(InvalidProgram, match=r"its term Q\(8,38\)\[2\]: the term is wider"):
        verify(program)


def test_the_good_programs_are_good() -> None:
    program = parse(GOOD)
    assert verify(program) is program
    assert verify_target(program, Widths()) is program
    verify(parse(REAL))


@pytest.mark.parametrize("edit", REFUSALS, ids=" => ".join)
def test_refusals(edit: tuple[str, str]) -> None:
    with pytest.raises(InvalidProgram, match=f"^{re.escape(REFUSALS[edit])}$"):
        verify(edited(GOOD, *edit))


REAL_REFUSALS = {
    # A quantised program has no coefficient that it does not use, and may still learn it.
    ("pool {scale=1.0}", "pool {scale=1.0, target=steep}"): (
        "accumulator pool: its target steep is no coefficient of its shape"
    ),
    ("{register=length}", "{register=none}"): (
        "forward_epilogue: mean: shift names no register to shift by"
    ),
    ("shift(%sum) {register=length} : real[2]", "shift(%sum) {register=length} : real[1]"): (
        "forward_epilogue: mean: shift keeps its operand's type"
    ),
    ("shift(%sum) {register=length}", "requant(%sum) {rounding=floor, overflow=wrap}"): (
        "forward_epilogue: mean: requant stands in quantised programs only"
    ),
}


@pytest.mark.parametrize("edit", REAL_REFUSALS, ids=" => ".join)
def test_refusals_of_real_programs(edit: tuple[str, str]) -> None:
    with pytest.raises(InvalidProgram, match=f"^{re.escape(REAL_REFUSALS[edit])}$"):
        verify(edited(REAL, *edit))


def test_a_wrong_attribute_is_named() -> None:
    program = parse(GOOD)
    body = program.body(Section.FORWARD_EPILOGUE)
    wrong = replace(body.instrs[0], attr=Scale(1.0))
    broken = replace(body, instrs=(wrong, *body.instrs[1:]))
    bodies = tuple(broken if b is body else b for b in program.bodies)
    message = "forward_epilogue: sum: read carries attributes Read, got Scale(factor=1.0)"
    with pytest.raises(InvalidProgram, match=f"^{re.escape(message)}$"):
        verify(replace(program, bodies=bodies))


def test_a_name_without_a_text_form_is_refused() -> None:
    message = "the name 'two words' has characters that the text form has not"
    with pytest.raises(InvalidProgram, match=message):
        verify(replace(parse(GOOD), name="two words"))


@given(sizes(("linear", "quartic", "massive")))
@settings(max_examples=6, deadline=None)
def test_models_pass_after_every_pass(s: Sizes) -> None:
    built = build(s)
    for program in (built.assembled, built.simplified, built.quantised):
        verify(program)
    verify_target(built.quantised, Widths())
