"""Exponents of an input's channels and of the columns that they meet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from ir_models import Sizes, build

from echoloom.ir.parser import parse
from echoloom.ir.passes.channels import NEAR, audible, exponents, met_matrices

EXPONENTS = st.lists(
    st.tuples(st.none() | st.integers(-60, 60), st.none() | st.integers(-60, 60)),
    min_size=1,
    max_size=5,
)


def coarsest(channels: Sequence[int | None]) -> int:
    return min((c for c in channels if c is not None), default=0)


@given(EXPONENTS)
def test_every_product_has_one_exponent_and_everything_fits(
    pairs: list[tuple[int | None, int | None]],
) -> None:
    channels, columns = [p[0] for p in pairs], [p[1] for p in pairs]
    found = exponents(channels, columns, coarsest(channels), 8, 13)
    if found is None:
        return
    own, beside = found
    live = [a + b for a, b in pairs if a is not None and b is not None]
    # The finest that all can have: that of the channel whose product is largest.
    assert {a + b for a, b in zip(own, beside, strict=True)} == {min(live)}
    for chosen, finest in (*zip(own, channels, strict=True), *zip(beside, columns, strict=True)):
        assert finest is None or chosen <= finest
    for chosen, finest in zip(own, channels, strict=True):
        assert finest is None or chosen >= finest - 13
    assert any(abs(chosen - coarsest(channels)) > NEAR for chosen in own)


@given(EXPONENTS, st.lists(st.integers(-30, 30), min_size=5, max_size=5))
def test_channels_and_columns_that_move_against_each_other_change_no_word(
    pairs: list[tuple[int | None, int | None]], moves: list[int]
) -> None:
    """x_j 2^k and W_j 2^-k: all that is heard keeps its words, so only the exponents move."""
    heard = [(a, b) for a, b in pairs if a is not None and b is not None]
    channels, columns = [p[0] for p in heard], [p[1] for p in heard]
    moved = [c - k for c, k in zip(channels, moves, strict=False)]
    against = [c + k for c, k in zip(columns, moves, strict=False)]
    one = exponents(channels, columns, coarsest(channels), 8, 13)
    other = exponents(moved, against, coarsest(moved), 8, 13)
    if one is not None and other is not None:
        assert other[0] == tuple(c - k for c, k in zip(one[0], moves, strict=False))
        assert other[1] == tuple(c + k for c, k in zip(one[1], moves, strict=False))


def test_slack_is_taken_from_the_wide_word_first_and_then_from_both() -> None:
    """The second channel's product has exponent 30 + slack where all others have 30."""
    for slack, channel in ((5, 35), (8, 32), (12, 30), (18, 27), (40, 27)):
        found = exponents([20, 40], [10, slack - 10], 20, 8, 13)
        assert found == ((20, channel), (10, 30 - channel))


def test_equal_silent_and_absent_channels_have_no_exponents() -> None:
    assert exponents([20, 20 + NEAR], [10, 10], 20, 8, 13) is None  # near enough
    assert exponents([20], [10], 20, 8, 13) is None
    assert exponents([20, None], [10, 10], 20, 8, 13) is None
    assert exponents([20, 20], [10, None], 20, 8, 13) is None
    assert exponents([None, None], [10, 10], 20, 8, 13) is None
    assert exponents([20, 20], [None, None], 20, 8, 13) is None
    # A silent channel goes with the coarsest, unless its column is too large for that.
    assert exponents([20, 40, None], [30, 10, 31], 20, 8, 13) == ((20, 40, 20), (30, 10, 30))
    assert exponents([20, 40, None], [30, 10, 20], 20, 8, 13) == ((20, 40, 30), (30, 10, 20))


def test_channels_of_rounding_noise_count_as_silent() -> None:
    sizes = np.array([1e3, 1e-3, 1e-40, 0.0])
    assert audible(sizes).tolist() == [1e3, 1e-3, 0.0, 0.0]
    assert audible(np.zeros(2)).tolist() == [0.0, 0.0]


PROGRAM = """
program p
coefficient w : real[2,3]
coefficient v : real[2,3]
state s : real[2]
accumulator a {scale=1.0, target=w} : real[2,3]
forward_step:
  frame x : real[3]
  %y = matvec(w, x) : real[2]
  %o = outer(%y, x) : real[2,3]
  accumulate a += %o
  emit %y
"""


def test_which_inputs_may_have_exponents() -> None:
    """Those of one learned matrix, and of nothing else that an exponent would matter to."""
    assert met_matrices(parse(PROGRAM)) == {"x": "w"}
    for old, new in (
        ("matvec(w, x)", "matvec(v, x)"),  # learns nothing
        ("outer(%y, x)", "outer(x, %y)"),
        ("  emit %y", "  %z = matvec(v, x) : real[2]\n  emit %y"),
        ("  emit %y", "  %z = tmatvec(w, %y) : real[3]\n  emit %y"),
        ("  emit %y", "  %z = add(x, x) : real[3]\n  emit %y"),
    ):
        assert old in PROGRAM and met_matrices(parse(PROGRAM.replace(old, new))) == {}


def test_targets_of_a_regression_have_none() -> None:
    """They meet a matrix that only brings them into the lanes."""
    held = build(Sizes(task="regression")).held
    assert met_matrices(held) == {"x": "encoder.weight"}
