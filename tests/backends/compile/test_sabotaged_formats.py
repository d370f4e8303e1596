"""Formats made wrong on purpose, each alone: too narrow is loud, too coarse is seen in a tensor."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from tiny_programs import samples, small_model

from echoloom.backends.compile.figures import BatchQuality, integer_quality
from echoloom.backends.compile.pipeline import Arguments, compiled
from echoloom.backends.compile.stages import formatted, integer_program
from echoloom.backends.run.integers import InputRange
from echoloom.backends.run.levels import IntegerProgram, numpy_run
from echoloom.backends.run.run_numpy import StagedNumpyMachine
from echoloom.frontend.gradients.exact import exact_gradients
from echoloom.ir.flags import Flag
from echoloom.ir.formats import Q
from echoloom.ir.host import FAILURES
from echoloom.ir.sections import Section
from echoloom.ir.word import Word

LABELS = np.array([0, 1, 2])
SAMPLES = np.repeat(samples(2), 3, axis=0), np.tile(LABELS, 2)  # back-signals of every class


@lru_cache
def made() -> dict[str, Any]:
    found: dict[str, Any] = {}
    arguments = Arguments(small_model(), samples(), None, "ecp5-85k", 2, None, 4, None, None)
    found["program"] = compiled(arguments, lambda s, one: found.update({s.name: one}))
    return found


def with_format(word: Word, q: Q) -> tuple[IntegerProgram, bool]:
    """The integer program, and whether the word came out as asked."""
    source = made()["settings"]
    source = replace(source, precision=replace(source.precision, formats={word: q}))
    words = formatted(source, made()["real"], made()["ranges"])
    kept = word not in words.formats or words.formats.q(word) == q
    return integer_program(source, made()["real"], words), kept


def all_formats() -> dict[Word, Q]:
    return dict(made()["precision"].formats)


def narrower(q: Q, bits: int) -> Q:
    """Fewer integer bits in a word of the same width."""
    return q.shifted(bits)


def loud(word: Word, q: Q) -> str | None:
    """What says that a word does not fit: a refusal's sentence or a flag; None where it has not
    been given the format, because what it is cut from has no more bits."""
    try:
        integer, kept = with_format(word, q)
    except ValueError as error:  # a coefficient, a constant
        return str(error)
    if not kept:
        return None
    try:
        result = numpy_run(integer, *SAMPLES, machine=StagedNumpyMachine)
    except InputRange as error:
        return str(error)
    flags = result.forward_flags | result.echo_flags
    failed, clamped = (bool(np.any(flags & which)) for which in (FAILURES, Flag.SATURATED))
    return "failed" if failed else "clamped" if clamped else ""


def test_as_they_are_nothing_is_said() -> None:
    for word in (Word(None, "b0.free.q"), Word(Section.FORWARD_STEP, "x")):
        assert loud(word, all_formats()[word]) == ""


def test_four_integer_bits_less_are_loud() -> None:
    said = {word: loud(word, narrower(q, 4)) for word, q in all_formats().items()}
    assert [str(word) for word, sentence in said.items() if sentence == ""] == []
    assert said[Word(None, "b0.free.q")] == "failed"
    assert "coefficient head.weight reaches" in str(said[Word(None, "head.weight")])
    assert "reaches" in str(said[Word(Section.FORWARD_STEP, "x")])
    assert sum(sentence is not None for sentence in said.values()) > len(said) // 2


@lru_cache
def quality(word: Word | None, bits: int) -> BatchQuality:
    model, (X, y) = small_model(), SAMPLES
    if word is None:
        integer = made()["integer"]
    else:
        integer, _ = with_format(word, narrower(all_formats()[word], -bits))
    exact = exact_gradients(model, X, y)
    return integer_quality(integer, made()["graphs"].folding, model, X, y, exact)


def distance(found: BatchQuality, tensor: str) -> float:
    return float(np.max(1.0 - found.cosine[tensor]))


@pytest.mark.parametrize(
    ("word", "tensor"),
    [
        (Word(None, "b0.readout"), "blocks.0.unit.readout"),
        (Word(None, "head.weight"), "head.weight"),
        (Word(None, "b0.free.q"), "blocks.0.unit.stiffness"),
    ],
    ids=str,
)
def test_six_fraction_bits_less_show_in_a_tensor(word: Word, tensor: str) -> None:
    before, after = quality(None, 0), quality(word, 6)
    assert distance(after, tensor) > 4.0 * distance(before, tensor)
    assert after.worst.cosine < before.worst.cosine
