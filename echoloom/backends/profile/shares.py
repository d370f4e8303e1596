"""Which format the error of a gradient comes from: each is made coarser on its own.

Rounding to a grid 2**k times as coarse adds 4**k - 1 times the squares that the format's own
rounding put there. So the squared distance between the gradients with and without, divided by that,
is what the format contributes to the squared error: its share. Shares of independent roundings add
up; what they leave of the error is of nudges of finite size and of tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from echoloom.backends.profile.coarser import coarser
from echoloom.backends.profile.signals import Kind, Signal, signals
from echoloom.backends.profile.subject import Progress, Subject, integer_gradients
from echoloom.frontend.gradients.exact import Tensors
from echoloom.ir.program import Program

COARSER = 4  # bits


@dataclass(frozen=True)
class Share:
    """A format's part of the squared relative error, by tensor."""

    signal: Signal
    squares: Mapping[str, float]


@dataclass(frozen=True)
class Shares:
    """`errors`: the squared relative error of every tensor, the mean over sequences; shares of it
    with the largest in any tensor first."""

    errors: Mapping[str, float]
    shares: tuple[Share, ...]

    @property
    def worst(self) -> str:
        """The tensor with the largest error."""
        return max(self.errors, key=lambda name: self.errors[name])

    def largest(self, tensor: str) -> Share:
        """What to make finer next for this tensor."""
        return max(self.shares, key=lambda share: share.squares[tensor])

    def part(self, tensor: str, share: Share) -> float:
        """A format's part of a tensor's squared error, of 1.

        Shares are what roundings do on average, an error is what they happened to do: where they
        add up to more than the error, their sum is 1.
        """
        total = max(self.errors[tensor], sum(own.squares[tensor] for own in self.shares))
        return share.squares[tensor] / total if total else 0.0

    def rest(self, tensor: str) -> float:
        """What no format explains: nudges of finite size, and tables."""
        return max(0.0, 1.0 - sum(self.part(tensor, share) for share in self.shares))

    def widened(self, tensor: str, share: Share) -> float:
        """The tensor's relative error with one bit more in that format."""
        return float(np.sqrt(self.errors[tensor] * (1.0 - 0.75 * self.part(tensor, share))))


def measure_shares(of: Subject, exact: Tensors, progress: Progress) -> Shares:
    """The share of every stored signal, coefficient and narrow copy, on whole sequences."""
    made, found = coarser(of), signals(of.words)
    runs, length = len(found) + 1, of.X.shape[1]
    base = integer_gradients(of, of.program.artifact, length, runs).tensors
    copies = [signal for signal in found if signal.kind is Kind.COPY]
    shares: list[Share] = []
    for number, signal in enumerate((*copies, *(s for s in found if s.kind is not Kind.COPY))):
        integer = made.program(signal, COARSER)
        if integer is not None:
            coarse = integer_gradients(of, integer, length, runs).tensors
            squares = _squares(coarse, base, exact)
            scale = 4.0**COARSER - 1.0
            own = Share(signal, {n: s / scale for n, s in squares.items()})
            if signal.kind is not Kind.COPY:
                own = _alone(own, shares[: len(copies)], integer.program)
            shares.append(own)
        progress(number + 1, len(found))
    errors = _squares(base, exact, exact)
    unsorted = Shares(errors, tuple(shares))
    order = sorted(shares, key=lambda s: -max(unsorted.part(n, s) for n in errors))
    return Shares(errors, tuple(order))


def _alone(share: Share, copies: Sequence[Share], program: Program) -> Share:
    """Without what the narrow copies that a word took along have added."""
    squares = dict(share.squares)
    for copy in copies:
        section, name = copy.signal.first
        assert section is not None
        now = program.types(program.body(section))[name].q
        bits = copy.signal.q.scalar_frac - now.scalar_frac
        added = (4.0**bits - 1.0) / (4.0**COARSER - 1.0)
        squares = {n: max(0.0, s - added * copy.squares[n]) for n, s in squares.items()}
    return replace(share, squares=squares)


def _squares(value: Tensors, base: Tensors, exact: Tensors) -> dict[str, float]:
    """Squared distances by tensor in parts of the exact gradient's square: their mean over the
    sequences that have one."""
    found: dict[str, float] = {}
    for name, wanted in exact.items():
        axes = tuple(range(1, wanted.ndim))
        size = np.sum(wanted**2, axis=axes)
        apart = np.sum((value[name] - base[name]) ** 2, axis=axes)
        some = size > 0
        found[name] = float(np.mean(apart[some] / size[some])) if some.any() else 0.0
    return found
