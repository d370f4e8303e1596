"""What is decided by looking at code: affine or curved, and which words are never stored."""

from __future__ import annotations

import numpy as np
import pytest
from good_programs import GOOD, REQUANT, edited
from hypothesis import given, settings
from ir_models import Sizes, build, sizes

from echoloom.ir.increments import increments
from echoloom.ir.interpret import Machine
from echoloom.ir.linearity import is_affine
from echoloom.ir.ops import Op, Requant
from echoloom.ir.parser import parse
from echoloom.ir.program import Body, Graph, Program
from echoloom.ir.real import REAL_RULES
from echoloom.ir.sections import Section

CODE = """
program graph
forward_step:
  frame q : real[3]
  frame u : real[3]
  frame k : real[3,3]
  %zero = constant() {value=0.0} : real[3]
  %kq = matvec(k, q) : real[3]
  %back = tmatvec(k, %kq) : real[3]
  %third = scale(%back) {factor=0.3} : real[3]
  %moved = sub(%third, u) : real[3]
  %gated = mul(u, %kq) : real[3]
  %bent_gate = table(u) {function=tanh, segment_bits=0, range_bits=0} : real[3]
  %by_gate = mul(%bent_gate, q) : real[3]
  %outer = outer(u, q) : real[3,3]
  %square = mul(q, q) : real[3]
  %product = mul(q, %kq) : real[3]
  %bent = table(%kq) {function=tanh, segment_bits=0, range_bits=0} : real[3]
  %later = add(%bent, u) : real[3]
  %outer_square = outer(q, %gated) : real[3,3]
  %shrunk = scale(%square) {factor=0.5} : real[3]
"""
AFFINE = {
    "zero", "kq", "back", "third", "moved", "gated", "bent_gate", "by_gate", "outer", "q", "u",
}  # fmt: skip
IN_U = {
    "zero", "kq", "back", "third", "moved", "gated", "outer", "square", "product", "bent", "later",
    "outer_square", "shrunk", "q", "u",
}  # fmt: skip


def graph() -> Graph:
    body = parse(CODE).bodies[0]
    names = [*(i.name for i in body.instrs), "q", "u"]
    return Graph(body.frame, body.instrs, tuple((n, n) for n in names))


def test_what_is_affine() -> None:
    g = graph()
    assert {name for name, _ in g.outputs if is_affine(g, name, "q")} == AFFINE
    assert {name for name, _ in g.outputs if is_affine(g, name, "u")} == IN_U


def test_affine_means_affine() -> None:
    """The value half way between two points is half way between their values; else it is not."""
    g = graph()
    random = np.random.default_rng(0)
    given_ = {d.name: random.normal(size=d.type.shape) for d in g.inputs}
    other = random.normal(size=3)
    seen = []
    for q in (given_["q"], other, (given_["q"] + other) / 2):
        program = Program("g", (), (), (), (), (Body(Section.FORWARD_STEP, g.inputs, g.instrs),))
        values: dict[str, np.ndarray] = {"q": q, "u": given_["u"]}
        machine = Machine(
            program, REAL_RULES, {}, observer=lambda s, i, n, v, to=values: to.__setitem__(n, v)
        )
        machine.run(Section.FORWARD_STEP, [{**given_, "q": q}])
        seen.append(values)
    for name, _ in g.outputs:
        start, end, middle = (values[name] for values in seen)
        assert np.allclose((start + end) / 2, middle, rtol=1e-12) == (name in AFFINE), name


@pytest.mark.parametrize(
    ("unit", "force", "velocity"),
    [("linear", True, True), ("massive", True, True), ("quartic", False, True)],
)
def test_units_that_are_curved(unit: str, force: bool, velocity: bool) -> None:
    for block in build(Sizes(unit=unit, complex=False)).graphs.blocks:
        assert is_affine(block.force, "f", "q") is force
        assert is_affine(block.velocity, "v", "p") is velocity


# Increments


def found(program: Program, section: Section = Section.FORWARD_STEP) -> frozenset[str]:
    body = program.body(section)
    return increments(body, program.types(body))


def test_increments_of_the_good_program() -> None:
    assert found(parse(GOOD)) == {"dq", "dp", "dq2", "push"}


HALF = f"%dq = requant(%half) {REQUANT} : Q(5,24)[2]"
NOT = {
    "a word that saturates": (HALF, f"%dq = requant(%half) {REQUANT} : Q(4,24)[2]"),
    "another exponent": (HALF, f"%dq = requant(%half) {REQUANT} : Q(6,23)[2]"),
    "a word of its own": (
        "  b0.free.q <- %q\n", "  %copy = requant(%dq) {rounding=half_even, overflow=saturate} "
        ": Q(4,24)[2]\n  b0.free.q <- %q\n"
    ),
    "on the wrong side": ("add(b0.free.q, %dq)", "add(%dq, b0.free.q)"),
    "no product": ("%half = scale(%v) {factor=0.5}", "%half = scale(u) {factor=0.5}"),
}  # fmt: skip


@pytest.mark.parametrize("case", NOT)
def test_what_is_no_increment(case: str) -> None:
    """Only the increment's own place is asked: the edited program need not be verified."""
    assert "dq" in found(parse(GOOD))
    assert "dq" not in found(edited(GOOD, *NOT[case]))


def test_one_bit_less_saturates_on_the_way() -> None:
    """The product has 46 bits, 18 of which are rounded away: 29 hold the rest, 28 may not."""
    program = parse(GOOD)
    types = program.types(program.body(Section.FORWARD_STEP))
    assert types["half"].q.width - (42 - 24) + 1 == types["dq"].q.width == 29


@given(sizes(("linear", "quartic", "massive")))
@settings(max_examples=8, deadline=None)
def test_exactly_the_quantisers_increments(s: Sizes) -> None:
    """It calls them `<sum>.rounded`, and nothing else is added without being stored."""
    program = build(s).quantised
    for body in program.bodies:
        rounded = {i.name for i in body.instrs if i.name.endswith(".rounded")}
        assert all(
            isinstance(i.attr, Requant) for i in body.instrs if i.name in rounded
        )  # fmt: skip
        assert increments(body, program.types(body)) == rounded
    assert any(i.op is Op.ADD for i in program.bodies[1].instrs)
