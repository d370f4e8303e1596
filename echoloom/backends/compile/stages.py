"""The stages between traced graphs and integers, run again for every nudge size that is tried.

Source -> real program -> ranges -> formats -> integer program
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from echoloom.backends.compile.coefficients import coefficient_words
from echoloom.backends.compile.course import Course
from echoloom.backends.compile.progress import Progress, silent
from echoloom.backends.run.by_length import recording
from echoloom.backends.run.integers import Floats
from echoloom.backends.run.levels import IntegerProgram
from echoloom.frontend.models.hssm import HSSM
from echoloom.frontend.models.stack import Folding, folded_stack
from echoloom.ir.formats import Q
from echoloom.ir.learning import Learning
from echoloom.ir.passes.assemble import StackGraphs, assemble
from echoloom.ir.passes.calibrate import PROBE, Ranges, choose_epsilons, joined, measure
from echoloom.ir.passes.coefficient_formats import coefficient_format
from echoloom.ir.passes.format_classes import Formats
from echoloom.ir.passes.formats_plan import Cuts, plan_formats
from echoloom.ir.passes.materialise import materialise
from echoloom.ir.passes.proven_formats import with_proofs
from echoloom.ir.passes.quantise import settled
from echoloom.ir.passes.recorder import Runaway
from echoloom.ir.passes.simplify import simplify
from echoloom.ir.precision import Precision
from echoloom.ir.program import Program
from echoloom.ir.retrace import check_retrace
from echoloom.ir.tables import program_tables
from echoloom.ir.verifier import verify
from echoloom.ir.widths import Widths

Epsilons = tuple[float, ...]  # nudge sizes, by block


@dataclass(frozen=True, eq=False)
class Source:
    """A traced model with its coefficients' values, the samples [n, T, inputs] (and targets) that
    it is calibrated on, and the precision to choose formats of; of a model that is going to learn
    on the board the `course` that formats have to hold for."""

    folding: Folding
    values: Mapping[str, Floats]
    samples: Floats
    targets: Floats | None
    output_step: int
    precision: Precision
    course: Course | None = None
    progress: Progress = silent

    def __str__(self) -> str:
        return str(self.graphs)

    @property
    def widths(self) -> Widths:
        return self.precision.widths

    @property
    def graphs(self) -> StackGraphs:
        return self.folding.graphs

    def first(self, count: int) -> Source:
        """With the first so many samples only, and of a course its ends."""
        course = self.course
        if course is not None:
            ends = dict(zip((0, len(course.losses)), course.ends, strict=True))
            course = replace(course, snapshots=ends, labels=course.labels[:count])
        targets = None if self.targets is None else self.targets[:count]
        return replace(self, samples=self.samples[:count], targets=targets, course=course)

    @property
    def learning(self) -> Learning | None:
        return None if self.course is None else self.course.learning

    @property
    def learned(self) -> frozenset[str]:
        """The coefficients that learn."""
        return frozenset(t.name for t in self.learning.tensors) if self.learning else frozenset()


def traced(
    model: HSSM, samples: Floats, targets: Floats | None = None, widths: Widths | None = None
) -> Source:
    """`model` as the stages take it. Untraceable (a ValueError) names what cannot be traced."""
    folding = folded_stack(model)
    values = folding.values(model)
    precision = Precision(widths or Widths())
    return Source(folding, values, samples, targets, model.output_step, precision)


@dataclass(frozen=True, eq=False)
class RealProgram:
    """A program in real numbers and the value of every coefficient."""

    program: Program
    coefficients: dict[str, Floats]

    def __str__(self) -> str:
        return str(self.program)


def real_program(source: Source, epsilons: Epsilons) -> RealProgram:
    """The whole of forward pass and echo for these nudge sizes, simplified, every number that an
    engine cannot make by a shift a coefficient."""
    whole = simplify(assemble(source.graphs, epsilons, learns=source.course is not None))
    program, held = materialise(whole, source.values, source.learned)
    return RealProgram(verify(program), held)


def ranges(source: Source, real: RealProgram) -> Ranges:
    """What every value reaches on the samples, at all snapshots of a course. Runaway (a ValueError)
    where one leaves.

    The echo of a classification goes back from every class, at the snapshots within a course from
    the samples' own.
    """
    course = source.course
    if course is None:
        return _measured(source, real, source.values, source.targets)
    ends = (0, len(course.losses))
    return _along(source, real, {
        update: (at, source.targets if update in ends else course.labels)
        for update, at in course.snapshots.items()
    })  # fmt: skip


def _along(
    source: Source, real: RealProgram, snapshots: Mapping[int, tuple[Mapping[str, Floats], Any]]
) -> Ranges:
    """Joined ranges of coefficients with labels, after so many updates of the course each."""
    assert source.course is not None
    found: list[Ranges] = []
    for update, (values, labels) in snapshots.items():
        try:
            found.append(_measured(source, real, values, labels))
        except Runaway as error:
            raise Runaway(f"after {update} updates of training {error}", error.echo) from error
    return joined(found, source.course.largest)


def _measured(
    source: Source, real: RealProgram, values: Mapping[str, Floats], labels: Any
) -> Ranges:
    held = {name: values.get(name, own) for name, own in real.coefficients.items()}
    return measure(
        real.program, held, source.samples, labels, source.output_step, recording,
        partial(source.progress, "measuring ranges"),
    )  # fmt: skip


def learned_formats(source: Source) -> dict[str, Q]:
    """One format for every tensor that learns: what it reaches on the course and the rule's margin
    beyond."""
    if source.course is None:
        return {}
    margin = source.course.learning.rule.margin
    return tensor_formats(source.course.largest, source.widths.narrow, margin)


def tensor_formats(largest: Mapping[str, Floats], narrow: int, margin: int) -> dict[str, Q]:
    """Formats of tensors with one exponent each, by their elements' largest magnitudes."""
    return {
        name: coefficient_format(np.max(sizes, keepdims=True), narrow, False, margin)
        for name, sizes in largest.items()
    }


@dataclass(frozen=True, eq=False)
class Formatted:
    """A program in words, and why they have the formats that they have."""

    program: Program
    formats: Formats

    def __str__(self) -> str:
        return str(self.formats)


def formatted(
    source: Source, real: RealProgram, found: Ranges, earlier: Cuts | None = None
) -> Formatted:
    """The program in words: a format for each, every rounding written down. With the cuts of an
    `earlier` one it is of the same code, as far as formats allow."""
    plan = plan_formats(
        real.program, real.coefficients, found, source.precision, earlier or {},
        learned_formats(source),
    )  # fmt: skip
    program, formats = settled(plan)
    return Formatted(check_retrace(verify(program)), formats)


def proven(words: Formatted, integer: IntegerProgram, steps: int) -> Formatted:
    """The same words, and which of their formats hold whatever the samples of up to so many steps
    are that the inputs' formats hold."""
    return replace(words, formats=with_proofs(words.formats, integer.bounds(steps)))


def integer_program(source: Source, real: RealProgram, words: Formatted) -> IntegerProgram:
    """A program in words with the integers of its coefficients and tables."""
    tables = program_tables(words.program, source.widths.narrow)
    held = coefficient_words(words.program, real.coefficients)
    return IntegerProgram(words.program, held, tables, source.output_step, learning=source.learning)


def integers_at(source: Source, epsilons: Epsilons) -> IntegerProgram:
    """All of these stages."""
    real = real_program(source, epsilons)
    return integer_program(source, real, formatted(source, real, ranges(source, real)))


def probed(source: Source) -> tuple[Ranges, Epsilons]:
    """Ranges with nudges of size PROBE, and the largest sizes that cost no range."""
    probing = (PROBE,) * len(source.graphs.blocks)
    real, course = real_program(source, probing), source.course
    if course is None:
        found = ranges(source, real)
    else:
        ends = {0: course.ends[0], len(course.losses): course.ends[1]}
        found = _along(source, real, {update: (at, course.labels) for update, at in ends.items()})
    return found, choose_epsilons(found, probing)
