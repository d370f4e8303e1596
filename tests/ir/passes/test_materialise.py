"""Factors and addends become coefficients, and no number changes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from real_programs import programs, results, some_values

from echoloom.ir.ops import PRODUCTS, SUMS, Op, Scale
from echoloom.ir.parser import parse
from echoloom.ir.passes.materialise import materialise
from echoloom.ir.program import Program
from echoloom.ir.verifier import verify

CODE = """
program numbers
coefficient w : real[3]
accumulator sum {{scale=1.0}} : real{shape}
forward_step:
  frame x : real[3]
  frame y : real[1]
  frame z : real[]
  %both = outer(x, y) : real[3,1]
  %scaled = scale({operand}) {{factor={factor}}} : real{shape}
  accumulate sum += %scaled
"""


@pytest.mark.parametrize("factor", [3.0, -0.3, 2.0**-5 + 2.0**-20])
@pytest.mark.parametrize(
    ("operand", "shape", "held"), [("x", "[3]", (3,)), ("y", "[1]", (1,)),
                                   ("%both", "[3,1]", ()), ("z", "[]", ())]
)  # fmt: skip
def test_a_factor_becomes_a_coefficient(
    operand: str, shape: str, held: tuple[int, ...], factor: float
) -> None:
    before = verify(parse(CODE.format(operand=operand, shape=shape, factor=factor)))
    after, values = materialise(before, {"w": np.ones(3)})
    verify(after)
    assert [i.op for i in after.bodies[0].instrs] == [Op.OUTER, Op.MUL]
    assert values["number.0"].tolist() == np.full(held, factor).tolist()
    same(before, after, values)


@pytest.mark.parametrize("factor", [1.0, -1.0, 0.5, -4.0, 2.0**-30])
def test_a_shift_stays_one(factor: float) -> None:
    before = parse(CODE.format(operand="x", shape="[3]", factor=factor))
    assert materialise(before, {"w": np.ones(3)}) == (before, {"w": pytest.approx(np.ones(3))})


def test_equal_factors_of_one_length_are_one_coefficient() -> None:
    text = CODE.format(operand="x", shape="[3]", factor=3.0).replace(
        "  accumulate",
        "  %again = scale(%scaled) {factor=3.0} : real[3]\n"
        "  %other = scale(y) {factor=3.0} : real[1]\n  accumulate",
    )
    after, values = materialise(verify(parse(text)), {"w": np.ones(3)})
    assert {n: v.shape for n, v in values.items()} == {
        "w": (3,), "number.0": (3,), "number.1": (1,)
    }  # fmt: skip
    same(parse(text), after, values)


ROLES = """
program roles
coefficient w : real[3]
coefficient b : real[3]
coefficient k : real[3,3]
forward_step:
  frame x : real[3]
  %wx = mul(w, x) : real[3]
  %kx = matvec(k, %wx) : real[3]
  %moved = add(%kx, w) : real[3]
  %turned = sub(b, %moved) : real[3]
  emit %turned
"""


def test_a_coefficient_in_two_roles_becomes_two() -> None:
    before = verify(parse(ROLES))
    values = {"w": np.array([1.0, 2.0, 3.0]), "b": np.ones(3), "k": np.eye(3)}
    after, held = materialise(before, values)
    verify(after)
    assert [d.name for d in after.coefficients] == ["w", "b", "k", "w.addend"]
    assert [i.args for i in after.bodies[0].instrs if "w.addend" in i.args] == [("kx", "w.addend")]
    assert held["w.addend"] is held["w"] and "b.addend" not in held
    same(before, after, held)


def roles(program: Program, kind: frozenset[Op]) -> set[str]:
    own = {d.name for d in program.coefficients}
    return {a for b in program.bodies for i in b.instrs if i.op in kind for a in i.args} & own


def same(before: Program, after: Program, values: dict[str, np.ndarray]) -> None:
    """To the last bit: the same numbers are multiplied and added."""
    given_, frames = some_values(before, 0)
    given_ |= {n: v for n, v in values.items() if n.startswith("number.")}
    given_ |= {n: given_[n.removesuffix(".addend")] for n in values if n.endswith(".addend")}
    emitted, sums = results(before, given_, frames)
    emitted_after, sums_after = results(after, given_, frames)
    for old, new in zip(emitted, emitted_after, strict=True):
        np.testing.assert_array_equal(new, old)
    assert sums.keys() == sums_after.keys()
    for name in sums:
        np.testing.assert_array_equal(sums_after[name], sums[name])


@given(programs(), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_random_code_keeps_its_numbers(before: Program, seed: int) -> None:
    after, held = materialise(before, some_values(before, seed)[0])
    verify(after)
    assert {d.name for d in after.coefficients} == held.keys()
    assert all(held[d.name].shape == d.type.shape for d in after.coefficients)
    assert not roles(after, PRODUCTS) & roles(after, SUMS)
    factors = [i.attr.factor for i in after.bodies[0].instrs if isinstance(i.attr, Scale)]
    assert all(math.frexp(abs(f))[0] == 0.5 for f in factors)
    same(before, after, held)
    assert materialise(after, held)[0] == after, "there is nothing left to do"
