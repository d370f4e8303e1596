"""Where on an engine a program's tensors are that learn, and the words that an update is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from echoloom.ir.formats import largest
from echoloom.ir.learning import Learned, Rule
from echoloom.ir.passes.layout import Place


@dataclass(frozen=True, kw_only=True)
class LearnedTensor(Learned):
    """A tensor that learns, in an engine's memories: its weight words and its gradient words lie
    alike, so that row r of the one (its address + r, in every lane) is row r of the other. `frac`:
    fraction bits of its weights."""

    frac: int
    weight: Place
    gradient: Place
    rows: int

    def lift(self, width: int) -> int:
        """The word that keeps it at zero or above, weights being `width` bits wide; else 0."""
        return -largest(width) if self.positive else 0


@dataclass(frozen=True)
class LearningPlan:
    """All that a host needs to make an engine learn, tensor by tensor in this order.

    The addresses are of vector memory: `step` and `lift` (in lane 0) are written before the update
    of every tensor, `noise` (in every lane; None where a rule needs none) before the first one's.
    `frozen` and `length` as in `Learning`.
    """

    rule: Rule
    tensors: tuple[LearnedTensor, ...]
    frozen: Mapping[str, str]
    length: int
    step: int
    lift: int
    noise: int | None = None
