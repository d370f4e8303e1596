"""Every refusal of the verifier: one edit of a good program, and the sentence it gets."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from ir_models import Sizes, build, sizes

from echoloom.ir.engine import Section
from echoloom.ir.ops import Scale
from echoloom.ir.program import Program
from echoloom.ir.text import parse
from echoloom.ir.verify import InvalidProgram, verify, verify_target

GOOD = """
program springs

coefficient step : Q(1,17)[2]
coefficient stiffness : Q(18:17,16)[2]
coefficient drive : Q(1,17)[2,1]
coefficient bias : Q(4,24)[2]
runtime rate : Q(2,16)[]
state b.q : Q(4,24)[2]
state b.p : Q(4,24)[2]
state mean : Q(4,24)[2]
accumulator pool {scale=1.0} : Q(30,24)[2]
accumulator slope {scale=-0.5, target=stiffness, divisor=step} : Q(16,38)[2]

forward_prologue:
  %rest = constant() {value=0.0} : Q(4,24)[2]
  b.q <- %rest
  b.p <- %rest

forward_step:
  frame u : Q(4,24)[1]
  %v = mul(step, b.p) : Q(5,41)[2]
  %half = scale(%v) {factor=0.5} : Q(4,42)[2]
  %dq = requant(%half) {rounding=half_even, overflow=saturate} : Q(5,24)[2]
  %moved = add(b.q, %dq) : Q(6,24)[2]
  %q1 = requant(%moved) {rounding=half_even, overflow=wrap} : Q(4,24)[2]
  %pull = mul(stiffness, %q1) : Q(46:41,40)[2]
  %spring = requant(%pull) {rounding=half_even, overflow=saturate} : Q(5,23)[2]
  %du = matvec(drive, u) : Q(5,41)[2]
  %push = requant(%du) {rounding=half_even, overflow=saturate} : Q(6,23)[2]
  %both = sub(%spring, %push) : Q(7,23)[2]
  %f = requant(%both) {rounding=half_even, overflow=saturate} : Q(5,23)[2]
  %hf = mul(step, %f) : Q(6,40)[2]
  %dp = requant(%hf) {rounding=half_even, overflow=saturate} : Q(7,24)[2]
  %kicked = sub(b.p, %dp) : Q(8,24)[2]
  %p = requant(%kicked) {rounding=half_even, overflow=wrap} : Q(4,24)[2]
  %v2 = mul(step, %p) : Q(5,41)[2]
  %half2 = scale(%v2) {factor=0.5} : Q(4,42)[2]
  %dq2 = requant(%half2) {rounding=half_even, overflow=saturate} : Q(5,24)[2]
  %moved2 = add(%q1, %dq2) : Q(6,24)[2]
  %q = requant(%moved2) {rounding=half_even, overflow=wrap} : Q(4,24)[2]
  %short = requant(%q) {rounding=half_even, overflow=saturate} : Q(4,14)[2]
  %term = mul(%short, %f) : Q(9,37)[2]
  %fine = scale(%term) {factor=0.5} : Q(8,38)[2]
  b.q <- %q
  b.p <- %p
  accumulate pool += %q
  accumulate slope += %fine

forward_epilogue:
  %sum = read() {accumulator=pool} : Q(30,24)[2]
  %near = requant(%sum) {rounding=half_even, overflow=saturate, register=length} : Q(4,24)[2]
  %rated = mul(rate, %near) : Q(6,40)[2]
  %average = requant(%rated) {rounding=half_even, overflow=saturate} : Q(4,24)[2]
  %shape = table(%average) {function=tanh, segment_bits=9, range_bits=3} : Q(2,16)[2]
  mean <- %average
  emit %shape
"""

REAL = """
program real_springs

coefficient step : real[2]
state b.q : real[2]
state b.p : real[2]
accumulator pool {scale=1.0} : real[2]

forward_prologue:
  %rest = constant() {value=0.0} : real[2]
  b.q <- %rest
  b.p <- %rest

forward_step:
  frame u : real[2]
  %t = table(b.p) {function=tanh, segment_bits=0, range_bits=0} : real[2]
  %v = mul(step, %t) : real[2]
  %q = add(%v, b.q) : real[2]
  %f = add(u, %q) : real[2]
  %p = sub(b.p, %f) : real[2]
  b.q <- %q
  b.p <- %p
  accumulate pool += %p

forward_epilogue:
  %sum = read() {accumulator=pool} : real[2]
  %mean = shift(%sum) {register=length} : real[2]
  emit %mean
"""

REQUANT = "{rounding=half_even, overflow=saturate}"

# edit (old, new) -> sentence
REFUSALS: dict[tuple[str, str], str] = {
    # names and declarations
    ("coefficient bias", "coefficient step"): "declared value step is declared more than once",
    ("coefficient bias", "state b.q"): "declared value b.q is declared more than once",
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
    ("bias : Q(4,24)[2]", "bias : real[2]"): (
        "bias is real[2] but step is Q(1,17)[2]: a program is real or quantised as a whole"
    ),
    ("frame u : Q(4,24)[1]", "frame u : real[1]"): (
        "forward_step: u is real[1] but step is Q(1,17)[2]: "
        "a program is real or quantised as a whole"
    ),
    ("scale=1.0", "scale=0.0"): "accumulator pool: its scale 0.0 is not a finite factor",
    ("scale=1.0", "scale=nan"): "accumulator pool: its scale nan is not a finite factor",
    ("target=stiffness", "target=springiness"): (
        "accumulator slope: its target springiness is no coefficient of its shape"
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
    ("%v = mul(step, b.p)", "%v = mul(step, %p)"): "forward_step: v uses p before it is defined",
    ("mul(stiffness, %q1)", "mul(stiffness, other)"): (
        "forward_step: pull uses other before it is defined"
    ),
    ("emit %shape", "emit shape2"): "forward_epilogue uses shape2 before it is defined",
    ("  b.p <- %rest\n", ""): (
        "forward_step: v uses the state b.p, which no earlier body has written"
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
        "forward_epilogue: shape: the table of tanh covers 2**3 either way, not 2**4"
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
    ("b.q <- %q\n", "b.r <- %q\n"): "forward_step updates b.r, which is not a state",
    ("b.q <- %q\n", "b.q <- %q\n  b.q <- %q\n"): (
        "forward_step: new value of state b.q is declared more than once"
    ),
    ("b.q <- %q\n", "b.q <- %f\n"): (
        "forward_step: state b.q is Q(4,24)[2] but f is Q(5,23)[2]"
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
    # the state path
    ("%q = requant(%moved2) {rounding=half_even, overflow=wrap}",
     f"%q = requant(%moved2) {REQUANT}"): (
        "forward_step: state b.q must wrap: saturation is not reversible"
    ),
    ("%q1 = requant(%moved) {rounding=half_even, overflow=wrap}",
     f"%q1 = requant(%moved) {REQUANT}"): (
        "forward_step: state b.q must wrap: saturation is not reversible"
    ),
    ("%dp = requant(%hf) {rounding=half_even", "%dp = requant(%hf) {rounding=half_up"): (
        "forward_step: the increment dp of state b.p rounds half_up, which is not odd; "
        "use half_even, half_away or to_zero"
    ),
    ("%dq = requant(%half) {rounding=half_even", "%dq = requant(%half) {rounding=floor"): (
        "forward_step: the increment dq of state b.q rounds floor, which is not odd; "
        "use half_even, half_away or to_zero"
    ),
    ("%kicked = sub(b.p, %dp) : Q(8,24)", "%kicked = sub(b.p, %hf) : Q(7,40)"): (
        "forward_step: state b.p: p rounds the sum Q(7,40) to Q(4,24), "
        "but the increment must be rounded on its own"
    ),
    ("b.q <- %q\n", "b.q <- mean\n"): (
        "forward_step uses the state mean, which no earlier body has written"
    ),
    ("b.q <- %q\n", "b.q <- bias\n"): (
        "forward_step: state b.q gets bias, which is not its old value plus increments"
    ),
    ("b.q <- %q\n", "b.q <- %p\n"): (
        "forward_step: state b.q gets p, which is not its old value plus increments"
    ),
    ("mul(stiffness, %q1)", "mul(stiffness, b.p)"): (
        "forward_step: the increment dp of state b.p depends on b.p: "
        "T may depend on p alone, V on q and u"
    ),
    ("%v = mul(step, b.p)", "%v = mul(step, b.q)"): (
        "forward_step: the increment dq of state b.q depends on b.q: "
        "T may depend on p alone, V on q and u"
    ),
    ("%v2 = mul(step, %p)", "%v2 = mul(step, bias)"): (
        "forward_step: the increment dq2 of state b.q is not known to be odd in b.p: "
        "T must be even in p, and an odd function by table is odd in real numbers only"
    ),
    }  # fmt: skip


def edited(text: str, old: str, new: str) -> Program:
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the good program"
    return parse(text.replace(old, new))


def test_the_good_programs_are_good() -> None:
    program = parse(GOOD)
    assert verify(program) is program
    assert verify_target(program) is program
    verify(parse(REAL))


@pytest.mark.parametrize("edit", REFUSALS, ids=" => ".join)
def test_refusals(edit: tuple[str, str]) -> None:
    old, new = edit
    if old == "b.q <- %q\n":  # also in the prologue's spelling
        old = "  b.q <- %q\n"
        new = "  " + new
    with pytest.raises(InvalidProgram, match=f"^{re.escape(REFUSALS[edit])}$"):
        verify(edited(GOOD, old, new))


REAL_REFUSALS = {
    ("{register=length}", "{register=none}"): (
        "forward_epilogue: mean: shift names no register to shift by"
    ),
    ("shift(%sum) {register=length} : real[2]", "shift(%sum) {register=length} : real[1]"): (
        "forward_epilogue: mean: shift keeps its operand's type"
    ),
    ("shift(%sum) {register=length}", "requant(%sum) {rounding=floor, overflow=wrap}"): (
        "forward_epilogue: mean: requant stands in quantised programs only"
    ),
    ("function=tanh", "function=sigmoid"): (
        "forward_step: the increment v of state b.q is not known to be odd in b.p: "
        "T must be even in p, and an odd function by table is odd in real numbers only"
    ),
    ("%v = mul(step, %t)", "%v = mul(u, %t)"): (
        "forward_step: the increment v of state b.q depends on more than b.p and coefficients: "
        "T may depend on p alone"
    ),
    ("%f = add(u, %q)", "%f = add(u, %t)"): (
        "forward_step: the increment f of state b.p depends on b.p: "
        "T may depend on p alone, V on q and u"
    ),
    ("%q = add(%v, b.q)", "%q = sub(%v, b.q)"): (
        "forward_step: state b.q gets q, which is not its old value plus increments"
    ),
}


@pytest.mark.parametrize("edit", REAL_REFUSALS, ids=" => ".join)
def test_refusals_of_real_programs(edit: tuple[str, str]) -> None:
    with pytest.raises(InvalidProgram, match=f"^{re.escape(REAL_REFUSALS[edit])}$"):
        verify(edited(REAL, *edit))


def test_a_state_that_moves_must_be_a_units() -> None:
    program = parse(REAL.replace("b.p", "momentum").replace("b.q", "place"))
    message = "forward_step: state place moves every step but is no unit's q or p"
    with pytest.raises(InvalidProgram, match=f"^{message}$"):
        verify(program)


def test_a_quantised_table_is_not_odd() -> None:
    """tanh as a velocity: fine in real numbers, a few units off by table."""
    old = "%v2 = mul(step, %p) : Q(5,41)[2]\n  %half2 = scale(%v2) {factor=0.5} : Q(4,42)[2]"
    new = (
        "%t = table(%p) {function=tanh, segment_bits=9, range_bits=3} : Q(2,16)[2]\n"
        "  %v2 = mul(step, %t) : Q(3,33)[2]\n  %half2 = scale(%v2) {factor=0.5} : Q(2,34)[2]"
    )
    message = "the increment dq2 of state b.q is not known to be odd in b.p"
    with pytest.raises(InvalidProgram, match=re.escape(message)):
        verify(edited(GOOD, old, new))


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


TARGET_REFUSALS = {
    ("coefficient step : Q(1,17)[2]", "coefficient step : Q(2,17)[2]"): (
        "coefficient step is Q(2,17), 19 bits, but a weight holds 18"
    ),
    ("coefficient bias : Q(4,24)[2]", "coefficient bias : Q(5,24)[2]"): (
        "bias is Q(5,24), 29 bits, but a word holds 28"
    ),
    ("pool {scale=1.0} : Q(30,24)[2]", "pool {scale=1.0} : Q(31,24)[2]"): (
        "accumulator pool is Q(31,24), 55 bits, but a gradient word holds 54"
    ),
    ("frame u : Q(4,24)[1]", "frame u : Q(5,24)[1]"): (
        "forward_step: u is Q(5,24), 29 bits, but a word holds 28"
    ),
    (f"%average = requant(%rated) {REQUANT} : Q(4,24)[2]",
     f"%average = requant(%rated) {REQUANT} : Q(5,24)[2]"): (
        "forward_epilogue: average: the stored value is Q(5,24), 29 bits, but a word holds 28"
    ),
    ("%term = mul(%short, %f) : Q(9,37)[2]",
     "%wide = mul(%p, %q) : Q(8,48)[2]\n  %term = mul(%short, %f) : Q(9,37)[2]"): (
        "forward_step: wide: operands of 28 and 28 bits: the target multiplies 18 by 28"
    ),
    ("%term = mul(%short, %f) : Q(9,37)[2]",
     "%raw = mul(step, %moved) : Q(7,41)[2]\n  %term = mul(%short, %f) : Q(9,37)[2]"): (
        "forward_step: raw: the operand moved is an exact value that was never stored"
    ),
    ("%term = mul(%short, %f) : Q(9,37)[2]",
     "%all = sum(%short) : Q(5,14)[]\n  %term = mul(%short, %f) : Q(9,37)[2]"): (
        "forward_step: all: the target has no instruction that sums a vector's elements"
    ),
    ("%average = requant(%rated) {rounding=half_even",
     "%average = requant(%rated) {rounding=to_zero"): (
        "forward_epilogue: average: the target rounds half to even, not to_zero"
    ),
    (f"%f = requant(%both) {REQUANT} : Q(5,23)[2]",
     f"%f = requant(%both) {REQUANT} : Q(6,22)[2]"): (
        "forward_step: f: a rounded increment, the word it is added to and the sum both "
        "need the same exponent"
    ),
    ("emit %shape", "emit %rated"): (
        "forward_epilogue: rated leaves the body but is never stored"
    ),
    ("accumulate slope += %fine", "accumulate slope += %lifted"): (
        "forward_step: slope adds up lifted, which is neither a word nor a product by elements"
    ),
}  # fmt: skip

# What else has to change so that the edited program is a program.
ALONG = {
    "Q(2,17)[2]": [
        ("mul(step, b.p) : Q(5,41)", "mul(step, b.p) : Q(6,41)"),
        ("scale(%v) {factor=0.5} : Q(4,42)", "scale(%v) {factor=0.5} : Q(5,42)"),
        ("mul(step, %f) : Q(6,40)", "mul(step, %f) : Q(7,40)"),
        ("mul(step, %p) : Q(5,41)", "mul(step, %p) : Q(6,41)"),
        ("scale(%v2) {factor=0.5} : Q(4,42)", "scale(%v2) {factor=0.5} : Q(5,42)"),
    ],
    "pool {scale=1.0} : Q(31,24)": [("{accumulator=pool} : Q(30", "{accumulator=pool} : Q(31")],
    "frame u : Q(5,24)": [("matvec(drive, u) : Q(5,41)", "matvec(drive, u) : Q(6,41)")],
    "requant(%rated) {rounding=half_even, overflow=saturate} : Q(5,24)": [
        ("  mean <- %average\n", "")
    ],
    "requant(%both) {rounding=half_even, overflow=saturate} : Q(6,22)": [
        ("mul(step, %f) : Q(6,40)", "mul(step, %f) : Q(7,39)"),
        ("mul(%short, %f) : Q(9,37)", "mul(%short, %f) : Q(10,36)"),
        ("scale(%term) {factor=0.5} : Q(8,38)", "scale(%term) {factor=0.25} : Q(8,38)"),
    ],
    "+= %lifted": [
        ("  b.q <- %q\n", "  %sprung = matvec(drive, u) : Q(5,41)[2]\n"
         "  %lifted = scale(%sprung) {factor=8.0} : Q(8,38)[2]\n  b.q <- %q\n")
    ],
}  # fmt: skip


@pytest.mark.parametrize("edit", TARGET_REFUSALS, ids=" => ".join)
def test_target_refusals(edit: tuple[str, str]) -> None:
    text = GOOD.replace(*edit)
    for key, changes in ALONG.items():
        if key in edit[1]:
            for old, new in changes:
                assert text.count(old) == 1, old
                text = text.replace(old, new)
    program = verify(parse(text))
    with pytest.raises(InvalidProgram, match=f"^{re.escape(TARGET_REFUSALS[edit])}$"):
        verify_target(program)


def test_a_target_wants_words() -> None:
    message = "step is real: only quantised programs have a target"
    with pytest.raises(InvalidProgram, match=message):
        verify_target(parse(REAL))


@given(sizes(("linear", "quartic", "massive")))
@settings(max_examples=6, deadline=None)
def test_models_pass_after_every_pass(s: Sizes) -> None:
    built = build(s)
    for program in (built.assembled, built.simplified, built.quantised):
        verify(program)
    verify_target(built.quantised)
