"""Which format the error of a gradient comes from: each is made coarser on its own.

Rounding to a grid 2**k times as coarse adds 4**k - 1 times the squares that the format's own
rounding put there. So the squared distance between the gradients with and without, divided by that,
is what the format contributes to the squared error: its share. Shares of independent roundings add
up; what they leave of the error is of nudges of finite size and of tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from echoloom.backends.compile.coefficients import CoefficientRange
from echoloom.backends.compile.stages import Formatted, integer_program, learned_formats
from echoloom.backends.profile.signals import Kind, Signal, signals
from echoloom.backends.profile.subject import Progress, Subject, integer_gradients
from echoloom.backends.run.levels import IntegerProgram
from echoloom.frontend.gradients.exact import Tensors
from echoloom.ir.passes.formats_plan import FormatPlan, plan_formats
from echoloom.ir.passes.quantise import settled
from echoloom.ir.verifier import verify

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
        return 1.0 - sum(self.part(tensor, share) for share in self.shares)

    def widened(self, tensor: str, share: Share) -> float:
        """The tensor's relative error with one bit more in that format."""
        return float(np.sqrt(self.errors[tensor] * (1.0 - 0.75 * self.part(tensor, share))))


def measure_shares(of: Subject, exact: Tensors, progress: Progress) -> Shares:
    """Every stored signal's and every coefficient's share, on whole sequences."""
    plan = plan_formats(
        of.real.program, of.real.coefficients, of.ranges, of.source.widths, {},
        learned_formats(of.source),
    )  # fmt: skip
    plan = replace(plan, formats=of.words.formats)
    found = signals(of.words)
    runs, length = len(found) + 1, of.X.shape[1]
    base = integer_gradients(of, of.program.artifact, length, runs).tensors
    shares: list[Share] = []
    for number, signal in enumerate(found):
        integer = _coarser(of, plan, signal)
        if integer is not None:
            coarse = integer_gradients(of, integer, length, runs).tensors
            squares = _squares(coarse, base, exact)
            scale = 4.0**COARSER - 1.0
            shares.append(Share(signal, {n: s / scale for n, s in squares.items()}))
        progress(number + 1, len(found))
    errors = _squares(base, exact, exact)
    unsorted = Shares(errors, tuple(shares))
    order = sorted(shares, key=lambda s: -max(unsorted.part(n, s) for n in errors))
    return Shares(errors, tuple(order))


def _coarser(of: Subject, plan: FormatPlan, signal: Signal) -> IntegerProgram | None:
    """The program with one format coarser; None where it cannot be."""
    if signal.kind is Kind.COEFFICIENT:
        factors = {**plan.factors, signal.name: signal.q.shifted(-COARSER)}
        changed = replace(plan, factors=factors)
    else:
        frac = signal.q.scalar_frac - COARSER
        changed = replace(plan, formats=plan.formats.capped([(signal.first, frac)]))
    try:
        program, formats = settled(changed)
        return integer_program(of.source, of.real, Formatted(verify(program), formats))
    except CoefficientRange:
        return None


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
