"""Function tables: what they state about their errors, how they are chosen, what they share."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from echoloom.ir.arithmetic import piecewise_linear, table_segment
from echoloom.ir.contract import EngineConfig
from echoloom.ir.formats import Q, Type, largest
from echoloom.ir.functions import FUNCTIONS, Parity
from echoloom.ir.ops import Op, Table
from echoloom.ir.passes.entries import share
from echoloom.ir.passes.tasks import Drain, Task
from echoloom.ir.program import Instr
from echoloom.ir.tables import (
    FEWEST_SEGMENTS,
    GOAL,
    TableContents,
    range_bits,
    segment_bits,
    table_key,
    tabulate,
)

NAMES = sorted(FUNCTIONS)
WHOLE = [n for n in NAMES if not FUNCTIONS[n].positive]  # defined everywhere
SYMMETRIC = [n for n in NAMES if FUNCTIONS[n].parity is not Parity.UNKNOWN]
TAILED = [n for n in NAMES if FUNCTIONS[n].tails is not None]
SLOPE = 18


def table(name: str, bits: int, source: Q, target: Q) -> TableContents:
    return tabulate(Table(name, bits, range_bits(name, source)), source, target, SLOPE)


def look_up(t: TableContents, words: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    return piecewise_linear(
        words, t.base, t.slope, segment_bits=t.segment_bits, fraction_bits=t.fraction_bits,
        slope_shift=t.slope_shift, word=width,
    )  # fmt: skip


def real(words: np.ndarray, q: Q) -> NDArray[np.float64]:
    return np.ldexp(words.astype(np.float64), -q.scalar_frac)


def inside(name: str, source: Q) -> np.ndarray:
    """Every word of `source` that lies in the table's range."""
    half = 1 << (source.scalar_frac + range_bits(name, source))
    return np.arange(-half, half)


def true(name: str, x: np.ndarray) -> np.ndarray:
    return FUNCTIONS[name].evaluate(x)


# Errors


def with_32_words_a_segment(name: str, bits: int) -> Q:
    """An input of at most 16 bits; it reaches beyond straight tails, where there are some."""
    tails = FUNCTIONS[name].tails
    frac = bits + 4 - (2 if tails is None else tails.reach_bits)
    return Q(frac + 3 if tails is None else bits + 7, frac)


@pytest.mark.parametrize(("integer", "finer"), [(14, 5), (5, 2), (3, 2), (2, 0)], ids=str)
@pytest.mark.parametrize("bits", [5, 7, 9])
@pytest.mark.parametrize("name", NAMES)
def test_the_stated_error_is_the_measured_one(
    name: str, bits: int, integer: int, finer: int
) -> None:
    """Every input word of the range: the line's error to the last bit, and the word's."""
    source = with_32_words_a_segment(name, bits)
    frac = source.scalar_frac + finer
    target = Q(integer + frac, frac)
    t = table(name, bits, source, target)
    words = inside(name, source)
    assert len(words) == 32 << bits and t.fraction_bits == 5
    if FUNCTIONS[name].positive:
        words = words[words >= 1 << t.fraction_bits]  # below, it is level: it has a pole at 0
    exact = true(name, real(words, source))
    end = largest(target.width)
    held = np.abs(exact) <= end * 2.0**-target.scalar_frac
    words, exact = words[held], exact[held]
    segment = table_segment(words, bits, t.fraction_bits)
    rest = words - (segment << t.fraction_bits)
    half = 1 << (bits - 1)
    base, slope = (np.array(v, np.float64)[segment + half] for v in (t.base, t.slope))
    line = base + slope * rest * 2.0**-t.slope_shift  # exact: 28 bits, and 23 below the point
    error = np.abs(line * 2.0**-target.scalar_frac - exact)
    assert error.max() == pytest.approx(t.worst_error, rel=1e-9, abs=1e-15)
    found, _ = look_up(t, words, target.width)
    unit = 2.0**-target.scalar_frac
    assert np.abs(real(found, target) - exact).max() <= t.worst_error + unit / 2 * (1 + 1e-9)


WORST = {"erf": 1.6e-5, "sigmoid": 2.4e-5, "relu": 0.0, "unit_step": 0.0}
WORST |= dict.fromkeys(("gelu", "gelu_slope", "gelu_tanh", "gelu_tanh_slope", "tanh"), 5e-5)
WORST |= dict.fromkeys(("sin", "cos", "softplus", "log_cosh"), 6.25e-5)


@pytest.mark.parametrize("target", [Q(28, 20), Q(28, 24), Q(18, 14), Q(28, 16)], ids=str)
@pytest.mark.parametrize("source", [Q(28, 20), Q(28, 23), Q(28, 24), Q(28, 25)], ids=str)
@pytest.mark.parametrize("name", WORST)
def test_errors_of_the_usual_tables(name: str, source: Q, target: Q) -> None:
    """512 segments; those without straight tails reach to +-8 or +-4, and the words of others
    beyond their tails, just to them, or not as far."""
    if name not in TAILED and source.scalar_frac < 24:
        return
    unit = 2.0**-target.scalar_frac
    worst = table(name, 9, source, target).worst_error
    assert worst <= WORST[name] + (2 if name in SYMMETRIC else 0.5) * unit


@pytest.mark.parametrize("target", [Q(12, 9), Q(12, 11), Q(20, 8)], ids=str)
@pytest.mark.parametrize("name", WHOLE)
def test_what_lies_outside_the_results_word_saturates(name: str, target: Q) -> None:
    """Where a result does not fit, it is the largest word of its sign, but in the one segment in
    which the function crosses the end."""
    source = Q(16, 10)
    t = table(name, 9, source, target)
    words = np.arange(-(1 << 15) + 1, 1 << 15)
    exact = true(name, real(words, source))
    end = largest(target.width)
    top = end * 2.0**-target.scalar_frac
    segment = table_segment(words, 9, t.fraction_bits)
    crossing = set(segment[np.abs(exact) <= top].tolist())
    beyond = (np.abs(exact) > top * 1.01) & ~np.isin(segment, sorted(crossing))
    found, clamped = look_up(t, words, target.width)
    step = max(2, 1 << max(t.fraction_bits - t.slope_shift, 0))  # of symmetric tables
    assert (found * np.sign(exact) >= end - step)[beyond].all()
    if FUNCTIONS[name].bound is None and FUNCTIONS[name].parity is Parity.UNKNOWN:
        within = words & 1 << (t.fraction_bits - 1) != 0  # in the second half of a segment
        assert clamped[beyond & within].all(), "and says so"


def test_a_function_that_leaves_every_word_is_still_a_table() -> None:
    """exp of up to 2048 is no float64."""
    t = table("exp", 9, Q(16, 4), Q(12, 0))
    limit = 1 << (SLOPE - 1)
    assert max(map(abs, t.slope)) < limit and max(map(abs, t.base)) <= largest(12)
    found, _ = look_up(t, np.array([1 << 14, (1 << 15) - 1]), 12)
    assert found.tolist() == [largest(12), largest(12)]


# Symmetry


@pytest.mark.parametrize(
    ("integer", "finer"), [(20, 6), (8, 8), (2, 2), (1, 6), (-1, 7), (3, -2)], ids=str
)
@pytest.mark.parametrize("frac", [4, 9, 12, 15])
@pytest.mark.parametrize("name", SYMMETRIC)
def test_odd_is_odd_and_even_is_even(name: str, frac: int, integer: int, finer: int) -> None:
    """Every word, far beyond the tails and beyond the result's word as well, at every size."""
    source, target = Q(14, frac), Q(integer + frac + finer, frac + finer)
    words = np.arange(1, 1 << 13)
    sign = -1 if FUNCTIONS[name].parity is Parity.ODD else 1
    finest = source.scalar_frac + range_bits(name, source) + 1
    for bits in (b for b in (1, 2, 3, 5, 6, 8, 9, 11) if b <= finest):
        t = table(name, bits, source, target)
        right, clamped = look_up(t, words, target.width)
        left, also = look_up(t, -words, target.width)
        np.testing.assert_array_equal(left, sign * right)
        np.testing.assert_array_equal(also, clamped)
        if sign < 0:
            assert look_up(t, np.zeros(1, int), target.width)[0] == 0


@given(
    st.sampled_from(SYMMETRIC), st.integers(6, 14), st.integers(-2, 18), st.integers(8, 28),
    st.integers(-4, 30), st.integers(1, 11), st.integers(10, 18),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_symmetry_at_any_format(
    name: str, width: int, frac: int, wide: int, out: int, bits: int, slopes: int
) -> None:
    source, target = Q(width, frac), Q(wide, out)
    bits = min(bits, frac + range_bits(name, source) + 1)
    if bits < 1:
        return
    try:
        t = tabulate(Table(name, bits, range_bits(name, source)), source, target, slopes)
    except ValueError as error:
        if "its slopes would need a shift" in str(error):
            return
        raise
    assert max(map(abs, t.slope)) < 1 << (slopes - 1) and max(map(abs, t.base)) <= largest(wide)
    words = np.arange(1, 1 << (width - 1))
    right, left = (look_up(t, w, wide)[0] for w in (words, -words))
    assert np.array_equal(left, -right if FUNCTIONS[name].parity is Parity.ODD else right)


# Tails


@pytest.mark.parametrize("name", TAILED)
def test_tails_are_straight_and_right(name: str) -> None:
    """Far beyond the range, in both directions, up to the ends of a 28-bit word."""
    source, target = Q(28, 18), Q(40, 16)
    t = table(name, 9, source, target)
    end = 1 << (range_bits(name, source) + 18)
    for low, high in ((end, largest(28)), (-largest(28), -end)):
        words = np.unique(np.linspace(low, high, 2001).astype(np.int64))
        found, clamped = look_up(t, words, 40)
        assert not clamped.any()
        error = np.abs(real(found, target) - true(name, real(words, source)))
        assert error.max() <= t.worst_error + 2.0**-17


@pytest.mark.parametrize("source", [Q(28, 22), Q(18, 15), Q(14, 13), Q(12, 14)], ids=str)
def test_corners_are_sharp(source: Q) -> None:
    """relu and its slope, one unit to either side of the corner."""
    words = np.array([-1, 0, 1])
    target = Q(28, 24)
    bits = segment_bits("relu", source, 8.0, 11)
    found, _ = look_up(table("relu", bits, source, target), words, 28)
    assert found.tolist() == [0, 0, 1 << (24 - source.scalar_frac)]
    found, _ = look_up(table("unit_step", bits, source, target), words, 28)
    assert found.tolist() == [0, 1 << 24, 1 << 24]


def test_words_of_a_silent_channel_have_a_corner_too() -> None:
    """Their unit is 2**-39 or less, and the slopes' shift longer than a product can be shifted."""
    source, words = Q(28, 39), np.array([-1, 0, 1])
    found, _ = look_up(table("unit_step", 5, source, Q(18, 16)), words, 18)
    assert found.tolist() == [0, 1 << 16, 1 << 16]


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "erf"])
def test_a_monotone_function_has_a_monotone_table(name: str) -> None:
    """To within the rounding of a base word where two lines meet."""
    t = table(name, 9, Q(20, 14), Q(28, 16))
    words = np.arange(-(1 << 19) + 1, 1 << 19)
    assert np.diff(look_up(t, words, 28)[0]).min() >= -(2.0**16) * 2 * t.worst_error


# Range and number of segments


def test_the_range_ends_at_straight_tails_or_with_the_word() -> None:
    assert range_bits("tanh", Q(28, 22)) == 3 and range_bits("tanh", Q(28, 26)) == 1
    assert range_bits("sin", Q(28, 22)) == 5 and range_bits("sin", Q(28, 29)) == -2
    assert range_bits("unit_step", Q(28, 22)) == 0


@pytest.mark.parametrize("top", [2.0, 8.0])
@pytest.mark.parametrize("source", [Q(28, 22), Q(28, 26), Q(18, 15)], ids=str)
@pytest.mark.parametrize("name", WHOLE)
def test_the_fewest_segments_that_meet_the_goal(name: str, source: Q, top: float) -> None:
    bits, most = segment_bits(name, source, top, 11), 11
    finest = source.scalar_frac + range_bits(name, source) + 1
    assert min(FEWEST_SEGMENTS, finest) <= bits <= min(most, finest)
    # Words with bits to spare, so that an error is the lines' own.
    frac = 23 - int(np.log2(top))
    goal = GOAL * (1.0 if name in TAILED else top)  # a large result on a tail excuses nothing

    def error(count: int) -> float:
        return worst_below(name, table(name, count, source, Q(28, frac)), source, frac, top)

    if bits < min(most, finest):
        assert error(bits) <= 1.05 * goal
    if bits > min(FEWEST_SEGMENTS, finest):
        assert error(bits - 1) > 0.95 * goal


def worst_below(name: str, t: TableContents, source: Q, frac: int, top: float) -> float:
    """Over many words of the range whose results are at most `top`."""
    half = 1 << (source.scalar_frac + range_bits(name, source))
    words = np.arange(-half, half, max(1, half >> 16))
    exact = true(name, real(words, source))
    found, _ = look_up(t, words, 28)
    return float(np.abs(real(found, Q(28, frac)) - exact)[np.abs(exact) <= top].max())


def test_more_accuracy_is_not_to_be_had() -> None:
    assert segment_bits("sin", Q(28, 16), 1.0, 9) == 9, "a long range: the most that is allowed"
    assert segment_bits("sin", Q(6, 2), 1.0, 11) == 6, "a segment for every word"


# Contents and memory


@given(st.sampled_from(TAILED), st.integers(8, 22), st.integers(10, 24), st.integers(4, 9))
@settings(max_examples=40, deadline=None)
def test_slopes_fit_and_tables_of_one_function_are_shared(
    name: str, source: int, output: int, bits: int
) -> None:
    """With straight tails, lines do not depend on the input's format: one memory for two tables."""
    target = Q(40, output)
    t, other = (table(name, bits, Q(32, source + i), target) for i in (0, 1))
    if FUNCTIONS[name].parity is Parity.UNKNOWN:
        assert (t.base, t.slope) == (other.base, other.slope)
    assert (other.fraction_bits, other.slope_shift) == (t.fraction_bits + 1, t.slope_shift + 1)
    top = max(map(abs, t.slope))
    assert top < 1 << 17
    assert top >= 1 << 15 or name == "unit_step", "the largest slope uses all 18 bits"


def test_the_engine_holds_equal_lines_once() -> None:
    target = Q(18, 16)
    instr = Instr("s", Op.TABLE, ("z",), Type((3,), target), Table("sigmoid", 9, 4))
    coarse, fine = Q(28, 20), Q(28, 21)
    contents = {table_key(instr, q): table("sigmoid", 9, q, target) for q in (coarse, fine)}
    looks = [Task("s", (), Drain(2, 0, 18, False, table=own)) for own in contents.values()]
    shared = share(looks, EngineConfig(2, 1), 0)
    assert len(contents) == 2
    assert [shared.drain(t.drain, 0, 0).table for t in looks if t.drain] == [0, 0]
    assert shared.table_words == 512


def test_impossible_tables_are_refused() -> None:
    message = "segments finer than its input: 9 segment bits need at least 4 fraction bits, got 3"
    with pytest.raises(ValueError, match=message):
        table("sigmoid", 9, Q(28, 3), Q(28, 16))
    with pytest.raises(ValueError, match="'gelu' cannot go from 4 to 40 fraction bits"):
        table("gelu", 4, Q(28, 4), Q(48, 40))
