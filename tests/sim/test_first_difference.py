"""The first difference is the first one, and says where."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echoloom.sim.first_difference import (
    Difference,
    Mismatch,
    first_difference,
    lowest_bit,
    signal_difference,
    split_name,
)


def named(**arrays: object) -> dict[str, np.ndarray]:
    return {name.replace("__", "."): np.asarray(array) for name, array in arrays.items()}


def test_equal_results_have_no_difference():
    results = named(block0__q=[[1, 2], [3, 4]], loss=5)
    assert first_difference(results, results, level="jax") is None


def test_sentence_names_everything():
    expected = np.zeros((2, 4), dtype=np.int64)
    actual = expected.copy()
    actual[1, 3] = 8
    difference = signal_difference("verilator", "block1.q", expected, actual, 2, "echo_step")
    signal = "q (echo_step)"
    assert difference == Difference(
        "verilator", 2, "block1", signal, (1, 3), 3, 0, 8, section="echo_step"
    )
    assert str(difference) == (
        "verilator: first difference at step 2, block block1, signal q (echo_step)[1, 3], bit 3: "
        "expected 0, found 8."
    )


def test_order_of_names_decides():
    expected = named(b=[0, 0], a=[0, 0])
    difference = first_difference(expected, named(a=[1, 0], b=[0, 1]), level="x")
    assert difference is not None
    assert (difference.signal, difference.element) == ("b", (1,))


words = st.lists(st.integers(-5, 5), min_size=1, max_size=8)


@given(words, words)
def test_agrees_with_a_plain_loop(a: list[int], b: list[int]):
    b = (b * 8)[: len(a)]
    difference = first_difference(named(s=a), named(s=b), level="x")
    unequal = [n for n in range(len(a)) if a[n] != b[n]]
    if unequal:
        assert difference is not None
        found = (difference.element, difference.expected, difference.actual)
        assert found == ((unequal[0],), a[unequal[0]], b[unequal[0]])
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
    added = first_difference(one, both, level="x")
    assert str(missing) == "x: block b, signal c: expected a signal, found none."
    assert str(added) == "x: block b, signal c: expected no such signal, found one."


def test_wrong_shape_is_a_difference():
    difference = first_difference(named(a=[1, 2]), named(a=[[1, 2]]), level="x")
    assert str(difference) == "x: signal a: expected shape (2,), found shape (1, 2)."
    assert first_difference(named(a=[0]), named(a=0), level="x") is not None


def test_comparisons_that_prove_nothing_are_errors():
    with pytest.raises(ValueError, match="nothing"):
        first_difference({}, {}, level="x")
    with pytest.raises(TypeError, match="float64"):
        first_difference(named(a=[1.0]), named(a=[1.0]), level="x")


def test_mismatch_carries_the_difference():
    difference = first_difference(named(a=0), named(a=2), level="onnx")
    assert difference is not None
    with pytest.raises(Mismatch, match=r"bit 1: expected 0, found 2") as caught:
        raise Mismatch(difference)
    assert caught.value.difference.level == "onnx"


def test_names_split_at_the_first_dot():
    assert split_name("block0.gradient.B") == ("block0", "gradient.B")
    assert split_name("loss") == ("", "loss")
