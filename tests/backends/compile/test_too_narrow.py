"""A format with four integer bits too few is loud: some word of it is named, in some sequence."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

import echoloom as el
from echoloom.backends.compile.coefficients import CoefficientRange
from echoloom.backends.compile.pipeline import Arguments, run
from echoloom.backends.compile.stages import formatted, integer_program
from echoloom.backends.run.excess import Excess
from echoloom.backends.run.levels import IntegerProgram, numpy_run
from echoloom.backends.run.run_numpy import StagedNumpyMachine
from echoloom.backends.run.watched import excesses
from echoloom.ir.exact import InvalidProgram
from echoloom.ir.flags import Flag
from echoloom.ir.host import FAILURES
from echoloom.ir.passes.format_classes import Formats
from echoloom.ir.precision import Precision
from echoloom.ir.sections import Section
from echoloom.ir.word import Word

STEPS, CLASSES, BITS = 16, 2, 4


def test_every_format_that_is_too_narrow_is_named() -> None:
    x = np.random.default_rng(5).uniform(-0.9, 0.9, (3, STEPS, 2))
    model = el.HSSM(2, CLASSES, 3, 2, 1, complex=False, step=0.3, key=jax.random.key(3))
    model = el.with_statistics(model, jnp.asarray(x))
    made = run({"arguments": Arguments(model, x, None, "ecp5-85k", 2, None, 4, None, None)})
    source, real, ranges = made["course"], made["real"], made["ranges"]
    whole: Precision = made["precision"]
    named = refused = 0
    for word, q in whole.formats.items():
        if q.per_element or word.name in ("x", "mean"):
            continue  # inputs are refused, and a mean of few steps may be small
        finer = replace(q, frac=q.scalar_frac + BITS)
        asked = Precision(whole.widths, {}, whole.nudges, {word: finer})
        own = replace(source, precision=asked)
        try:
            words = formatted(own, real, ranges)
            integer = integer_program(own, real, words)
        except (CoefficientRange, InvalidProgram):  # a bias or a constant of that class is refused
            refused += 1
            continue
        if word not in words.formats or words.formats.q(word) != finer:
            continue  # there are no more bits to be had
        found = first(integer, x)
        assert found is not None, f"{word} is too narrow, and nobody says so"
        assert abs(found.value) > found.limit
        assert beside(words.formats, found) == words.formats.names[word], (word, found)
        named += 1
    assert named > 10, (named, refused)


def first(integer: IntegerProgram, x: np.ndarray) -> Excess | None:
    """Of all sequences, each with every label."""
    for label in range(CLASSES):
        result = numpy_run(integer, x, np.full(len(x), label), machine=StagedNumpyMachine)
        flags = (result.forward_flags | result.echo_flags) & (FAILURES | Flag.SATURATED)
        for number in np.flatnonzero(flags).tolist():
            return next(iter(excesses(integer, x[number], label)))
    return None


def beside(formats: Formats, found: Excess) -> Word | None:
    """What the format class of a word, or of the word that it is a copy of, is called."""
    section, base = Section[found.section.upper()], found.signal.rpartition(".")[0]
    for name in (found.signal, base):
        for word in (Word(section, name), Word(None, name)):
            if word in formats:
                return formats.names[word]
    return None
