"""Engine sizes and word lengths as people have them: whole numbers of any kind, or a sentence."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from tiny_programs import samples, small_model

import echoloom as el
from echoloom.backends.compile.arguments import check_output_step, checked_widths, engine_sizes
from echoloom.backends.gradients.fixed_gradient import FixedGradient
from echoloom.ir.widths import Widths

NUMBERS = [np.int64(2), np.uint8(2), np.array(2), np.int32(2)]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda n: type(n).__name__)
def test_whole_numbers_of_any_kind_are_plain_afterwards(number: Any):
    sizes = engine_sizes(number, number, number)
    assert sizes == (2, 2, 2) and all(type(size) is int for size in sizes)
    names = [field.name for field in fields(Widths) if field.name != "rounding"]
    given = Widths(gradient=50)
    widths = replace(given, **{name: np.int64(getattr(given, name)) for name in names})
    widths = checked_widths(replace(widths, margin=number))
    assert widths == replace(given, margin=2)
    assert all(type(getattr(widths, name)) is int for name in names)


def test_numbers_of_numpy_give_the_same_program(classifier):
    two, one, four = np.int64(2), np.int32(1), np.uint8(4)
    program = el.compile(
        classifier.model, samples(), lanes=two, drains=one, slots=four, weight_margin=np.int64(0)
    )  # fmt: skip
    same = el.compile(classifier.model, samples(), lanes=2, drains=1, slots=4, weight_margin=0)
    assert program.image == same.image and program.ir == same.ir


@pytest.mark.parametrize("wrong", [True, np.True_, 2.0, np.float64(2.0), "2", None, [2]])
@pytest.mark.parametrize("name", ["lanes", "slots", "weight_margin", "drains"])
def test_what_is_no_whole_number_is_refused_by_name(name: str, wrong: Any):
    if wrong is None and name in ("drains", "weight_margin"):
        return  # their defaults
    with pytest.raises(ValueError, match=f"^compile: {name} is .*, but it must be a whole number"):
        el.compile(small_model(), samples(), **{"lanes": 2, name: wrong})


@pytest.mark.parametrize("name", [f.name for f in fields(Widths) if f.name != "rounding"])
def test_word_lengths_likewise(name: str):
    with pytest.raises(
        ValueError, match=f"^compile: {name} is 28.0, but it must be a whole number"
    ):
        el.compile(small_model(), samples(), lanes=2, widths=replace(Widths(), **{name: 28.0}))


@pytest.mark.parametrize(
    ("lengths", "sentence"),
    [
        ({"word": 36}, "word=36, narrow=18 and accumulator=54 bits do not go together"),
        ({"narrow": 30}, "narrow is at most word"),
        ({"accumulator": 70}, "has at most 63 bits"),
        (
            {"gradient": 44},
            "gradient is 44 bits, but a sum over steps has at least the 45 of a product and at "
            "most the accumulator's 54",
        ),
        ({"gradient": 55}, "gradient is 55 bits"),
        ({"segment_bits": 16}, "segment_bits is 16, but a table has 2 to 2\\*\\*15 segments"),
        ({"rounding": "half_even"}, "must be a Rounding, such as Rounding.HALF_EVEN"),
    ],
)
def test_word_lengths_that_no_engine_has(lengths: dict[str, Any], sentence: str):
    with pytest.raises(ValueError, match=sentence):
        el.compile(small_model(), samples(), lanes=2, widths=Widths(**lengths))


def test_bounds_of_the_host_bus_and_of_its_registers():
    assert engine_sizes(256, None, 8) == (256, 64, 8)
    with pytest.raises(ValueError, match="an engine has at most 256 lanes, got lanes=257"):
        engine_sizes(257, None, 4)
    check_output_step(65_535)
    with pytest.raises(
        ValueError, match="output_step is 65536, but an engine counts at most 65535"
    ):
        check_output_step(65_536)


def test_a_source_of_fixed_gradients_refuses_before_it_compiles(classifier):
    labels = np.zeros(len(samples()), int)
    with pytest.raises(ValueError, match=r"lanes is 2\.5, but it must be a whole number"):
        FixedGradient(classifier.model, samples(), labels, lanes=2.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="margin is '1', but it must be a whole number"):
        FixedGradient(classifier.model, samples(), labels, margin="1")  # type: ignore[arg-type]
