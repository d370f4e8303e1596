"""Where values provably lie, and what becomes of functions with a pole there."""

from __future__ import annotations

import math

import numpy as np
import pytest

from echoloom.ir.formats import Q, real
from echoloom.ir.functions import FUNCTIONS
from echoloom.ir.intervals import intervals
from echoloom.ir.ops import Constant, Op, Scale, Table
from echoloom.ir.program import Instr
from echoloom.ir.tables import segment_bits

ROUNDING = 1e-12


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("ends", [(0.25, 0.5), (0.01, 3.0), (-2.0, 3.0), (-0.5, -0.1)])
def test_a_function_stays_in_its_interval(name: str, ends: tuple[float, float]) -> None:
    lo, hi = FUNCTIONS[name].image(*ends)
    x = np.linspace(*ends, 1001)
    if FUNCTIONS[name].positive and ends[0] <= 0.0:
        assert (lo, hi) == (-math.inf, math.inf)
        return
    values = FUNCTIONS[name].evaluate(x)
    assert lo - ROUNDING <= values.min()
    assert values.max() <= hi + ROUNDING


def test_code_of_a_relativistic_root() -> None:
    """1 + p^2 is at least 1 whatever p is; its reciprocal root lies in (0, 1]."""
    code = [
        Instr("s", Op.MUL, ("p", "p"), real(3)),
        Instr("one", Op.CONSTANT, (), real(3), Constant(1.0)),
        Instr("e", Op.ADD, ("s", "one"), real(3)),
        Instr("r", Op.TABLE, ("e",), real(3), Table("rsqrt")),
    ]
    found = intervals(code, {})
    assert found["e"] == (1.0, math.inf)
    assert found["r"] == (0.0, 1.0)


def test_sums_and_products_of_bounded_values() -> None:
    code = [
        Instr("t", Op.TABLE, ("x",), real(2), Table("tanh")),
        Instr("m", Op.SCALE, ("t",), real(2), Scale(-3.0)),
        Instr("d", Op.SUB, ("m", "t"), real(2)),
        Instr("w", Op.MATVEC, ("W", "t"), real(1)),
        Instr("c", Op.MUL, ("k", "t"), real(2)),
        Instr("b", Op.TMATVEC, ("W", "w"), real(2)),
        Instr("free", Op.MUL, ("x", "t"), real(2)),
    ]
    held = {"W": np.array([[1.0, -2.0]]), "k": np.array([-4.0, 2.0])}
    found = intervals(code, held)
    assert found["m"] == (-3.0, 3.0)
    assert found["d"] == (-4.0, 4.0)
    assert found["w"] == (-3.0, 3.0)
    assert found["c"] == (-4.0, 4.0)
    assert found["b"] == (-6.0, 6.0)
    assert found["free"] == (-math.inf, math.inf)


@pytest.mark.parametrize("name", [n for n, f in FUNCTIONS.items() if f.positive])
def test_a_pole_is_a_segment_away_or_refused(name: str) -> None:
    source = Q(28, 24)  # reaches 8
    segment = 16 / 2**11
    assert segment_bits(name, source, 4.0, 11, segment) == 11
    assert 16 / 2 ** segment_bits(name, source, 1.0, 11, 4.0) <= 4.0
    with pytest.raises(
        ValueError, match=rf"argument of {name} may be as small as 0.0078, .*0.0078"
    ):
        segment_bits(name, source, 4.0, 11, 0.999 * segment)
