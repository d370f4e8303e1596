"""Function tables: what they state about their errors, their tails, and what they share."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_models import Sizes, build
from numpy.typing import NDArray

from echoloom.ir.arithmetic import piecewise_linear
from echoloom.ir.formats import Q, Type
from echoloom.ir.ops import Op, Table
from echoloom.ir.passes.allocate import allocate
from echoloom.ir.program import Instr
from echoloom.ir.tables import FUNCTIONS, TableContents, table_key, tabulate

NAMES = sorted(FUNCTIONS)
OUTPUT = 16


def look_up(t: TableContents, words: np.ndarray, width: int = 40) -> np.ndarray:
    """Table results of integer words, not clamped."""
    values, clamped = piecewise_linear(
        words, t.base, t.slope, segment_bits=t.segment_bits, fraction_bits=t.fraction_bits,
        slope_shift=t.slope_shift, word=width,
    )  # fmt: skip
    assert not clamped.any()
    return values


def real(words: np.ndarray, frac: int) -> NDArray[np.float64]:
    return np.ldexp(words.astype(np.float64), -frac)


def input_frac(name: str, segment_bits: int, fraction_bits: int) -> int:
    """Fraction bits of an input with 2**fraction_bits words in a segment."""
    return fraction_bits + segment_bits - FUNCTIONS[name].range_bits - 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("segment_bits", [5, 9])
def test_the_stated_error_is_the_measured_one(name: str, segment_bits: int) -> None:
    """Over every input word of the range: the line's error to the last bit, and the word's."""
    frac = input_frac(name, segment_bits, 5)
    t = tabulate(name, segment_bits, frac, OUTPUT, 18)
    half = 1 << (FUNCTIONS[name].range_bits + frac)
    words = np.arange(-half, half)
    true = FUNCTIONS[name].evaluate(real(words, frac))
    segment, rest = np.divmod(words + half, 32)
    base, slope = np.array(t.base)[segment], np.array(t.slope)[segment]
    line = [
        float(b + Fraction(int(s) * int(f), 1 << t.slope_shift)) * 2.0**-OUTPUT
        for b, s, f in zip(base, slope, rest, strict=True)
    ]
    assert np.abs(line - true).max() == pytest.approx(t.worst_error, abs=1e-15)
    error = np.abs(real(look_up(t, words), OUTPUT) - true)
    assert error.max() <= t.worst_error + 2.0 ** -(OUTPUT + 1)


WORST = {"gelu": 5.5e-5, "gelu_slope": 5.4e-5, "sigmoid": 3.1e-5, "tanh": 5.4e-5}


@pytest.mark.parametrize("name", NAMES)
def test_errors_of_the_usual_tables(name: str) -> None:
    """512 segments; a result's own unit is 1.5e-5."""
    assert tabulate(name, 9, 22, OUTPUT, 18).worst_error < WORST[name]


@pytest.mark.parametrize("name", NAMES)
def test_tails_are_straight_and_monotone(name: str) -> None:
    """Far beyond the range, in both directions, up to the ends of a 28-bit word."""
    frac = 18
    t = tabulate(name, 9, frac, OUTPUT, 18)
    function = FUNCTIONS[name]
    end = 1 << (function.range_bits + frac)
    for low, high in ((end, 1 << 27), (-(1 << 27), -end)):
        words = np.unique(np.linspace(low, high, 2001).astype(np.int64))
        results = look_up(t, words)
        assert (np.diff(results) >= 0).all()
        error = np.abs(real(results, OUTPUT) - function.evaluate(real(words, frac)))
        assert error.max() <= t.worst_error + 2.0 ** -(OUTPUT + 1)


@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_a_monotone_function_has_a_monotone_table(name: str) -> None:
    """To within the rounding of a base word where two lines meet."""
    t = tabulate(name, 9, 14, OUTPUT, 18)
    words = np.arange(-(1 << 19), 1 << 19)
    assert np.diff(look_up(t, words)).min() >= -(2.0**OUTPUT) * 2 * t.worst_error


@given(st.sampled_from(NAMES), st.integers(6, 27), st.integers(10, 24), st.integers(4, 9))
@settings(max_examples=40, deadline=None)
def test_slopes_fit_and_tables_of_one_function_are_shared(
    name: str, source: int, output: int, segment_bits: int
) -> None:
    """The lines do not depend on the input's format, so tables for two of them are one memory."""
    t, other = (tabulate(name, segment_bits, source + i, output, 18) for i in (0, 1))
    assert (t.base, t.slope) == (other.base, other.slope)
    assert (other.fraction_bits, other.slope_shift) == (t.fraction_bits + 1, t.slope_shift + 1)
    largest = max(map(abs, t.slope))
    assert 1 << 16 <= largest < 1 << 17, "the largest slope uses all 18 bits"


def test_the_engine_holds_equal_lines_once() -> None:
    program = build(Sizes()).quantised
    instr = Instr("s", Op.TABLE, ("z",), Type((3,), Q(18, OUTPUT)), Table("sigmoid", 9, 4))
    coarse, fine = Q(28, 20), Q(28, 21)
    contents = {
        table_key(instr, q): tabulate("sigmoid", 9, q.scalar_frac, OUTPUT, 18)
        for q in (coarse, fine)
    }
    at = allocate(program, contents, {}, 2, 1, 28, 18)
    assert len(contents) == 2
    assert at.table(instr, coarse)[0] == at.table(instr, fine)[0] == 0
    assert at.table_words == 512


def test_bases_fit_the_result_and_lines_beyond_it_saturate() -> None:
    """GELU into words below 4: beyond, the table says the largest word."""
    frac = 25
    t = tabulate("gelu", 9, 22, frac, 18, output_width=28)
    end = (1 << 27) - 1
    assert max(map(abs, t.base)) == end
    words = np.arange((4 << 22) + 4099, 12 << 22, 4099)
    values, clamped = piecewise_linear(
        words, t.base, t.slope, segment_bits=9, fraction_bits=t.fraction_bits,
        slope_shift=t.slope_shift, word=28,
    )  # fmt: skip
    assert clamped.all() and (values == end).all()


def test_impossible_tables_are_refused() -> None:
    message = "segments finer than its input: 9 segment bits need at least 4 fraction bits, got 3"
    with pytest.raises(ValueError, match=message):
        tabulate("sigmoid", 9, 3, OUTPUT, 18)
    with pytest.raises(ValueError, match="'gelu' cannot go from 4 to 40 fraction bits"):
        tabulate("gelu", 4, 4, 40, 18)
