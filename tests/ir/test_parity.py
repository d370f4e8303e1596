"""What depends on what, and what is odd: on traced units and on small graphs written as text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_models import Sizes, build

from echoloom.frontend.energy.trace import trace
from echoloom.ir.interpret import Machine
from echoloom.ir.parity import Parity, analyse, descendants
from echoloom.ir.parser import parse
from echoloom.ir.program import Body, Declaration, Graph, Program
from echoloom.ir.real import REAL_RULES
from echoloom.ir.sections import Section

CODE = """
program units
forward_step:
  frame p : real[3]
  frame q : real[3]
  frame w : real[3,3]
  frame ones : real[1,3]
  %zero = constant() {value=0.0} : real[3]
  %one = constant() {value=1.0} : real[3]
  %wp = matvec(w, p) : real[3]
  %back = tmatvec(w, %wp) : real[3]
  %square = mul(p, %wp) : real[3]
  %cube = mul(%square, p) : real[3]
  %scaled = scale(%cube) {factor=-0.3} : real[3]
  %sum = add(%wp, %scaled) : real[3]
  %mixed = add(%wp, %square) : real[3]
  %shifted = sub(%wp, %one) : real[3]
  %saturated = table(%sum) {function=tanh, segment_bits=0, range_bits=3} : real[3]
  %squashed = table(%sum) {function=sigmoid, segment_bits=0, range_bits=4} : real[3]
  %even_table = table(%square) {function=sigmoid, segment_bits=0, range_bits=4} : real[3]
  %weighted = mul(%even_table, %wp) : real[3]
  %pq = mul(p, q) : real[3]
  %dot = matvec(ones, %pq) : real[1]
  %square_dot = matvec(ones, %square) : real[1]
  %outer = outer(p, q) : real[3,3]
  %rest = sub(%wp, %zero) : real[3]
  %nothing = mul(%zero, %mixed) : real[3]
  %cancelled = sub(%square, %square) : real[3]
"""

ODD = {
    "wp", "back", "cube", "scaled", "sum", "saturated", "weighted", "pq", "dot", "outer", "rest",
    "zero", "nothing",
}  # fmt: skip
FREE_OF_P = {"zero", "one"}


def graph() -> Graph:
    body = parse(CODE).body(Section.FORWARD_STEP)
    outputs = tuple((i.name, i.name) for i in body.instrs)
    return Graph(body.frame, body.instrs, outputs)


def is_odd(g: Graph, output: str, input: str) -> bool:
    """Whether a result provably changes sign when an input does, all other inputs held."""
    parities = analyse(g.instrs, {input: Parity.ODD})
    return Parity.ODD in parities.get(dict(g.outputs)[output], Parity.EVEN)


def depends_on(g: Graph, output: str, input: str) -> bool:
    return dict(g.outputs)[output] in descendants(g.instrs, {input})


def test_what_is_odd() -> None:
    g = graph()
    assert {name for name, _ in g.outputs if is_odd(g, name, "p")} == ODD


def test_what_depends_on_an_input() -> None:
    g = graph()
    assert {name for name, _ in g.outputs if not depends_on(g, name, "p")} == FREE_OF_P
    reached = {name for name, _ in g.outputs if depends_on(g, name, "q")}
    assert reached == {"pq", "dot", "outer"}


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_odd_means_odd(seed: int) -> None:
    """Every graph value that is called odd changes sign with p, to the last bit."""
    g = graph()
    random = np.random.default_rng(seed)
    inputs = {d.name: random.normal(size=d.type.shape) for d in g.inputs}
    values: list[dict[str, np.ndarray]] = []
    for sign in (1.0, -1.0):
        seen: dict[str, np.ndarray] = {}
        program = Program("g", (), (), (), (), (Body(Section.FORWARD_STEP, g.inputs, g.instrs),))
        machine = Machine(
            program, REAL_RULES, {}, observer=lambda s, i, n, v, seen=seen: seen.__setitem__(n, v)
        )
        machine.run(Section.FORWARD_STEP, [{**inputs, "p": sign * inputs["p"]}])
        values.append(seen)
    for name in ODD:
        assert np.array_equal(values[0][name], -values[1][name]), name


@pytest.mark.parametrize("unit", ["linear", "quartic", "massive"])
def test_units_are_separable_and_even(unit: str) -> None:
    for block in build(Sizes(unit=unit, complex=False)).graphs.blocks:
        assert is_odd(block.velocity, "v", "p")
        assert depends_on(block.force, "f", "q")
        assert depends_on(block.force, "f", "u")


def test_a_velocity_with_a_bias_is_not_odd() -> None:
    biased = trace(lambda p: {"v": p + 0.5}, p=np.zeros(2)).graph
    assert not is_odd(biased, "v", "p")


def test_declared_inputs_are_enough() -> None:
    """A result that is an input itself, with no instruction at all."""
    g = Graph((Declaration("p", graph().inputs[0].type),), (), (("v", "p"), ("w", "q")))
    assert is_odd(g, "v", "p") and not is_odd(g, "w", "p")
    assert depends_on(g, "v", "p") and not depends_on(g, "w", "p")
