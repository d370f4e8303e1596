"""The exporter's arithmetic, piece by piece, against ir.arithmetic and ir.objective: exhausted
where it is small, and at the ends of int64 where ONNX Runtime's own Clip goes wrong."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_graphs import run

from echoloom.backends.onnx.functions import spelled
from echoloom.backends.onnx.host_nodes import Host
from echoloom.backends.onnx.shifts import clamp, dynamic, fixed, round_shift, wrap
from echoloom.ir import arithmetic, objective
from echoloom.ir.arithmetic import Overflow, Rounding
from echoloom.ir.formats import Q
from echoloom.ir.functions import FUNCTIONS

SMALL = np.arange(-600, 600, dtype=np.int64)
RANDOM = np.random.default_rng(0)
LARGE = RANDOM.integers(-(2**62) + 1, 2**62, 4000) >> RANDOM.integers(0, 55, 4000)


@pytest.mark.parametrize("rounding", Rounding)
def test_rounding_shifts(rounding: Rounding) -> None:
    shifts = [*range(12), 31, 32, 47, 62]
    x = np.concatenate([SMALL, LARGE])

    def write(s: Host) -> list[str]:
        return [round_shift(s, "x", fixed(s, n), rounding, f"by{n}") for n in shifts]

    for shift, found in zip(shifts, run(write, x=x), strict=True):
        np.testing.assert_array_equal(found, arithmetic.round_shift(x, shift, rounding), f"{shift}")


@pytest.mark.parametrize("rounding", Rounding)
def test_shifts_by_element_and_at_run_time(rounding: Rounding) -> None:
    shifts = np.array([0, 1, 2, 7, 40])
    x = np.concatenate([SMALL, LARGE])[:, None]

    def write(s: Host) -> list[str]:
        by_element = round_shift(s, "x", fixed(s, shifts), rounding, "fixed")
        return [by_element, round_shift(s, "x", dynamic(s, "shift", "any"), rounding, "dynamic")]

    wanted = arithmetic.round_shift(x, shifts, rounding)
    for found in run(write, x=x, shift=shifts):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("width", [2, 5, 8, 31, 32, 33, 48, 63])
def test_wrapping_and_clamping(width: int) -> None:
    limit = 2 ** (width - 1) - 1
    x = np.concatenate([SMALL, LARGE, [limit, limit - 1, -limit, -limit + 1]])

    def write(s: Host) -> list[str]:
        return [wrap(s, "x", width, "wrap")[0], clamp(s, "x", -limit, limit, "clamp")]

    wrapped, clamped = run(write, x=x)
    np.testing.assert_array_equal(wrapped, arithmetic.narrow(x, width, Overflow.WRAP)[0])
    np.testing.assert_array_equal(clamped, arithmetic.narrow(x, width, Overflow.SATURATE)[0])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str, dtype: type) -> None:
    reach = 6.0 if name in ("exp", "sinh", "cosh") else 30.0
    x = np.linspace(0.01 if FUNCTIONS[name].positive else -reach, reach, 4001).astype(dtype)
    accuracy = 1e-12 if dtype is np.float64 else 3e-6
    (found,) = run(lambda s: [spelled(s, name, "x", name, dtype)], accuracy, x=x)
    wanted = FUNCTIONS[name].evaluate(x.astype(np.float64))
    assert found.dtype == dtype
    assert np.max(np.abs(found - wanted) / np.maximum(np.abs(wanted), 1.0)) < accuracy


@pytest.mark.parametrize("classes", [2, 3, 17])
def test_the_error_is_the_hosts_to_the_last_bit(classes: int) -> None:
    scale = 10.0 ** RANDOM.uniform(-3, 3.5, (3000, 1))
    logits = np.concatenate([RANDOM.normal(size=(3000, classes)) * scale, np.zeros((9, classes))])
    labels = RANDOM.integers(0, classes, len(logits))

    def write(s: Host) -> list[str]:
        return list(s.normalised(s.softmax_error("logits", "label", classes)))

    error, exponent = run(write, logits=logits, label=labels)
    wanted = objective.normalised_error(objective.softmax_error(logits, labels))
    np.testing.assert_array_equal(error, wanted[0])
    np.testing.assert_array_equal(exponent, wanted[1])
    assert len(np.unique(exponent)) > 50


def test_gain_and_length_are_the_hosts() -> None:
    error = RANDOM.normal(size=(500, 4, 2)) * 2.0 ** RANDOM.integers(-20, 4, (500, 1, 1))
    error[0] = 0.0
    error[1] = 0.25
    (gain,) = run(lambda s: [s.gain("error")], error=error)
    np.testing.assert_array_equal(gain, objective.gain_exponent(error))
    for steps in (1, 2, 3, 4, 5, 64, 65, 4999):
        found = run(lambda s: list(s.length("x")), x=np.zeros((2, steps, 1)))
        shift, inverse = objective.length_words(steps)
        assert [np.ravel(f)[0] for f in found] == [steps, shift, inverse]


def test_words_are_rounded_as_the_host_does_and_nothing_out_of_range_is_silent() -> None:
    x = np.array([0.5, 1.5, -2.5, 127.4, 127.6, -128.0, np.nan, np.inf])
    words, outside = run(lambda s: list(s.words("x", Q(8, 0), "x")), x=x)
    assert words.tolist() == [0, 2, -2, 127, 0, 0, 0, 0]
    assert outside.tolist() == [False] * 4 + [True] * 4
