"""Number formats and shapes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echoloom.ir.formats import Q, Real, Type, largest, real


def test_text() -> None:
    assert str(Q(28, 22)) == "Q(6,22)"
    assert str(Q(28, 31)) == "Q(-3,31)"
    assert str(Q(8, -2)) == "Q(10,-2)"
    assert str(Q(18, (17, 16))) == "Q(18:17,16)"
    assert str(Type((3, 2), Q(18, 17))) == "Q(1,17)[3,2]"
    assert str(Type((3, 2), Q(18, 17, (4, 0)))) == "Q(1,17;4,0)[3,2]"
    assert str(Q(18, (17, 16), (4, 0))) == "Q(18:17,16;4,0)"
    assert str(real()) == "real[]"


def test_one_exponent_or_one_per_element() -> None:
    one, each = Q(18, 17), Q(18, (17, 16))
    assert not one.per_element and one.scalar_frac == 17 and one.fracs == (17,)
    assert each.per_element and each.fracs == (17, 16)
    message = r"Q\(18:17,16\) has one exponent per element where a single one is needed"
    with pytest.raises(TypeError, match=message):
        _ = each.scalar_frac


def test_exponents_of_columns() -> None:
    """They stand beside the format's own, the least of them as 0, and none where all are equal."""
    q = Q(18, 3).with_columns((7, 4))
    assert q == Q(18, 7, (3, 0)) and q.per_element
    assert q.grid.tolist() == [10, 7] and q.fracs == (10, 7)
    assert Q(18, (3, 5)).with_columns((7, 4)).grid.tolist() == [[10, 7], [12, 9]]
    assert Q(18, 3).with_columns((4, 4)) == Q(18, 7)
    assert q.shifted(-2) == Q(18, 5, (3, 0))
    with pytest.raises(TypeError, match=r"Q\(11,7;3,0\) has one exponent per element"):
        _ = q.scalar_frac


def test_a_word_has_bits() -> None:
    with pytest.raises(ValueError, match="at least one bit, got width 0"):
        Q(0, 3)


def test_a_real_type_has_no_bits() -> None:
    assert real(3) == Type((3,), Real())
    with pytest.raises(TypeError, match=r"real\[3\] is not quantised yet"):
        _ = real(3).q


def test_size() -> None:
    assert real().size == 1
    assert real(3, 4).size == 12


@given(st.integers(1, 63), st.integers(-50, 50), st.integers(-50, 50))
def test_shifting_moves_the_point_only(width: int, frac: int, by: int) -> None:
    assert Q(width, frac).shifted(by) == Q(width, frac + by)
    assert Q(width, (frac, 3)).shifted(by) == Q(width, (frac + by, 3 + by))


@given(st.integers(1, 63))
def test_the_largest_word_is_symmetric(width: int) -> None:
    assert largest(width) == 2 ** (width - 1) - 1
