"""What one target refuses: operands too wide, exact values too long, forms it has not."""

from __future__ import annotations

import re

import pytest
from good_programs import GOOD, REAL, REQUANT

from echoloom.ir.parser import parse
from echoloom.ir.verifier import InvalidProgram, verify, verify_target
from echoloom.ir.widths import Widths

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
        ("mul(step, b0.free.p) : Q(5,41)", "mul(step, b0.free.p) : Q(6,41)"),
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
        ("  b0.free.q <- %q\n", "  %sprung = matvec(drive, u) : Q(5,41)[2]\n"
         "  %lifted = scale(%sprung) {factor=8.0} : Q(8,38)[2]\n  b0.free.q <- %q\n")
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
        verify_target(program, Widths())


def test_a_target_wants_words() -> None:
    message = "step is real: only quantised programs have a target"
    with pytest.raises(InvalidProgram, match=message):
        verify_target(parse(REAL), Widths())
