"""Exact operations lose no bit: checked with rational numbers against the declared format."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echoloom.ir.exact import InvalidProgram, exact_type
from echoloom.ir.formats import Q, Type, largest, real
from echoloom.ir.ops import Op, Scale

Numbers = np.ndarray  # of Fraction or int objects

MEANING: dict[Op, Callable[[Numbers, Numbers], Any]] = {
    Op.ADD: lambda a, b: a + b,
    Op.SUB: lambda a, b: a - b,
    Op.MUL: lambda a, b: a * b,
    Op.MATVEC: lambda a, b: a @ b,
    Op.TMATVEC: lambda a, b: a.T @ b,
    Op.OUTER: lambda a, b: a[:, None] * b[None, :],
}
WIDTHS = st.integers(1, 30)
FRACS = st.integers(-20, 50)  # with these widths often below, or far above, the point


def formats(elements: int | None = None) -> st.SearchStrategy[Q]:
    """One exponent, or one for each of `elements`."""
    single = st.builds(Q, WIDTHS, FRACS)
    if elements is None:
        return single
    each = st.lists(FRACS, min_size=elements, max_size=elements).map(tuple)
    return single | st.builds(Q, WIDTHS, each)


@st.composite
def words(draw: st.DrawFn, type_: Type) -> Numbers:
    """Words of the full two's complement range, the extremes often."""
    top = largest(type_.q.width)
    word = st.sampled_from((-top - 1, top)) | st.integers(-top - 1, top)
    flat = draw(st.lists(word, min_size=type_.size, max_size=type_.size))
    return np.array(flat, dtype=object).reshape(type_.shape)


def meaning(values: Numbers, q: Q) -> Numbers:
    """Words as exact rational numbers."""
    scale = np.vectorize(lambda f: Fraction(2) ** -int(f), otypes=[object])(
        exponents(Type(np.shape(values), q))
    )
    return np.vectorize(Fraction, otypes=[object])(values) * scale


def exponents(type_: Type) -> Numbers:
    """Every element's: those of axis 0, and those of the columns."""
    rows = np.reshape(type_.q.frac, (-1, *(1,) * (len(type_.shape) - 1)))
    if not type_.shape:
        rows = rows.reshape(())
    return np.broadcast_to(rows + np.array(type_.q.columns or 0), type_.shape)


def check(type_: Type, exact: Any) -> None:
    """Every exact number is a word of the declared width at the declared exponent."""
    assert np.shape(exact) == type_.shape
    q = type_.q
    flat = np.reshape(np.array(exact, dtype=object), -1)
    for number, frac in zip(flat, exponents(type_).reshape(-1), strict=True):
        word = number * Fraction(2) ** int(frac)
        assert Fraction(word).denominator == 1, "bits were lost below"
        assert -(1 << (q.width - 1)) <= word < 1 << (q.width - 1), "bits were lost above"


@st.composite
def operands(draw: st.DrawFn, op: Op) -> tuple[Type, Type]:
    rows, columns = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    if op is Op.MATVEC and draw(st.booleans()):
        # Exponents of the vector's elements, for which the columns make up.
        moved = draw(st.lists(FRACS, min_size=columns, max_size=columns))
        matrix, width, own = draw(formats(rows)), draw(WIDTHS), draw(FRACS)
        matrix = matrix.with_columns([own - m for m in moved])
        return Type((rows, columns), matrix), Type((columns,), Q(width, tuple(moved)))
    if op in (Op.MATVEC, Op.TMATVEC):
        a = Type((rows, columns), draw(formats(rows if op is Op.MATVEC else None)))
        return a, Type((columns if op is Op.MATVEC else rows,), draw(formats()))
    if op is Op.OUTER:
        return Type((rows,), draw(formats(rows))), Type((columns,), draw(formats(columns)))
    if op is Op.MUL:
        a, b = Type((rows,), draw(formats(rows))), Type((rows,), draw(formats()))
        b = draw(st.sampled_from((b, Type((), b.q))))
        return draw(st.sampled_from(((a, b), (b, a))))
    a, b = Type((rows,), draw(formats())), Type((rows,), draw(formats()))
    return a, draw(st.sampled_from((b, Type((), b.q))))


@pytest.mark.parametrize("op", MEANING, ids=lambda op: op.value)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_nothing_is_lost(op: Op, data: st.DataObject) -> None:
    a, b = data.draw(operands(op))
    left, right = data.draw(words(a)), data.draw(words(b))
    exact = MEANING[op](meaning(left, a.q), meaning(right, b.q))
    check(exact_type(op, [a, b]), exact)


@given(st.data(), st.integers(-30, 30), st.booleans())
def test_scaling_by_a_power_of_two_moves_the_point(
    data: st.DataObject, power: int, negative: bool
) -> None:
    a = Type((3,), data.draw(formats(3)))
    # The negation of the most negative word is the one thing that does not fit: words are
    # symmetric unless an overflow was flagged.
    left = np.array([max(-largest(a.q.width), w) for w in data.draw(words(a))], dtype=object)
    factor = (-1.0 if negative else 1.0) * 2.0**power
    check(exact_type(Op.SCALE, [a], Scale(factor)), meaning(left, a.q) * Fraction(factor))


def test_widths_are_the_smallest_that_hold_the_extremes() -> None:
    """A bit less would lose the extremes of a sum or a product of symmetric words."""
    q = Type((4,), Q(8, 3))
    assert exact_type(Op.ADD, [q, q]).q == Q(9, 3)
    assert exact_type(Op.MUL, [q, q]).q == Q(16, 6)
    assert exact_type(Op.MATVEC, [Type((2, 4), Q(8, 3)), q]).q == Q(18, 6)
    assert exact_type(Op.ADD, [q, Type((4,), Q(8, 0))]).q == Q(12, 3)


def test_real_stays_real() -> None:
    assert exact_type(Op.MATVEC, [real(3, 2), real(2)]) == real(3)
    assert exact_type(Op.SCALE, [real(3)], Scale(0.3)) == real(3)


EACH, ONE = Q(18, (3, 4)), Q(18, 3)

REFUSED = {
    "add of per-element": (Op.ADD, [Type((2,), EACH), Type((2,), ONE)], "add needs one exponent"),
    "row sums over columns of several exponents": (
        Op.MATVEC, [Type((3, 2), ONE), Type((2,), EACH)], "matvec adds up terms of different exp"
    ),
    "columns that do not make up for the vector's exponents": (
        Op.MATVEC, [Type((3, 2), ONE.with_columns((0, 1))), Type((2,), EACH)],
        "matvec adds up terms of different exponents",
    ),
    "column sums of a matrix whose columns have exponents": (
        Op.TMATVEC, [Type((2, 3), ONE.with_columns((0, 1, 1))), Type((2,), ONE)],
        "tmatvec needs one exponent",
    ),
    "column sums over rows of several exponents": (
        Op.TMATVEC, [Type((2, 3), EACH), Type((2,), ONE)], "tmatvec needs one exponent"
    ),
    "two of them": (
        Op.MUL, [Type((2,), EACH), Type((2,), EACH)],
        "a product of two values with per-element exponents",
    ),
    "a table": (Op.TABLE, [Type((2,), ONE)], "table has no exact type"),
    "shapes": (Op.ADD, [Type((2,), ONE), Type((3,), ONE)], r"add does not take shapes \(2,\), \(3"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case: str) -> None:
    op, types, message = REFUSED[case]
    with pytest.raises(InvalidProgram, match=message):
        exact_type(op, types)
