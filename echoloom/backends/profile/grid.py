"""Gradients' quality over word lengths, nudge sizes and sequence lengths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from echoloom.backends.compile.stages import ranges, real_program
from echoloom.backends.gradients.quality import BatchQuality, TensorQuality
from echoloom.backends.profile.subject import Progress, Subject, integer_gradients
from echoloom.backends.run.levels import IntegerProgram
from echoloom.ir.passes.recorder import Runaway
from echoloom.ir.widths import Widths


@dataclass(frozen=True)
class Point:
    """A choice, and the worst of every tensor at it.

    `octave`: nudges 2**octave times the chosen sizes. `overflowed` and `clamped` count sequences.
    There are no tensors where one overflowed, and none where the choice cannot be made: `refused`
    says why.
    """

    word: int
    narrow: int
    octave: int
    length: int
    tensors: Mapping[str, TensorQuality]
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
        return bool(self.tensors)


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
    words = range(widths.word - 8, widths.word + 3, 2)
    narrows = range(widths.narrow - 4, widths.narrow + 3, 2)
    lengths = sorted({max(1, length // part) for part in (8, 4, 2, 1)})
    return Choices(
        tuple(w for w in words if w >= widths.narrow - 4),
        tuple(n for n in narrows if n >= 4),
        (-4, -2, 0, 2, 4),
        tuple(lengths),
    )


def measure_grid(of: Subject, choices: Choices, progress: Progress) -> tuple[Point, ...]:
    """Every choice's figures."""
    whole = of.X.shape[1]
    exact = {t: of.exact(t) for t in {*choices.lengths, whole}}
    cases = list(_cases(of, choices))
    points: list[Point] = []
    nudged: dict[int, Subject | str] = {}
    held: tuple[tuple[int, int, int], IntegerProgram | str] | None = None
    for number, (octave, word, narrow, length) in enumerate(cases):
        if octave not in nudged:
            nudged[octave] = _nudged(of, octave)
        if held is None or held[0] != (octave, word, narrow):
            own = (octave, word, narrow) == (0, of.widths.word, of.widths.narrow)
            made = of.program.artifact if own else _integer(nudged[octave], word, narrow)
            held = (octave, word, narrow), made
        point, integer = Point(word, narrow, octave, length, {}), held[1]
        if isinstance(integer, str):
            points.append(replace(point, refused=integer))
        else:
            runs = len(choices.octaves) if narrow == of.widths.narrow else 1
            found = integer_gradients(of, integer, length, runs).quality(exact[length])
            points.append(_judged(point, found))
        progress(number + 1, len(cases))
    return tuple(points)


def _cases(of: Subject, choices: Choices) -> Iterator[tuple[int, int, int, int]]:
    """(octave, word, narrow, length), those of one integer program together."""
    own, whole = of.widths.narrow, of.X.shape[1]
    yield from ((0, w, n, whole) for n in choices.narrows for w in choices.words if n != own)
    for octave in choices.octaves:
        yield from ((octave, w, own, t) for w in choices.words for t in choices.lengths)


def _judged(point: Point, found: BatchQuality) -> Point:
    lost, clamped = int(found.overflowed.sum()), int(found.saturated.sum())
    tensors = {} if lost else found.by_tensor()
    return replace(point, tensors=tensors, overflowed=lost, clamped=clamped)


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
        return of.integer(word, narrow)
    except ValueError as error:
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
