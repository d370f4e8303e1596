"""Gradients' quality over word lengths, nudge sizes and sequence lengths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from echoloom.backends.compile.stages import ranges, real_program
from echoloom.backends.gradients.exact import Tensors
from echoloom.backends.profile.subject import Gradients, Progress, Subject, integer_gradients
from echoloom.backends.run.levels import IntegerProgram
from echoloom.ir.exact import InvalidProgram
from echoloom.ir.passes.calibrate import Runaway
from echoloom.ir.widths import Widths

LONGEST = 63  # bits of a word that the integers' levels compute with


@dataclass(frozen=True)
class Figures:
    """A tensor's worst over sequences: cosine similarity, and the norm ratio farthest from 1."""

    cosine: float
    norm_ratio: float


@dataclass(frozen=True)
class Point:
    """A choice, and the worst of every tensor at it.

    `octave`: nudges 2**octave times the chosen sizes. `overflowed` and `clamped` count sequences;
    no tensors where the choice cannot be made: `refused` says why.
    """

    word: int
    narrow: int
    octave: int
    length: int
    tensors: Mapping[str, Figures]
    overflowed: int = 0
    clamped: int = 0
    refused: str = ""

    @property
    def cosine(self) -> float:
        """The worst tensor's."""
        return min((f.cosine for f in self.tensors.values()), default=0.0)

    @property
    def norm_error(self) -> float:
        """How far the worst tensor's norm is off, in parts of itself."""
        return max((abs(f.norm_ratio - 1.0) for f in self.tensors.values()), default=float("inf"))

    @property
    def holds(self) -> bool:
        """Whether there are numbers that mean something."""
        return not self.refused and not self.overflowed


@dataclass(frozen=True)
class Choices:
    """What is tried. Every word length with every narrow side, with the chosen nudges and the whole
    length; and every word length with every nudge and length, with the chosen narrow side."""

    words: tuple[int, ...]
    narrows: tuple[int, ...]
    octaves: tuple[int, ...]
    lengths: tuple[int, ...]


def default_choices(widths: Widths, length: int) -> Choices:
    """Around the chosen widths, and down to an eighth of the sequences."""
    words = range(widths.word - 8, widths.word + 5, 2)
    narrows = range(widths.narrow - 4, widths.narrow + 3, 2)
    lengths = sorted({max(1, length // part) for part in (8, 4, 2, 1)})
    return Choices(
        tuple(w for w in words if w >= widths.narrow - 4),
        tuple(n for n in narrows if n >= 4),
        (-6, -4, -2, 0, 2, 4),
        tuple(lengths),
    )


def judged(found: Gradients, exact: Tensors) -> dict[str, Figures]:
    """The worst figures of every tensor over the sequences."""
    figures: dict[str, Figures] = {}
    for name, values in found.tensors.items():
        n = len(values)
        value, wanted = values.reshape(n, -1), exact[name].reshape(n, -1)
        sizes, norms = np.linalg.norm(value, axis=1), np.linalg.norm(wanted, axis=1)
        both, none = (sizes > 0) & (norms > 0), (sizes == 0) & (norms == 0)
        product = np.where(both, sizes * norms, 1.0)
        cosine = np.where(both, np.sum(value * wanted, axis=1) / product, none * 1.0)
        ratio = np.where(none, 1.0, sizes / np.where(norms > 0, norms, np.nan))
        ratio = np.where(np.isnan(ratio), np.inf, ratio)
        farthest = ratio[np.argmax(np.abs(ratio - 1.0))]
        figures[name] = Figures(float(cosine.min()), float(farthest))
    return figures


def variant_of(base: Widths, word: int, narrow: int) -> Widths:
    """Other word lengths, with an accumulator for their products where they are longer."""
    longer = max(0, word - base.word) + max(0, narrow - base.narrow)
    return replace(base, word=word, narrow=narrow, accumulator=min(base.accumulator + longer, 62))


@dataclass(frozen=True, eq=False)
class _Grid:
    of: Subject
    choices: Choices
    exact: Mapping[int, Tensors]

    def cases(self) -> Iterator[tuple[int, int, int, int]]:
        """(octave, word, narrow, length), those of one integer program together."""
        c, own, whole = self.choices, self.of.widths, self.of.X.shape[1]
        yield from ((0, w, n, whole) for n in c.narrows for w in c.words if n != own.narrow)
        yield from ((o, w, own.narrow, t) for o in c.octaves for w in c.words for t in c.lengths)


def measure_grid(of: Subject, choices: Choices, progress: Progress) -> tuple[Point, ...]:
    """Every choice's figures."""
    whole = of.X.shape[1]
    exact = {t: of.exact(t) for t in {*choices.lengths, whole}}
    grid = _Grid(of, choices, exact)
    cases = list(grid.cases())
    points: list[Point] = []
    shifted: dict[int, Subject | str] = {}
    held: tuple[tuple[int, int, int], IntegerProgram | str] | None = None
    for number, (octave, word, narrow, length) in enumerate(cases):
        if octave not in shifted:
            shifted[octave] = _nudged(of, octave)
        if held is None or held[0] != (octave, word, narrow):
            held = (octave, word, narrow), _integer(shifted[octave], word, narrow)
        integer = held[1]
        if isinstance(integer, str):
            points.append(Point(word, narrow, octave, length, {}, refused=integer))
        else:
            found = integer_gradients(of, integer, length, len(choices.octaves))
            points.append(
                Point(
                    word, narrow, octave, length, judged(found, exact[length]),
                    int(found.overflowed.sum()), int(found.clamped.sum()),
                )
            )  # fmt: skip
        progress(number + 1, len(cases))
    return tuple(points)


def _nudged(of: Subject, octave: int) -> Subject | str:
    """With nudges 2**octave times as large; or why not."""
    if octave == 0:
        return of
    real = real_program(of.source, tuple(e * 2.0**octave for e in of.program.epsilons))
    try:
        return replace(of, real=real, ranges=ranges(of.source, real))
    except Runaway as error:
        return str(error)


def _integer(of: Subject | str, word: int, narrow: int) -> IntegerProgram | str:
    """The integers of a choice; or why there are none."""
    if isinstance(of, str):
        return of
    try:
        return of.integer(variant_of(of.widths, word, narrow))
    except (InvalidProgram, ValueError) as error:
        return str(error)


def points_of(
    points: Sequence[Point],
    *,
    narrow: int | None = None,
    octave: int | None = None,
    length: int | None = None,
) -> list[Point]:
    """Those of one narrow side, nudge or length."""
    wanted = {"narrow": narrow, "octave": octave, "length": length}
    return [
        p
        for p in points
        if all(value is None or getattr(p, name) == value for name, value in wanted.items())
    ]
