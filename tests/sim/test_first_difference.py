"""The first difference is the first one, and says where."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echoloom.ir.sections import Section
from echoloom.sim.first_difference import (
    Difference,
    Mismatch,
    first_difference,
    first_trace_difference,
    lowest_bit,
    require_equal,
    split_name,
)
from echoloom.sim.requests import TraceWrite


def named(**arrays: object) -> dict[str, np.ndarray]:
    return {name.replace("__", "."): np.asarray(array) for name, array in arrays.items()}


def test_equal_results_have_no_difference():
    results = named(block0__q=[[1, 2], [3, 4]], loss=5)
    assert first_difference(results, results, level="jax") is None
    require_equal(results, results, level="jax")


def test_sentence_names_everything():
    expected = named(block1__q=np.zeros((3, 2, 4), dtype=np.int64))
    actual = {"block1.q": expected["block1.q"].copy()}
    actual["block1.q"][2, 1, 3] = 8
    difference = first_difference(expected, actual, level="verilator", time_axis=True)
    assert difference == Difference("verilator", 2, "block1", "q", (1, 3), 3, 0, 8)
    assert str(difference) == (
        "verilator: first difference at step 2, block block1, signal q[1, 3], bit 3: "
        "expected 0, found 8."
    )


def test_order_of_names_decides_without_time():
    expected = named(a=[0, 0], b=[0, 0])
    actual = named(a=[0, 1], b=[1, 0])
    default = first_difference(expected, actual, level="x")
    reverse = first_difference(expected, actual, level="x", order=["b", "a"])
    assert default is not None
    assert reverse is not None
    assert (default.signal, default.element) == ("a", (1,))
    assert (reverse.signal, reverse.element) == ("b", (0,))


def test_earliest_step_wins_over_order_with_time():
    expected = named(a=[0, 0, 0], b=[0, 0, 0], c=[0, 0, 0])
    actual = named(a=[0, 0, 1], b=[0, 1, 0], c=[0, 1, 0])
    difference = first_difference(expected, actual, level="x", time_axis=True)
    assert difference is not None
    assert (difference.step, difference.signal, difference.element) == (1, "b", ())


@given(
    st.lists(st.integers(-5, 5), min_size=1, max_size=8),
    st.lists(st.integers(-5, 5), min_size=1, max_size=8),
)
def test_agrees_with_a_plain_loop(a: list[int], b: list[int]):
    difference = first_difference(named(s=a), named(s=b), level="x", time_axis=True)
    common = [n for n in range(min(len(a), len(b))) if a[n] != b[n]]
    if common:
        assert difference is not None
        assert (difference.step, difference.expected, difference.actual) == (
            common[0], a[common[0]], b[common[0]],
        )  # fmt: skip
    elif len(a) != len(b):
        assert difference is not None
        assert (difference.step, difference.bit) == (min(len(a), len(b)), None)
    else:
        assert difference is None


@given(st.integers(-(2**70), 2**70), st.integers(-(2**70), 2**70))
def test_lowest_bit(a: int, b: int):
    if a == b:
        return
    bit = lowest_bit(a, b)
    assert (a ^ b) >> bit & 1
    assert (a ^ b) & (1 << bit) - 1 == 0


def test_unsigned_words_are_compared_exactly():
    # As float64, which NumPy would take for the pair, the two are equal.
    expected = {"word": np.array([2**63 + 1], dtype=np.uint64)}
    actual = {"word": np.array([2**63 + 2], dtype=np.uint64)}
    difference = first_difference(expected, actual, level="x")
    assert difference is not None
    assert difference.bit == 0
    signed = {"word": np.array([-(2**63) + 1], dtype=np.int64)}
    assert first_difference(expected, signed, level="x") is not None


def test_missing_and_added_signals_are_differences():
    both, one = named(a=[1], b__c=[2]), named(a=[1])
    missing = first_difference(both, one, level="x")
    added = first_difference(one, both, level="x", order=["a", "elsewhere"])
    assert str(missing) == "x: block b, signal c: expected a signal, found none."
    assert str(added) == "x: block b, signal c: expected no such signal, found one."


def test_wrong_shape_is_a_difference():
    difference = first_difference(named(a=[1, 2]), named(a=[[1, 2]]), level="x")
    assert str(difference) == "x: signal a: expected shape (2,), found shape (1, 2)."
    assert first_difference(named(a=[0]), named(a=0), level="x") is not None


def test_short_run_differs_where_it_ends():
    difference = first_difference(named(a=[1, 2]), named(a=[1]), level="x", time_axis=True)
    assert str(difference) == "x: step 1, signal a: expected shape (2,), found shape (1,)."


def test_comparisons_that_prove_nothing_are_errors():
    with pytest.raises(ValueError, match="nothing"):
        first_difference({}, {}, level="x")
    with pytest.raises(TypeError, match="float64"):
        first_difference(named(a=[1.0]), named(a=[1.0]), level="x")
    with pytest.raises(ValueError, match="no time axis"):
        first_difference(named(a=1), named(a=1), level="x", time_axis=True)


def test_mismatch_carries_the_difference():
    with pytest.raises(Mismatch, match=r"bit 1: expected 0, found 2") as caught:
        require_equal(named(a=0), named(a=2), level="onnx")
    assert caught.value.difference.level == "onnx"


def test_names_split_at_the_first_dot():
    assert split_name("block0.gradient.B") == ("block0", "gradient.B")
    assert split_name("loss") == ("", "loss")


def write(iteration: int, address: int, value: int) -> TraceWrite:
    return TraceWrite(Section.FORWARD_STEP, iteration, lane=1, address=address, value=value)


def test_traces_may_interleave_within_an_iteration():
    expected = [write(0, 5, 1), write(0, 6, 2), write(0, 5, 3), write(1, 5, 4)]
    actual = [expected[1], expected[0], expected[2], expected[3]]
    assert first_trace_difference(expected, actual, level="x") is None
    swapped = [expected[2], expected[1], expected[0], expected[3]]
    assert first_trace_difference(expected, swapped, level="x") is not None


def test_trace_difference_is_placed():
    expected = [write(0, 5, 1), write(1, 5, 4)]
    actual = [write(0, 5, 1), write(1, 5, 6)]

    def place(lane: int, address: int) -> tuple[str, str, tuple[int, ...]]:
        return "block0", "q", (address * 4 + lane,)

    difference = first_trace_difference(expected, actual, level="x", place=place)
    assert difference == Difference("x", 1, "block0", "q", (21,), 1, 4, 6)
    lost = first_trace_difference(expected, actual[:1], level="x")
    assert str(lost) == (
        "x: step 1, signal vector memory (lane, address)[1, 5]: expected 4, found no write."
    )
    added = first_trace_difference(expected[:1], expected, level="x", place=place)
    assert added is not None
    assert (added.expected, added.actual) == ("no write", 4)
