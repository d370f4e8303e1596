"""The whole of a profile, and what follows from it in words."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from echoloom.backends.profile.grid import Choices, Point, measure_grid
from echoloom.backends.profile.shares import Shares, measure_shares
from echoloom.backends.profile.signals import said, short
from echoloom.backends.profile.subject import Progress, Subject
from echoloom.backends.profile.usage import Usage, measure_usage
from echoloom.backends.run.excess import said as said_of_overflow
from echoloom.ir.widths import Widths


@dataclass(frozen=True)
class Bound:
    """What gradients have to reach: every tensor's cosine at least, and its norm ratio within
    1 - norm and 1 + norm."""

    cosine: float = 0.999
    norm: float = 0.01

    def met_by(self, point: Point) -> bool:
        return point.holds and point.cosine >= self.cosine and point.norm_error <= self.norm


@dataclass(frozen=True, eq=False)
class Profile:
    """Figures of `sequences` sequences of `length` steps, against float64 backpropagation."""

    widths: Widths
    epsilons: tuple[float, ...]
    sequences: int
    length: int
    bound: Bound
    choices: Choices
    points: tuple[Point, ...]
    shares: Shares
    usage: tuple[Usage, ...]
    overflow: str = ""  # what overflows first at the chosen point

    @property
    def chosen(self) -> Point:
        """The program's own formats and nudges, on whole sequences."""
        return self.at(self.widths.word, self.widths.narrow, 0, self.length)

    def at(self, word: int, narrow: int, octave: int, length: int) -> Point:
        """KeyError for a point that was not measured."""
        for point in self.points:
            if (point.word, point.narrow, point.octave, point.length) == (
                word, narrow, octave, length,
            ):  # fmt: skip
                return point
        raise KeyError((word, narrow, octave, length))

    def advice(self) -> list[str]:
        """What the figures say, a sentence each."""
        return [*self._of_bound(), *self._of_shares(), *self._of_range()]

    def _of_bound(self) -> list[str]:
        own, limit = self.chosen, self.bound
        asked = f"cosine {limit.cosine:g} and a norm within {limit.norm:.1%}"
        if not own.holds:
            lost = f"{own.overflowed} of {self.sequences} sequences overflow, {self.overflow}"
            return [f"The chosen formats have no figures: {own.refused or lost}."]
        least = min(own.tensors, key=lambda name: own.tensors[name].cosine)
        far = max(own.tensors, key=lambda name: abs(own.tensors[name].norm_ratio - 1.0))
        said = (
            f"Words of {own.word} and {own.narrow} bits {'meet' if limit.met_by(own) else 'miss'} "
            f"{asked}: the worst cosine is {own.cosine:.6f} ({least}), the norm farthest off "
            f"{own.tensors[far].norm_ratio:.4f} ({far})."
        )
        whole = [p for p in self.points if p.octave == 0 and p.length == self.length]
        enough = [p for p in whole if limit.met_by(p)]
        if not enough:
            return [said, f"None of the word lengths that were tried meets {asked}."]
        short = min(enough, key=lambda p: (p.word + p.narrow, -p.cosine))
        return [said, f"The shortest that meet it here have {short.word} and {short.narrow} bits."]

    def _of_shares(self) -> list[str]:
        shares = self.shares
        if not self.chosen.holds or not shares.shares or not shares.errors[shares.worst]:
            return []
        tensor = shares.worst
        top = shares.largest(tensor)
        error = shares.errors[tensor] ** 0.5
        said = [f"The tensor with the largest error is {tensor}, {error:.1e} of itself."]
        if shares.rest(tensor) > 0.5:
            said.append(
                f"Formats make up {1.0 - shares.rest(tensor):.0%} of its squared error: most is "
                "from nudges of finite size and from tables."
            )
        said.append(
            f"The format to widen next for it is that of {top.signal}, {short(top.signal.q)} "
            f"({top.signal.kind.value}), with {shares.part(tensor, top):.0%} of its squared "
            f"error; one bit more there leaves {shares.widened(tensor, top):.1e}."
        )
        return [" ".join(said)]

    def _of_range(self) -> list[str]:
        full = [u for u in self.usage if u.at_risk]
        if not full:
            return []
        words = ", ".join(said(u.word) for u in full[:4])
        more = f" and {len(full) - 4} more" if len(full) > 4 else ""
        return [f"These signals use the last bit of their range: {words}{more}."]

    def values(self) -> dict[str, Any]:
        """All of it for JSON."""
        return {
            "widths": {**asdict(self.widths), "rounding": self.widths.rounding.value},
            "epsilons": list(self.epsilons),
            "sequences": self.sequences,
            "length": self.length,
            "bound": asdict(self.bound),
            "advice": self.advice(),
            "overflow": self.overflow,
            "points": [asdict(point) for point in self.points],
            "errors": {name: square**0.5 for name, square in self.shares.errors.items()},
            "shares": [
                {
                    "signal": str(share.signal),
                    "kind": share.signal.kind.value,
                    "format": str(share.signal.q),
                    "words": [said(word) for word in share.signal.words],
                    "parts": {n: self.shares.part(n, share) for n in self.shares.errors},
                }
                for share in self.shares.shares
            ],
            "usage": [
                {
                    "signal": said(u.word),
                    "kind": u.kind.value,
                    "format": str(u.q),
                    "spare": u.spare,
                    "lengths": list(u.lengths),
                }
                for u in self.usage
            ],
        }


def with_chosen(choices: Choices, widths: Widths, length: int) -> Choices:
    """The same and the program's own choice."""
    return Choices(
        tuple(sorted({*choices.words, widths.word})),
        tuple(sorted({*choices.narrows, widths.narrow})),
        tuple(sorted({*choices.octaves, 0})),
        tuple(sorted({*choices.lengths, length})),
    )


def measure_profile(
    of: Subject, choices: Choices, bound: Bound, progress: Progress = lambda done, total: None
) -> Profile:
    """Every choice's quality, every format's share of the error and every signal's usage.

    ValueError for choices that no program or sequence can have.
    """
    length = of.X.shape[1]
    choices = with_chosen(choices, of.widths, length)
    check_choices(choices, of.source.output_step, length)
    usage = measure_usage(of)
    shares = measure_shares(of, of.exact(length), progress)
    points = measure_grid(of, choices, progress)
    found = Profile(
        of.widths, of.program.epsilons, len(of.X), length, bound, choices, points, shares, usage
    )
    return replace(found, overflow=_first_overflow(of)) if found.chosen.overflowed else found


def _first_overflow(of: Subject) -> str:
    """The word that leaves its range first, in the first of the sequences that overflow."""
    for number, (x, y) in enumerate(zip(*of.data(of.X.shape[1]), strict=True)):
        kept = of.program.overflow(x, y)
        if kept is not None:
            return f"in sequence {number} {said_of_overflow(kept)}"
    return said_of_overflow(None)


def check_choices(choices: Choices, least: int, length: int) -> None:
    """ValueError for a choice that is out of all reason, or a length that sequences of `length`
    steps do not have; the model emits after `least`."""
    for what, values, low, high in (
        ("a word length", choices.words, 4, 48),
        ("a narrow side", choices.narrows, 4, 32),
        ("a nudge's octave", choices.octaves, -30, 30),
        ("a length", choices.lengths, least, length),
    ):
        for value in values:
            if not low <= value <= high:
                raise ValueError(f"{what} is {value}, but it must be between {low} and {high}.")
