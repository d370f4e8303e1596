"""The programs of SCAN and UPDATE: what is made of one row of a tensor's words, in every lane.

    s  = g to 2 bits                      z = g / 2**20, g -= 2**17 z    (with momentum)
    r  = w + step s + lift                to a weight's bits
    w  = r - lift                         likewise

and, scaled, after a SCAN has found the bits of the tensor's largest gradient word,

    v  = g / 2**PEAK                      x = MULTIPLIER x + INCREMENT, wrapped
    r  = (2**26 w + step v + x + 2**26 lift) / 2**26

`ir.update_rules` has the same for whole tensors. Weights and gradients are addressed from the row
that the host names, so that one program serves every tensor; all else is vector memory, because
constants of weight memory would move with the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from echoloom.ir.arithmetic import Overflow
from echoloom.ir.contract import EngineConfig, Narrow, Wide, XMode
from echoloom.ir.learning import Learning, Rule, ScaledUpdate
from echoloom.ir.ops import DynamicShift
from echoloom.ir.passes.allocate import Allocation
from echoloom.ir.passes.layout import Extent
from echoloom.ir.passes.learning_plan import LearnedTensor, LearningPlan
from echoloom.ir.passes.products import summed
from echoloom.ir.passes.tasks import Drain, Into, Multiply, Read, Task, Weights, X
from echoloom.ir.program import Program
from echoloom.ir.reports import Report
from echoloom.ir.sections import Section
from echoloom.ir.update_rules import (
    DECAY,
    DECAY_SHIFT,
    INCREMENT,
    MULTIPLIER,
    NOISE_BITS,
)

# Words that the host writes.
STEP, LIFT, NOISE = "learn.step", "learn.lift", "learn.noise"
# Constants in every lane.
ONE, MINUS_ONE, KEPT = "learn.one", "learn.minus.one", "learn.kept"
WHOLE, FACTOR, OFFSET = "learn.whole", "learn.factor", "learn.offset"
# What is worked out for every row.
DIRECTION, MOVED, EIGHTH, MEASURED = (
    "learn.direction", "learn.moved", "learn.eighth", "learn.measured",
)  # fmt: skip


class NoUpdate(ValueError):
    """A rule that words of these lengths cannot follow."""


def check_rule(rule: Rule, config: EngineConfig) -> None:
    """NoUpdate where an engine's words are too short for a rule's numbers."""
    if isinstance(rule, ScaledUpdate) and config.word < NOISE_BITS + 2:
        raise NoUpdate(
            f"a ScaledUpdate needs words of {NOISE_BITS + 2} bits or more, but this engine's have "
            f"{config.word}; use a SignUpdate, or widths with longer words"
        )
    if _momentum(rule) and config.narrow < DECAY_SHIFT - DECAY + 1:
        raise NoUpdate(
            f"a SignUpdate with momentum needs weights of {DECAY_SHIFT - DECAY + 1} bits or more, "
            f"but this engine's have {config.narrow}; use one without, or widths with a longer "
            "narrow"
        )


def update_words(rule: Rule, lanes: int) -> dict[str, Extent]:
    """The words of vector memory that an update needs."""
    scalars, vectors = [STEP, LIFT], [*_constants(rule), DIRECTION, MOVED]
    if _momentum(rule):
        vectors.append(EIGHTH)
    if isinstance(rule, ScaledUpdate):
        vectors += [NOISE, MEASURED]
    return {**dict.fromkeys(scalars, Extent(1)), **dict.fromkeys(vectors, Extent(lanes))}


def update_constants(rule: Rule, lanes: int) -> dict[str, NDArray[np.int64]]:
    """Those of them that never change."""
    return {name: np.full(lanes, value, np.int64) for name, value in _constants(rule).items()}


def _constants(rule: Rule) -> dict[str, int]:
    constants = {ONE: 1, MINUS_ONE: -1}
    if _momentum(rule):
        constants[KEPT] = -(1 << DECAY_SHIFT - DECAY)
    if isinstance(rule, ScaledUpdate):
        constants |= {WHOLE: 1 << NOISE_BITS, FACTOR: MULTIPLIER, OFFSET: INCREMENT}
    return constants


def _momentum(rule: Rule) -> bool:
    return not isinstance(rule, ScaledUpdate) and rule.momentum


def update_tasks(
    rule: Rule, at: Allocation, config: EngineConfig
) -> dict[Section, tuple[Task, ...]]:
    """Tasks of both sections for one row. A rule that has nothing to measure has no SCAN."""
    row = _Row(at, config)
    if isinstance(rule, ScaledUpdate):
        return {
            Section.SCAN: (row.loaded(MEASURED, report=Report.PEAK),),
            Section.UPDATE: tuple(row.scaled()),
        }
    return {Section.SCAN: (), Section.UPDATE: tuple(row.signed(rule.momentum))}


@dataclass(frozen=True)
class _Row:
    at: Allocation
    config: EngineConfig

    def signed(self, momentum: bool) -> Iterator[Task]:
        yield self.loaded(DIRECTION, width=2)
        if momentum:
            yield self.loaded(EIGHTH, shift=DECAY_SHIFT)
        terms = (self._weight(ONE), self._product(STEP, DIRECTION), self._product(LIFT, ONE))
        yield self._moved(terms)
        yield self._written()
        if momentum:
            # Once the sign has been taken of the word as it was.
            decay = self._product(KEPT, EIGHTH, after=DIRECTION)
            yield Task("decay", (replace(decay, into=summed(0)),))

    def scaled(self) -> Iterator[Task]:
        yield self.loaded(DIRECTION, dynamic=DynamicShift.PEAK)
        new = f"{NOISE}'"
        terms = (self._product(FACTOR, NOISE), self._product(ONE, OFFSET))
        drain = Drain(
            self.config.lanes, self._address(NOISE), NOISE_BITS, False,
            overflow=Overflow.WRAP, report=Report.QUIET,
        )  # fmt: skip
        yield Task(NOISE, _added(terms), drain, new, 0, NOISE)
        terms = (
            self._weight(WHOLE), self._product(STEP, DIRECTION), self._product(ONE, new),
            self._product(LIFT, WHOLE),
        )  # fmt: skip
        yield self._moved(terms, shift=NOISE_BITS)
        yield self._written()

    def loaded(
        self,
        name: str,
        width: int | None = None,
        shift: int = 0,
        dynamic: DynamicShift = DynamicShift.NONE,
        report: Report = Report.QUIET,
    ) -> Task:
        """The row's gradient words, shifted and clamped."""
        drain = Drain(
            self.config.lanes, self._address(name), width or self.config.word, False, shift,
            dynamic=dynamic, report=report,
        )  # fmt: skip
        return Task(name, (Multiply(into=Into(load=True)),), drain, name)

    def _moved(self, terms: tuple[Multiply, ...], shift: int = 0) -> Task:
        drain = Drain(
            self.config.lanes, self._address(MOVED), self.config.narrow, False, shift,
            report=Report.CLAMP,
        )  # fmt: skip
        return Task(MOVED, _added(terms), drain, MOVED)

    def _written(self) -> Task:
        terms = (self._product(ONE, MOVED), self._product(LIFT, MINUS_ONE))
        drain = Drain(
            self.config.lanes, 0, self.config.narrow, False, report=Report.CLAMP, to_weight=True
        )
        return Task("weight", _added(terms), drain, "weight")

    def _weight(self, name: str) -> Multiply:
        """The row's weights times a word of every lane."""
        return Multiply(
            (Read(name, 0),), wide=Wide.Y, weights=Weights(), y=self._address(name),
            lanes=self.config.lanes,
        )  # fmt: skip

    def _product(self, scalar: str, name: str, after: str | None = None) -> Multiply:
        """The first lane's word `scalar` times a word of every lane, once `after` is there too."""
        reads = (Read(scalar, 0), Read(name, 0))
        if after is not None:
            reads += (Read(after, 0, awaited=True),)
        return Multiply(
            reads, narrow=Narrow.X, wide=Wide.Y, x=X(XMode.BROADCAST, self._address(scalar)),
            y=self._address(name), lanes=self.config.lanes,
        )  # fmt: skip

    def _address(self, name: str) -> int:
        return self.at.vectors.places[name.rstrip("'")].address


def _added(terms: tuple[Multiply, ...]) -> tuple[Multiply, ...]:
    """Products whose sum goes into a slot."""
    last = len(terms) - 1
    return tuple(
        replace(term, into=Into(clear=number == 0, push=number == last))
        for number, term in enumerate(terms)
    )


def learning_plan(learning: Learning, program: Program, at: Allocation) -> LearningPlan:
    """Where everything is that a host tells an engine to update."""
    fracs = {d.name: d.type.q.scalar_frac for d in program.coefficients
             if d.name in {t.name for t in learning.tensors}}  # fmt: skip
    tensors = []
    for t in learning.tensors:
        weight, gradient = at.weight.places[t.name], at.gradient.places[t.accumulator]
        alike = [(p.rows, p.columns, p.orientation) for p in (weight, gradient)]
        if alike[0] != alike[1]:
            raise NoUpdate(
                f"{t.name} and its gradient lie otherwise in memory; take it from the rule's learn"
            )
        rows = weight.words(at.lanes)
        placed = LearnedTensor(
            **vars(t), frac=fracs[t.name], weight=weight, gradient=gradient, rows=rows
        )
        tensors.append(placed)
    places = at.vectors.places
    return LearningPlan(
        learning.rule, tuple(tensors), learning.frozen, learning.length, places[STEP].address,
        places[LIFT].address, places[NOISE].address if NOISE in places else None,
    )  # fmt: skip
