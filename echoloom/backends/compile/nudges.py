"""Nudge sizes, found by running a program's integers.

A linear unit's contrast is exact at any nudge, so its size is set by range alone. Any other unit's
has an error of its own that grows with the nudge squared, while rounding falls with it: where the
two meet depends on the unit, the step and the length, so it is measured. The integers are run at
several sizes and held against the same program in real numbers at a tiny one.

Sizes are tried from the one that makes the echoes part by as much as the state itself. A unit that
all but rests has to part much farther than that before its curvature, or a table, can tell the
echoes apart, so sizes up to one that parts them by 1 are tried for it too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from echoloom.backends.compile.coefficients import as_held
from echoloom.backends.compile.raw_gradients import by_coefficient
from echoloom.backends.compile.stages import (
    Epsilons,
    Source,
    integers_at,
    probed,
    ranges,
    real_program,
)
from echoloom.backends.run.by_length import integer_run, real_machine
from echoloom.backends.run.integers import Floats, to_real
from echoloom.ir.host import Host
from echoloom.ir.passes.assemble import StackGraphs
from echoloom.ir.passes.calibrate import PROBE, Ranges
from echoloom.ir.passes.graphs import coefficients
from echoloom.ir.passes.recorder import Runaway
from echoloom.ir.printer import columns

Exponents = tuple[int, ...]  # by block
Gradients = Mapping[str, Floats]  # [samples, ...] by coefficient
# Exponents tried, relative to the size that makes the echoes part by as much as the state itself.
FIRST_TRIALS, FURTHER_TRIALS = (-1, -3, -5), (-7, -9, -11)
# A block whose error is larger at the first of them may need larger nudges; steps of their
# exponents, and of the last two trials beside the best.
POOR, COARSE, FINE = 2.0**-4, 4, 2
HOPELESS = 0.4  # so poor that the best of the smaller sizes is chance
TRIAL_SAMPLES = 4
RETREAT, RETREATS = 4.0, 8  # from a nudge that drives an echo off, and how often
# How far the echoes of the real program part: not so little that a float64 contrast of values near
# 1 is rounding, and beyond that not so much that what a small state does to a curve is lost.
CLOSEST, FARTHEST = 2.0**-36, 2.0**-12  # the second relative to the state


@dataclass(frozen=True, eq=False)
class Trial:
    """Gradients of the integers at some nudge sizes, and by block their error: the root mean
    square over tensors of the relative error. Infinite where an echo leaves the potential."""

    errors: tuple[float, ...]
    found: Gradients


@dataclass(frozen=True, eq=False)
class Nudges:
    """The size chosen for every block; what the integers' gradients of curved blocks were at
    these sizes, and what they should have been, both empty where nothing was tried."""

    epsilons: Epsilons
    found: Gradients = field(default_factory=dict)
    exact: Gradients = field(default_factory=dict)

    def __str__(self) -> str:
        """A line for every block, and one for every coefficient that trials compared."""
        rows: list[tuple[object, ...]] = [("", "nudge", "error of its gradient")]
        rows += [(f"block {b}", f"{epsilon:.6g}", "") for b, epsilon in enumerate(self.epsilons)]
        rows += [
            (name, "", f"{np.max(_relative(found, self.exact[name])):.3g}")
            for name, found in self.found.items()
        ]
        return columns(rows)


def _blocks(graphs: StackGraphs) -> dict[str, int | None]:
    """The block that a coefficient belongs to."""
    return {d.name: d.block for d in coefficients(graphs)}


def choose_nudges(source: Source) -> Nudges:
    """The nudge size of every block that suits it on the samples."""
    found, widest = probed(source)
    bent = [block.curved for block in source.graphs.blocks]
    if not any(bent):
        return Nudges(widest)
    few = source.first(TRIAL_SAMPLES)
    labels, exact = _exact(few, _near(found))
    tops = [_octaves(found, b, widest[b]) for b in range(len(bent))]
    search = _Search(few, widest, bent, labels, exact).from_the_state().from_above(tops)
    best = tuple(search.best(b) for b in range(len(bent)))
    blocks = _blocks(source.graphs)
    own = {name: search.trials[best[b]].found[name]
           for name in exact if (b := blocks[name]) is not None and bent[b]}  # fmt: skip
    sizes = search.sizes(search.joined())
    if source.course is not None:
        sizes = _confined(source, sizes, bent)
    return Nudges(sizes, own, {n: exact[n] for n in own})


def _confined(source: Source, sizes: Epsilons, bent: list[bool]) -> Epsilons:
    """These sizes, or smaller ones that leave no potential on any sample anywhere along a course:
    trials see few samples. Runaway where the smallest do."""
    for _ in range(RETREATS):
        try:
            ranges(source, real_program(source, sizes))
        except Runaway as error:
            if not error.echo:
                raise
            sizes = tuple(e / RETREAT if own else e for e, own in zip(sizes, bent, strict=True))
        else:
            break
    return sizes


def _near(ranges: Ranges) -> Epsilons:
    """Sizes of the real program's nudges, those of `ranges` being PROBE."""
    near: list[float] = []
    for motion in ranges.motions:
        parted = motion.difference
        wanted = max(min(parted, motion.reach * FARTHEST), CLOSEST)
        more = 0 if parted in (0.0, wanted) else math.floor(math.log2(wanted / parted))
        near.append(PROBE * 2.0**more)
    return tuple(near)


def _octaves(ranges: Ranges, block: int, epsilon: float) -> int:
    """How many powers of two lie between a nudge and the one that parts the echoes by 1."""
    parted = ranges.motions[block].difference * (epsilon / PROBE)
    return -math.floor(math.log2(parted)) if parted > 0.0 else 0


@dataclass(frozen=True, eq=False)
class _Search:
    """Trials by the exponents that they were made at, in the order in which they were made; a
    search that went on is another one."""

    source: Source
    widest: Epsilons
    bent: list[bool]
    labels: Any
    exact: Gradients
    trials: Mapping[Exponents, Trial] = field(default_factory=dict)

    def best(self, block: int) -> Exponents:
        return min(self.trials, key=lambda exponents: self.trials[exponents].errors[block])

    def error(self, block: int) -> float:
        return self.trials[self.best(block)].errors[block]

    def joined(self) -> Exponents:
        """Every block's best exponent."""
        return tuple(self.best(b)[b] for b in range(len(self.bent)))

    def sizes(self, exponents: Exponents) -> Epsilons:
        chosen = zip(self.widest, exponents, self.bent, strict=True)
        return tuple(e * 2.0**x if own else e for e, x, own in chosen)

    def tried(self, exponents: Exponents, refuses: type[ValueError] = Runaway) -> _Search:
        """`refuses`: what a nudge that is too large for the unit raises."""
        if exponents in self.trials:
            return self
        sizes = self.sizes(exponents)
        trial = _trial(self.source, sizes, self.labels, self.exact, refuses)
        return replace(self, trials={**self.trials, exponents: trial})

    def from_the_state(self) -> _Search:
        """From a nudge that parts the echoes by as much as the state downwards."""
        found, blocks = self, range(len(self.bent))
        for exponent in (*FIRST_TRIALS, *FURTHER_TRIALS):
            smallest = min((exponents[0] for exponents in found.trials), default=0)
            if exponent in FURTHER_TRIALS and all(
                found.best(b)[b] > smallest and found.error(b) < np.inf for b in blocks
            ):
                break
            found = found.tried((exponent,) * len(self.bent))
        return found

    def from_above(self, tops: list[int]) -> _Search:
        """From one that parts them by 1 (exponents `tops`) down to the state, for blocks that are
        poor at all smaller ones."""
        found, largest = self, FIRST_TRIALS[0]
        poor = [b for b, own in enumerate(self.bent)
                if own and tops[b] > largest and self.error(b) > POOR
                and (self.best(b)[b] == largest or self.error(b) > HOPELESS)]  # fmt: skip
        start = self.joined()
        for down in range(0, max([tops[b] - largest for b in poor], default=0), COARSE):
            made = tuple(max(tops[b] - down, largest) if b in poor else x
                         for b, x in enumerate(start))  # fmt: skip
            found = found.tried(made, ValueError)
            if all(found.best(b)[b] > made[b] + COARSE and found.error(b) < 0.5 for b in poor):
                break
        centre = found.joined()
        for aside in (FINE, -FINE) if poor else ():
            made = tuple(x + aside if b in poor else x for b, x in enumerate(centre))
            found = found.tried(made, ValueError)
        return found


def _exact(source: Source, epsilons: Epsilons) -> tuple[Any, Gradients]:
    """Labels that leave an error, the least likely class of every sample or the targets; and sums
    of every coefficient's gradient by them, normalised as the host does it, sample by sample."""
    real = real_program(source, epsilons)
    machine = real_machine(real.program, real.coefficients, source.samples)
    host = Host(real.program, source.output_step)
    forward = host.forward(source.samples)
    outputs = host.outputs(machine.sweep(forward))
    if real.program.is_classification:
        labels = np.argmin(outputs, axis=-1)
    else:
        labels = -np.sign(outputs) if source.targets is None else source.targets
    sums = machine.sweep(host.echo(forward, outputs, labels)).sums
    return labels, by_coefficient(real.program.accumulators, sums, real.coefficients)


def _trial(
    source: Source,
    epsilons: Epsilons,
    labels: Any,
    exact: Gradients,
    refuses: type[ValueError],
) -> Trial:
    """What becomes of the gradients with nudges of these sizes."""
    lost = Trial((np.inf,) * len(epsilons), {n: np.zeros_like(v) for n, v in exact.items()})
    try:
        integer = integers_at(source, epsilons)
    except refuses as error:
        if isinstance(error, Runaway) and not error.echo:
            raise
        return lost
    source.progress("trying nudges", 0, 1)
    result = integer_run(integer, source.samples, labels)
    source.progress("trying nudges", 1, 1)
    if result.overflow:
        return lost
    accumulators = integer.program.accumulators
    sums = {a.name: to_real(result.gradients[a.name], a.type.q) for a in accumulators if a.target}
    found = by_coefficient(accumulators, sums, as_held(integer))
    squares: list[list[Floats]] = [[] for _ in epsilons]
    blocks = _blocks(source.graphs)
    for name, value in exact.items():
        block = blocks[name]
        if block is not None:
            squares[block].append(_relative(found[name], value) ** 2)
    return Trial(tuple(float(np.sqrt(np.mean(s))) if s else 0.0 for s in squares), found)


def _relative(found: Floats, exact: Floats) -> Floats:
    """Relative error of every sample's tensor, at most 1: a gradient that all but cancels is lost
    at any nudge and should decide nothing."""
    axes = tuple(range(1, exact.ndim))
    size = np.sqrt(np.sum(exact**2, axis=axes))
    error = np.sqrt(np.sum((found - exact) ** 2, axis=axes))
    return np.minimum(error / np.where(size > 0.0, size, np.inf), 1.0)
