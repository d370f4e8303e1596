"""What the verifier asks of a step, so that it can be retraced."""

from __future__ import annotations

import re

import pytest
from good_programs import GOOD, REAL, REQUANT, edited

from echoloom.ir.parser import parse
from echoloom.ir.program import Program
from echoloom.ir.verifier import InvalidProgram, verify

# edit (old, new) -> sentence
REFUSALS: dict[tuple[str, str], str] = {
    ("%q = requant(%moved2) {rounding=half_even, overflow=wrap}",
     f"%q = requant(%moved2) {REQUANT}"): (
        "forward_step: state b0.free.q must wrap: saturation is not reversible"
    ),
    ("%q1 = requant(%moved) {rounding=half_even, overflow=wrap}",
     f"%q1 = requant(%moved) {REQUANT}"): (
        "forward_step: state b0.free.q must wrap: saturation is not reversible"
    ),
    ("%dp = requant(%hf) {rounding=half_even", "%dp = requant(%hf) {rounding=half_up"): (
        "forward_step: the increment dp of state b0.free.p rounds half_up, which is not odd; "
        "use half_even, half_away or to_zero"
    ),
    ("%dq = requant(%half) {rounding=half_even", "%dq = requant(%half) {rounding=floor"): (
        "forward_step: the increment dq of state b0.free.q rounds floor, which is not odd; "
        "use half_even, half_away or to_zero"
    ),
    ("%kicked = sub(b0.free.p, %dp) : Q(8,24)", "%kicked = sub(b0.free.p, %hf) : Q(7,40)"): (
        "forward_step: state b0.free.p: p rounds the sum Q(7,40) to Q(4,24), "
        "but the increment must be rounded on its own"
    ),
    ("b0.free.q <- %q\n", "b0.free.q <- mean\n"): (
        "forward_step uses the state mean, which no earlier body has written"
    ),
    ("b0.free.q <- %q\n", "b0.free.q <- bias\n"): (
        "forward_step: state b0.free.q gets bias, which is not its old value plus increments"
    ),
    ("b0.free.q <- %q\n", "b0.free.q <- %p\n"): (
        "forward_step: state b0.free.q gets p, which is not its old value plus increments"
    ),
    ("mul(stiffness, %q1)", "mul(stiffness, b0.free.p)"): (
        "forward_step: the increment dp of state b0.free.p depends on b0.free.p: "
        "T may depend on p alone, V on q and u"
    ),
    ("%v = mul(step, b0.free.p)", "%v = mul(step, b0.free.q)"): (
        "forward_step: the increment dq of state b0.free.q depends on b0.free.q: "
        "T may depend on p alone, V on q and u"
    ),
    ("%v2 = mul(step, %p)", "%v2 = mul(step, bias)"): (
        "forward_step: the increment dq2 of state b0.free.q is not known to be odd in b0.free.p: "
        "T must be even in p"
    ),
    }  # fmt: skip


@pytest.mark.parametrize("edit", REFUSALS, ids=" => ".join)
def test_refusals(edit: tuple[str, str]) -> None:
    with pytest.raises(InvalidProgram, match=f"^{re.escape(REFUSALS[edit])}$"):
        verify(edited(GOOD, *edit))


REAL_REFUSALS = {
    ("function=tanh", "function=sigmoid"): (
        "forward_step: the increment v of state b0.free.q is not known to be odd in b0.free.p: "
        "T must be even in p"
    ),
    ("%v = mul(step, %t)", "%v = mul(u, %t)"): (
        "forward_step: the increment v of state b0.free.q depends on more than b0.free.p and "
        "coefficients: T may depend on p alone"
    ),
    ("%f = add(u, %q)", "%f = add(u, %t)"): (
        "forward_step: the increment f of state b0.free.p depends on b0.free.p: "
        "T may depend on p alone, V on q and u"
    ),
    ("%q = add(%v, b0.free.q)", "%q = sub(%v, b0.free.q)"): (
        "forward_step: state b0.free.q gets q, which is not its old value plus increments"
    ),
}


@pytest.mark.parametrize("edit", REAL_REFUSALS, ids=" => ".join)
def test_refusals_of_real_programs(edit: tuple[str, str]) -> None:
    with pytest.raises(InvalidProgram, match=f"^{re.escape(REAL_REFUSALS[edit])}$"):
        verify(edited(REAL, *edit))


def test_a_state_that_moves_must_be_a_units() -> None:
    program = parse(REAL.replace("b0.free.p", "momentum").replace("b0.free.q", "place"))
    message = "forward_step: state place moves every step but is no unit's q or p"
    with pytest.raises(InvalidProgram, match=f"^{message}$"):
        verify(program)


def by_table(function: str) -> Program:
    """The good program with a velocity by table in its second drift."""
    old = "%v2 = mul(step, %p) : Q(5,41)[2]\n  %half2 = scale(%v2) {factor=0.5} : Q(4,42)[2]"
    reach = {"tanh": 3, "sigmoid": 3, "erf": 2, "gelu": 3}[function]
    new = (
        f"%t = table(%p) {{function={function}, segment_bits=9, range_bits={reach}}} : Q(2,16)[2]\n"
        "  %v2 = mul(step, %t) : Q(3,33)[2]\n  %half2 = scale(%v2) {factor=0.5} : Q(2,34)[2]"
    )
    return edited(GOOD, old, new)


@pytest.mark.parametrize("function", ["tanh", "erf"])
def test_an_odd_table_is_a_velocity(function: str) -> None:
    verify(by_table(function))


@pytest.mark.parametrize("function", ["sigmoid", "gelu"])
def test_a_table_that_is_not_odd_is_none(function: str) -> None:
    message = (
        "the increment dq2 of state b0.free.q is not known to be odd in b0.free.p: "
        "T must be even in p"
    )
    with pytest.raises(InvalidProgram, match=re.escape(message)):
        verify(by_table(function))
