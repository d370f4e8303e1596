"""The stage behind `precision="auto"`: the cheapest precision whose gradients are good enough.

Some of the samples are kept back. Formats for every choice of word lengths come from the others,
and the integers' gradients on those kept back are held against float64 backpropagation, tensor by
tensor and sequence by sequence, with the answer that the model finds least likely, so that there is
a gradient to hold. The choice is then tried once more with formats from all samples.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echoloom.backends.chips.cost import Cost, cost_of
from echoloom.backends.chips.resources import chip_of
from echoloom.backends.compile.figures import TensorQuality, sequences_quality
from echoloom.backends.compile.narrowing import Narrowing, Trial, Try
from echoloom.backends.compile.nudges import choose_nudges
from echoloom.backends.compile.raw_gradients import raw_gradients
from echoloom.backends.compile.request import Bounds, Request
from echoloom.backends.compile.stages import Epsilons, Source, ranges, real_program
from echoloom.backends.compile.trials import Bench, Found, integers, tried
from echoloom.backends.run.integers import Floats
from echoloom.frontend.gradients.exact import Tensors, exact_gradients, hard_answers, tensors
from echoloom.ir.contract import EngineConfig
from echoloom.ir.passes.image import placed, roomy, scheduled
from echoloom.ir.passes.recorder import Runaway
from echoloom.ir.precision import Precision
from echoloom.ir.printer import columns
from echoloom.ir.widths import MOST, Widths

# One sample of so many is kept back, and not more than so many in all; of fewer than the first all
# both calibrate and judge.
EVERY, MOST_KEPT = 3, 16
# Of the bounds that a choice may use up on the samples kept back: fresh ones have worse among them.
RESERVE, LEAST_RESERVE = 0.5, 0.8  # the second where the first would cost multipliers
# Exponents of all curved blocks' nudges beside the measured ones, where nothing else helps.
ASIDE = (-1, 1, -2, 2, -3)
TOGETHER = 3  # trials at a time, where there is an executor
LONGER = 3  # bits that a word may gain once formats come from all samples
WORTHLESS = TensorQuality(0.0, float("inf"))


class Unmet(UserWarning):
    """No formats reach the bounds that were asked for; the best found are in use."""


@dataclass(frozen=True, eq=False)
class Searched:
    """The precision that was found, and all trials in their order; none where one was asked for.
    `chosen`: the last of them, with formats from all samples; `kept`: which samples judged."""

    precision: Precision
    trials: tuple[Trial, ...] = ()
    chosen: Trial | None = None
    kept: tuple[int, ...] = ()
    unmet: tuple[str, ...] = ()  # a sentence, where it is not good enough
    spared: int = 0  # bits beyond the precision's own: a rule's

    @property
    def good(self) -> bool:
        """Whether the bounds that were asked for are met."""
        return not self.unmet

    def summary(self) -> dict[str, Any]:
        """What was found, for a report in JSON."""
        if self.chosen is None:
            return {}
        w, quality, cost = self.chosen.widths, self.chosen.quality, self.chosen.cost
        return {
            "word": w.word, "narrow": w.narrow, "accumulator": w.accumulator,
            "gradient": w.gradient_bits, "cosine": quality.cosine,
            "norm_ratio": quality.norm_ratio, "good": self.good, "trials": len(self.trials),
            "multipliers": cost.multipliers, "block_rams": cost.blocks, "memory_bits": cost.bits,
            "kept_back": list(self.kept),
        }  # fmt: skip

    @property
    def effective(self) -> Precision:
        """What formats are chosen by."""
        return self.precision.spared(self.spared)

    def __str__(self) -> str:
        """A line for every trial."""
        if self.chosen is None:
            return "not searched for\n"
        rows: list[tuple[object, ...]] = [
            ("word", "narrow", "accumulator", "gradient", "segments", "cosine", "norm ratio",
             "multipliers", "block RAMs", "bits", "")
        ]  # fmt: skip
        for t in (*self.trials, self.chosen):
            w, own = t.widths, t is self.chosen
            figures = (f"{t.quality.cosine:.6f}", f"{t.quality.norm_ratio:.4f}")
            rows.append(
                (w.word, w.narrow, w.accumulator, w.gradient_bits, 1 << w.segment_bits,
                 *(("refused", "") if t.refused else figures), t.cost.multipliers, t.cost.blocks,
                 f"{t.cost.bits:,}", "chosen" if own else "")
            )  # fmt: skip
        judged = ", ".join(map(str, self.kept))
        return f"{columns(rows)}judged by the samples {judged}\n"


def search(request: Request, source: Source) -> Searched:
    """The precision that was asked for, or the cheapest that is good enough. Warns (Unmet) where
    none is."""
    if request.bounds is None:
        return Searched(request.precision)
    alone = source.course is not None  # whose samples are not parted from their labels
    kept = _spread(len(source.samples)) if alone else kept_back(source.samples)
    fitted = source if alone or len(kept) == len(source.samples) else _without(source, kept)
    own = None if source.targets is None else source.targets[kept]
    X = source.samples[kept]
    y = hard_answers(request.model, X, own)
    epsilons = choose_nudges(fitted).epsilons
    bench = _bench(fitted, epsilons, X, y)
    exact = exact_gradients(request.model, X, y)
    judge = _Judge(request, source, exact, _engine(request, source, bench))
    found, epsilons, narrowing = _narrowed(judge, fitted, epsilons, bench)
    best = narrowing.nearest().widths if found is None else narrowing.made[found].widths
    whole = judge.on(_bench(source, epsilons, X, y))
    chosen = _with_all_samples(whole, best, LONGER if found is not None else 0)
    unmet = () if chosen.score <= 1.0 else (_unmet(chosen, request.bounds),)
    for sentence in unmet:
        warnings.warn(sentence, Unmet, stacklevel=2)
    exponents = tuple(round(np.log2(e)) for e in epsilons)
    asked = replace(chosen.widths, margin=request.precision.widths.margin)
    precision = replace(request.precision, widths=asked, nudges=exponents)
    trials = tuple(narrowing.made.values())
    spared = source.widths.margin - request.precision.widths.margin
    return Searched(precision, trials, chosen, tuple(kept.tolist()), unmet, spared)


def _with_all_samples(attempt: Try, best: Widths, more: int) -> Trial:
    """The choice with formats from all samples; with a longer word where those are too coarse."""
    (trial,) = attempt([best])
    if trial.score > 1.0 and more:
        longer = replace(best, word=best.word + 1, accumulator=best.accumulator + 1,
                         gradient=best.gradient_bits + 1)  # fmt: skip
        return _with_all_samples(attempt, longer, more - 1)
    # What was tried has held, whatever these samples alone would need.
    accumulator = max(best.accumulator, trial.widths.accumulator)
    gradient = max(best.gradient_bits, trial.widths.gradient_bits)
    return replace(trial, widths=replace(trial.widths, accumulator=accumulator, gradient=gradient))


def _unmet(chosen: Trial, bounds: Bounds) -> str:
    w, q = chosen.widths, chosen.quality
    figures = (
        f"{q.cosine:.6f} ({chosen.tensors[0]}) and a norm ratio of {q.norm_ratio:.4f} "
        f"({chosen.tensors[1]})"
    )
    return (
        f"no formats were found whose gradients have a cosine of {bounds.cosine} and norms within "
        f"{bounds.norm:.2%}; the best found, words of {w.word} bits and weights of {w.narrow}, "
        f"have {chosen.refused or figures}, and are in use"
    )


def _spread(count: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, count - 1, min(count, MOST_KEPT)).astype(np.int64))


def kept_back(samples: Floats) -> NDArray[np.int64]:
    """Which of samples [n, T, inputs] judge and do not calibrate: every third, but none that
    reaches farthest in a channel; all, where there are fewer than three."""
    if len(samples) < EVERY:
        return np.arange(len(samples))
    farthest = np.abs(samples).max(1).argmax(0)
    every = np.setdiff1d(np.arange(EVERY - 1, len(samples), EVERY), farthest)
    if not len(every):  # few samples, and those reach farthest
        return np.arange(len(samples))
    return every[_spread(len(every))].astype(np.int64)


def _without(source: Source, kept: NDArray[np.int64]) -> Source:
    rest = np.setdiff1d(np.arange(len(source.samples)), kept)
    targets = None if source.targets is None else source.targets[rest]
    return replace(source, samples=source.samples[rest], targets=targets)


def _bench(source: Source, epsilons: Epsilons, X: Floats, y: Any) -> Bench:
    real = real_program(source, epsilons)
    found = ranges(source, real)
    course = source.course
    largest = {} if course is None else course.largest
    spared = 0 if course is None else course.learning.rule.margin
    return Bench(real.program, real.coefficients, found, largest, spared, source.output_step, X, y)


def _engine(request: Request, source: Source, bench: Bench) -> EngineConfig:
    """The engine that the program needs as it is asked for; word lengths hardly change depths."""
    integer = integers(bench, source.precision)
    least = EngineConfig.of(source.widths, *request.sizes)
    return scheduled(placed(integer.program, integer.tables, least, source.learning)).config


def _narrowed(
    judge: _Judge, source: Source, epsilons: Epsilons, bench: Bench
) -> tuple[Widths | None, Epsilons, Narrowing]:
    """The word lengths found, with the nudges that they were found at, and the search: of curved
    blocks with other nudges too, where none is good enough."""
    bent = [block.curved for block in source.graphs.blocks]
    best = judge.search(bench)
    found, at = _found(best), epsilons
    for aside in ASIDE if any(bent) and found is None else ():
        sizes = tuple(e * 2.0**aside if own else e for e, own in zip(epsilons, bent, strict=True))
        try:
            search = judge.search(_bench(source, sizes, bench.X, bench.y))
        except Runaway:
            continue
        found = _found(search)
        if found is not None or search.nearest().score < best.nearest().score:
            best, at = search, sizes
        if found is not None:
            break
    return found, at, best


def _found(search: Narrowing) -> Widths | None:
    """What a search finds, with less in reserve where that saves multipliers."""
    careful = search.run()
    usual = search.made[search.start].cost
    if careful is not None and search.made[careful].cost.multipliers <= usual.multipliers:
        return careful
    search.good = LEAST_RESERVE
    bold = search.run()
    if careful is None or bold is None:
        return bold
    return min(careful, bold, key=lambda widths: search.made[widths].cost)


@dataclass(frozen=True, eq=False)
class _Judge:
    """Turns what trials find into figures and costs."""

    request: Request
    source: Source
    exact: Tensors
    engine: EngineConfig

    def search(self, bench: Bench) -> Narrowing:
        """A search on this bench, with nothing tried yet."""
        together = 1 if self.request.executor is None else TOGETHER
        return Narrowing(self.on(bench), self.least, self.source.widths, RESERVE, together)

    def on(self, bench: Bench) -> Try:
        """Trials on this bench, all at once where there is an executor."""

        def attempt(many: Sequence[Widths]) -> list[Trial]:
            precisions = [replace(self.source.precision, widths=w) for w in many]
            executor = self.request.executor
            run = map if executor is None else executor.map
            lengths = " and ".join(f"{w.word}/{w.narrow}" for w in many)
            self.request.progress(f"trying words and weights of {lengths} bits", 0, 0)
            found = run(partial(tried, bench), precisions)
            return [self.trial(w, own) for w, own in zip(many, found, strict=True)]

        return attempt

    def least(self, widths: Widths) -> Cost:
        """The least that word lengths can cost, with tables as long as ever."""
        product = widths.word + widths.narrow
        return self.cost(replace(widths, accumulator=product + 1, gradient=product - 1), None)

    def cost(self, widths: Widths, lines: int | None) -> Cost:
        depth = self.engine.table_depth if lines is None else roomy(lines)
        own = replace(
            self.engine, word=widths.word, narrow=widths.narrow, accumulator=widths.accumulator,
            gradient=widths.gradient_bits, table_depth=depth,
        )  # fmt: skip
        return cost_of(own, chip_of(self.request.target.name))

    def trial(self, widths: Widths, found: Found) -> Trial:
        if found.refused:
            return Trial(widths, self.least(widths), float("inf"), WORTHLESS, refused=found.refused)
        own = needed(widths, found)
        raw = raw_gradients(self.source.folding, self.request.model, found.gradients)
        quality = sequences_quality(tensors(raw), self.exact, found.flags).by_tensor()
        cosine = min(quality, key=lambda name: quality[name].cosine)
        ratio = max(quality, key=lambda name: abs(quality[name].norm_ratio - 1.0))
        worst = TensorQuality(quality[cosine].cosine, quality[ratio].norm_ratio)
        bounds = self.request.bounds
        assert bounds is not None
        score = max((1.0 - worst.cosine) / (1.0 - bounds.cosine),
                    abs(worst.norm_ratio - 1.0) / bounds.norm)  # fmt: skip
        return Trial(own, self.cost(own, found.lines), score, worst, (cosine, ratio))


def needed(widths: Widths, found: Found) -> Widths:
    """The same words with the shortest sums that hold: of products proven by the program's types,
    over time as they were seen, with the spare bits of signals."""
    product = widths.word + widths.narrow
    gradient = max(product - 1, found.sum_bits + widths.margin)
    accumulator = max(product + 1, found.exact_bits, min(gradient, MOST))
    return replace(widths, accumulator=accumulator, gradient=min(gradient, accumulator))
