"""Formats that somebody has written down: which of a program's words and coefficients have them,
and all formats of a finished program in that form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from echoloom.ir.formats import Q
from echoloom.ir.passes.channels import met_matrices
from echoloom.ir.passes.coefficient_formats import SPREAD, factors
from echoloom.ir.passes.format_classes import Formats
from echoloom.ir.precision import Precision, WrongPrecision
from echoloom.ir.program import Program
from echoloom.ir.sections import Section
from echoloom.ir.word import Word

FARTHEST = 256  # an exponent, either way


@dataclass(frozen=True)
class Chosen:
    """Exponents of words, and formats of coefficients that are multiplied and of inputs whose
    channels have exponents of their own."""

    exponents: Mapping[Word, int]
    coefficients: Mapping[str, Q]
    inputs: Mapping[str, Q]

    def alone(self, program: Program) -> frozenset[str]:
        """The matrices whose columns are not to be chosen with an input's channels: one of the two
        has its format already."""
        named = {word.name for word in self.exponents}
        return frozenset(
            matrix
            for name, matrix in met_matrices(program).items()
            if matrix in self.coefficients or name in self.inputs or name in named
        )


def chosen(program: Program, formats: Formats, precision: Precision) -> Chosen:
    """What the formats of `precision` are of in a real program whose classes are `formats`.

    WrongPrecision, in one sentence, for names that it has not and for formats of the wrong kind.
    """
    exponents, coefficients, inputs = dict[Word, int](), dict[str, Q](), dict[str, Q]()
    widths, shapes = precision.widths, {d.name: d.type.shape for d in program.coefficients}
    each, met = factors(program), met_matrices(program)
    for word, q in precision.formats.items():
        _check_exponents(word, q)
        if word in formats:
            _check_width(word, q, widths.word)
            if not q.per_element:
                exponents[word] = q.scalar_frac
            elif word.section is Section.FORWARD_STEP and word.name in met and not q.columns:
                inputs[word.name] = q
            else:
                raise WrongPrecision(f"precision: {word} is {q}, but it has one exponent for all.")
        elif word.section is None and word.name in each:
            _check_width(word, q, widths.narrow)
            shape = shapes[word.name]
            if isinstance(q.frac, tuple) and not (each[word.name] and shape == (len(q.frac),)):
                raise WrongPrecision(
                    f"precision: {word} is {q}, but it is {list(shape)} and has "
                    + ("one for each." if each[word.name] and len(shape) == 1 else "one for all.")
                )
            if q.columns and word.name not in met.values():
                raise WrongPrecision(f"precision: {word} is {q}, but its columns share one.")
            coefficients[word.name] = q
        else:
            raise WrongPrecision(
                f"precision: there is no word {word!s} that a format could be of; `echoloom "
                "compile --dump precision` writes all that a program has."
            )
    _check_pairs(program, coefficients, inputs)
    try:
        formats.with_exponents(exponents)
    except ValueError as error:
        raise WrongPrecision(f"precision: {error}.") from None
    return Chosen(exponents, coefficients, inputs)


def _check_width(word: Word, q: Q, width: int) -> None:
    if q.width != width:
        one = "" if q.per_element else f": write {Q(width, q.scalar_frac)}"
        raise WrongPrecision(
            f"precision: {word} is {q}, {q.width} bits, but such a word has {width} here{one}."
        )


def _check_exponents(word: Word, q: Q) -> None:
    spread = max(q.fracs) - min(q.fracs)
    if max(map(abs, q.fracs)) > FARTHEST or (isinstance(q.frac, tuple) and spread > SPREAD):
        raise WrongPrecision(
            f"precision: {word} is {q}, but exponents are {-FARTHEST} to {FARTHEST} and those of "
            f"one vector lie within {SPREAD} of each other."
        )


def _check_pairs(program: Program, coefficients: Mapping[str, Q], inputs: Mapping[str, Q]) -> None:
    """A product adds up over an input's channels, so their exponents and the columns' have one
    sum."""
    for name, matrix in met_matrices(program).items():
        columns = coefficients[matrix] if matrix in coefficients else Q(1, 0)
        channels = inputs.get(name, Q(1, 0))
        if len(set(_sums(channels, columns))) > 1:
            raise WrongPrecision(
                f"precision: the exponents of {name} and of the columns of {matrix} have different "
                "sums, but a product of the two adds up; give both, with one sum."
            )


def _sums(channels: Q, columns: Q) -> Iterator[int]:
    yield from np.ravel(np.asarray(channels.grid) + np.asarray(columns.grid)).tolist()


def written_formats(program: Program, formats: Formats) -> dict[Word, Q]:
    """All formats of an integer program that somebody could choose: of every class by the first of
    its words that the program has, and of every coefficient."""
    types = {None: {d.name: d.type for d in program.globals()}}
    types |= {body.section: program.types(body) for body in program.bodies}
    inputs = {Word(Section.FORWARD_STEP, d.name) for d in program.body(Section.FORWARD_STEP).frame}
    found: dict[Word, Q] = {}
    done: set[Word] = set()
    for word, name in formats.names.items():
        own = types[word.section].get(word.name)
        if name in done or own is None:
            continue
        q = own.q
        if q == formats.q(word) or (q.per_element and word in inputs):
            found[word] = q
            done.add(name)
    for d in program.coefficients:
        word = Word(None, d.name)
        if word not in formats:
            found[word] = d.type.q
    return found
