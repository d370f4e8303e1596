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

from echoloom.backends.compile.calibration import Epsilons, Material
from echoloom.backends.run.integers import Floats, to_real
from echoloom.backends.run.levels import IntegerProgram, numpy_run
from echoloom.backends.run.run_numpy import StagedNumpyMachine
from echoloom.ir.host import is_classification
from echoloom.ir.linearity import is_affine
from echoloom.ir.passes.assemble import StackGraphs
from echoloom.ir.passes.calibrate import PROBE, Ranges, Runaway, choose_epsilons, reach
from echoloom.ir.program import Accumulator, Program
from echoloom.ir.real import float_run

Exponents = tuple[int, ...]  # by block
Gradients = Mapping[str, Floats]  # [samples, ...] by coefficient
# Exponents tried, relative to the size that makes the echoes part by as much as the state itself.
FIRST_TRIALS, FURTHER_TRIALS = (-1, -3, -5), (-7, -9, -11)
# A block whose error is larger at the first of them may need larger nudges; steps of their
# exponents, and of the last two trials beside the best.
POOR, COARSE, FINE = 2.0**-4, 4, 2
HOPELESS = 0.4  # so poor that the best of the smaller sizes is chance
TRIAL_SAMPLES = 4
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


def calibrate(material: Material, earlier: Program | None = None) -> tuple[IntegerProgram, Nudges]:
    """The integer program, of the same code as `earlier` as far as formats allow, and the nudge
    size of every block that suits it."""
    nudges = _chosen(material)
    return material.integer(nudges.epsilons, earlier), nudges


def curved(graphs: StackGraphs) -> list[bool]:
    """By block: whether a contrast's quality depends on the nudge's size."""
    return [
        not is_affine(b.beside, "f", "q") or not is_affine(b.velocity, "v", "p")
        for b in graphs.blocks
    ]


def _chosen(material: Material) -> Nudges:
    probing = (PROBE,) * len(material.graphs.blocks)
    ranges = material.ranges(probing)
    widest, bent = choose_epsilons(ranges, probing), curved(material.graphs)
    if not any(bent):
        return Nudges(widest)
    count = min(TRIAL_SAMPLES, len(material.samples))
    targets = None if material.targets is None else material.targets[:count]
    trial = replace(material, samples=material.samples[:count], targets=targets)
    labels = _labels(trial, probing)
    exact = _real_gradients(trial, _near(ranges, probing), labels)
    search = _Search(trial, widest, bent, labels, exact)
    search.from_the_state()
    search.from_above([_octaves(ranges, b, widest[b]) for b in range(len(bent))])
    best = tuple(search.best(b) for b in range(len(bent)))
    own = {name: search.trials[best[b]].found[name]
           for name in exact if (b := _owner(name)) is not None and bent[b]}  # fmt: skip
    return Nudges(search.sizes(search.joined()), own, {n: exact[n] for n in own})


def _near(ranges: Ranges, epsilons: Epsilons) -> Epsilons:
    """Sizes of the real program's nudges, those of `ranges` being `epsilons`."""
    near: list[float] = []
    for block, epsilon in enumerate(epsilons):
        parted = ranges.differences.get(block, 0.0)
        wanted = max(min(parted, reach(ranges, block) * FARTHEST), CLOSEST)
        more = 0 if parted in (0.0, wanted) else math.floor(math.log2(wanted / parted))
        near.append(epsilon * 2.0**more)
    return tuple(near)


def _octaves(ranges: Ranges, block: int, epsilon: float) -> int:
    """How many powers of two lie between a nudge and the one that parts the echoes by 1."""
    parted = ranges.differences.get(block, 0.0) * (epsilon / PROBE)
    return -math.floor(math.log2(parted)) if parted > 0.0 else 0


@dataclass
class _Search:
    """Trials by the exponents that they were made at, in the order in which they were made."""

    trial: Material
    widest: Epsilons
    bent: list[bool]
    labels: Any
    exact: Gradients
    trials: dict[Exponents, Trial] = field(default_factory=dict)

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

    def add(self, exponents: Exponents, refuses: type[ValueError] = Runaway) -> None:
        """`refuses`: what a nudge that is too large for the unit raises."""
        if exponents not in self.trials:
            sizes = self.sizes(exponents)
            self.trials[exponents] = _trial(self.trial, sizes, self.labels, self.exact, refuses)

    def from_the_state(self) -> None:
        """From a nudge that parts the echoes by as much as the state downwards."""
        blocks = range(len(self.bent))
        for exponent in (*FIRST_TRIALS, *FURTHER_TRIALS):
            smallest = min((exponents[0] for exponents in self.trials), default=0)
            if exponent in FURTHER_TRIALS and all(
                self.best(b)[b] > smallest and self.error(b) < np.inf for b in blocks
            ):
                break
            self.add((exponent,) * len(self.bent))

    def from_above(self, tops: list[int]) -> None:
        """From one that parts them by 1 (exponents `tops`) down to the state, for blocks that are
        poor at all smaller ones."""
        largest = FIRST_TRIALS[0]
        poor = [b for b, own in enumerate(self.bent)
                if own and tops[b] > largest and self.error(b) > POOR
                and (self.best(b)[b] == largest or self.error(b) > HOPELESS)]  # fmt: skip
        start = self.joined()
        for down in range(0, max([tops[b] - largest for b in poor], default=0), COARSE):
            made = tuple(max(tops[b] - down, largest) if b in poor else x
                         for b, x in enumerate(start))  # fmt: skip
            self.add(made, ValueError)
            if all(self.best(b)[b] > made[b] + COARSE and self.error(b) < 0.5 for b in poor):
                break
        centre = self.joined()
        for aside in (FINE, -FINE) if poor else ():
            made = tuple(x + aside if b in poor else x for b, x in enumerate(centre))
            self.add(made, ValueError)


def _labels(material: Material, probing: Epsilons) -> Any:
    """The least likely class of every sample, or the targets: labels that leave an error."""
    program, held = material.real(probing)
    outputs = float_run(program, held, material.output_step, material.samples).outputs
    if is_classification(program):
        return np.argmin(outputs, axis=-1)
    return -np.sign(outputs) if material.targets is None else material.targets


def _real_gradients(material: Material, epsilons: Epsilons, labels: Any) -> dict[str, Floats]:
    """Sums of every coefficient's gradient, normalised as the host does it, sample by sample."""
    program, held = material.real(epsilons)
    found = float_run(program, held, material.output_step, material.samples, labels)
    return _by_target(program.accumulators, found.gradients, held)


def _by_target(
    accumulators: tuple[Accumulator, ...],
    sums: Mapping[str, Any],
    coefficients: Mapping[str, Floats],
) -> dict[str, Floats]:
    gradients: dict[str, Floats] = {}
    for a in accumulators:
        if a.target:
            value = sums[a.name] * a.scale
            if a.divisor:
                value = value / coefficients[a.divisor]
            gradients[a.target] = gradients.get(a.target, 0.0) + value
    return gradients


def _trial(
    trial: Material,
    epsilons: Epsilons,
    labels: Any,
    exact: Gradients,
    refuses: type[ValueError],
) -> Trial:
    """What becomes of the gradients with nudges of these sizes."""
    lost = Trial((np.inf,) * len(epsilons), {n: np.zeros_like(v) for n, v in exact.items()})
    try:
        integer = trial.integer(epsilons)
    except refuses as error:
        if isinstance(error, Runaway) and not error.echo:
            raise
        return lost
    result = numpy_run(integer, trial.samples, labels, machine=StagedNumpyMachine)
    if result.overflow:
        return lost
    formats = {a.name: a.type.q for a in integer.program.accumulators}
    sums = {name: to_real(words, formats[name]) for name, words in result.gradients.items()}
    held = {d.name: to_real(integer.coefficients[d.name], d.type.q)
            for d in integer.program.coefficients}  # fmt: skip
    found = _by_target(integer.program.accumulators, sums, held)
    squares: list[list[Floats]] = [[] for _ in epsilons]
    for name, value in exact.items():
        owner = _owner(name)
        if owner is not None:
            squares[owner].append(_relative(found[name], value) ** 2)
    return Trial(tuple(float(np.sqrt(np.mean(s))) if s else 0.0 for s in squares), found)


def _owner(name: str) -> int | None:
    """The block that a coefficient belongs to."""
    owner = name.partition(".")[0]
    return int(owner[1:]) if owner[:1] == "b" and owner[1:].isdigit() else None


def _relative(found: Floats, exact: Floats) -> Floats:
    """Relative error of every sample's tensor, at most 1: a gradient that all but cancels is lost
    at any nudge and should decide nothing."""
    axes = tuple(range(1, exact.ndim))
    size = np.sqrt(np.sum(exact**2, axis=axes))
    error = np.sqrt(np.sum((found - exact) ** 2, axis=axes))
    return np.minimum(error / np.where(size > 0.0, size, np.inf), 1.0)
