"""Ranges of sums that cancel."""

from __future__ import annotations

import numpy as np

from echoloom.ir.formats import real
from echoloom.ir.ops import Op, Scale
from echoloom.ir.passes.resolution import COEFFICIENTS, WORDS, with_floors
from echoloom.ir.program import Body, Instr
from echoloom.ir.sections import Section

ROW = np.array([[1.0, -1.0, 2.0]])


def body(*instrs: Instr) -> Body:
    return Body(Section.FORWARD_STEP, instrs=instrs)


def test_a_difference_is_no_finer_than_its_operands() -> None:
    code = body(Instr("d", Op.SUB, ("a", "b"), real(3)))
    assert with_floors(code, {"a": 4.0, "b": 2.0, "d": 1e-17}, {}) == {"d": 4.0 * WORDS}


def test_a_matrix_may_make_up_for_channels_of_different_sizes() -> None:
    """What its products with each channel can reach counts, not its largest with the largest."""
    code = body(Instr("y", Op.MATVEC, ("w", "x"), real(1)))
    held = {"w": np.array([[1e-3, -1e3]])}
    channels = {"x": np.array([1e3, 1e-3])}
    assert with_floors(code, {"x": 1e3, "y": 1e-9}, held, channels) == {"y": 2.0 * COEFFICIENTS}


def test_an_honest_range_stays() -> None:
    code = body(Instr("d", Op.SUB, ("a", "b"), real(3)), Instr("y", Op.MATVEC, ("w", "d"), real(1)))
    measured = {"a": 4.0, "b": 2.0, "d": 0.5, "y": 0.25}
    assert with_floors(code, measured, {"w": ROW}) == {"d": 0.5, "y": 0.25}


def test_a_matrix_product_that_cancels() -> None:
    code = body(Instr("y", Op.MATVEC, ("w", "x"), real(1)))
    assert with_floors(code, {"x": 3.0, "y": 1e-16}, {"w": ROW}) == {"y": 12.0 * COEFFICIENTS}


def test_what_follows_is_lifted_too() -> None:
    code = body(
        Instr("d", Op.SUB, ("a", "b"), real(3)),
        Instr("s", Op.SCALE, ("d",), real(3), Scale(-2.0)),
        Instr("m", Op.MUL, ("c", "s"), real(3)),
        Instr("y", Op.MATVEC, ("w", "m"), real(1)),
    )
    coefficients = {"w": ROW, "c": np.array([0.5, -3.0, 1.0])}
    found = with_floors(code, {"a": 1.0, "b": 1.0}, coefficients)
    floor = WORDS
    assert found == {"d": floor, "s": 2 * floor, "m": 6 * floor, "y": 24 * floor}


def test_an_addend_counts() -> None:
    code = body(Instr("d", Op.ADD, ("c", "a"), real(3)))
    assert with_floors(code, {"a": 1.0}, {"c": np.array([8.0, 0.0, 0.0])}) == {"d": 8.0 * WORDS}
