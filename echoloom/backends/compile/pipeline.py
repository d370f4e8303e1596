"""`el.compile`, stage by stage: from a model in floats to the contents of an engine's memories.

`STAGES` is the compiler. Every stage is a function of what earlier ones gave, its result is frozen,
and `str` of the result is what `echoloom compile --dump` writes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from echoloom.backends.compile.course import trained
from echoloom.backends.compile.learnable import learning_of
from echoloom.backends.compile.lost import warn_of_lost
from echoloom.backends.compile.nudges import Nudges, choose_nudges
from echoloom.backends.compile.program import CompiledProgram
from echoloom.backends.compile.progress import Progress, silent
from echoloom.backends.compile.refusals import said_of
from echoloom.backends.compile.request import Arguments, Request, checked, targets_of
from echoloom.backends.compile.rounding import Rounding, insist_on_weights, worst_roundings
from echoloom.backends.compile.search import Searched, search
from echoloom.backends.compile.stages import (
    Formatted,
    RealProgram,
    Source,
    formatted,
    integer_program,
    proven,
    ranges,
    real_program,
)
from echoloom.backends.run.integers import Floats
from echoloom.backends.run.levels import Artifact, IntegerProgram
from echoloom.frontend.energy.canonical import Plan
from echoloom.frontend.models.check import check
from echoloom.frontend.models.hssm import HSSM
from echoloom.frontend.models.stack import canonical_units, folded_stack
from echoloom.frontend.models.unfold import Unfolding
from echoloom.ir.contract import EngineConfig, Image
from echoloom.ir.learning import Rule
from echoloom.ir.passes.assemble import assemble
from echoloom.ir.passes.calibrate import PROBE, Ranges
from echoloom.ir.passes.explicit import written_formats
from echoloom.ir.passes.image import Mapped, Placed, image, placed, scheduled, summary
from echoloom.ir.passes.materialise import materialise
from echoloom.ir.passes.quantise import cuts
from echoloom.ir.passes.simplify import simplify
from echoloom.ir.precision import Precision, WrongPrecision
from echoloom.ir.widths import Widths


def energies(request: Request) -> tuple[Plan, ...]:
    """Every unit's energies in canonical form. Untraceable names the user's line."""
    if request.earlier is None:
        return canonical_units(request.model)
    return request.earlier.folded.plans


def graphs(request: Request, plans: tuple[Plan, ...]) -> Source:
    """All functions of a time step, traced; and the values of what they are made with."""
    model, earlier = request.model, request.earlier
    folding = folded_stack(model, plans) if earlier is None else earlier.folded
    values = folding.values(model)
    rule = request.learning
    precision = request.precision if rule is None else request.precision.spared(rule.margin)
    data = request.samples, request.targets, model.output_step, precision
    return Source(folding, values, *data, progress=request.progress)


def course(request: Request, source: Source) -> Source:
    """What formats have to hold for: of a model that is going to learn the whole course of its
    training, run in floats. NothingLearns, NoCourse (ValueErrors)."""
    rule = request.learning
    if rule is None:
        return source
    whole = simplify(assemble(source.graphs, (PROBE,) * len(source.graphs.blocks), learns=True))
    program, _ = materialise(whole, source.values)
    unfolding = Unfolding(request.model, source.folding)
    learning = learning_of(program, unfolding, rule, request.samples.shape[1])
    found = trained(
        request.model, source.folding, learning, request.samples, request.labels,
        partial(request.progress, "training in floats"),
    )  # fmt: skip
    return replace(source, course=found)


def settings(source: Source, found: Searched) -> Source:
    """The source with the precision that was found."""
    return source if found.chosen is None else replace(source, precision=found.effective)


def nudges(source: Source) -> Nudges:
    """The nudge size of every block: as asked, or measured."""
    asked, blocks = source.precision.nudges, len(source.graphs.blocks)
    if asked is None:
        return choose_nudges(source)
    if len(asked) != blocks:
        raise WrongPrecision(
            f"precision: there are {len(asked)} nudges, but the model has {blocks} blocks."
        )
    return Nudges(tuple(2.0**exponent for exponent in asked))


def real(source: Source, nudges: Nudges) -> RealProgram:
    """Forward pass and echo in real numbers, simplified."""
    return real_program(source, nudges.epsilons)


def formats(request: Request, source: Source, program: RealProgram, found: Ranges) -> Formatted:
    """The program in words, every rounding written down, and what of it is proven to hold."""
    earlier = request.earlier
    words = formatted(
        source, program, found, None if earlier is None else cuts(earlier.ir, source.widths)
    )
    return proven(words, integer_program(source, program, words), source.samples.shape[1])


def precision(found: Searched, nudges: Nudges, words: Formatted) -> Precision:
    """All that was chosen, written down: with it the same model and samples give the same image."""
    exponents = tuple(round(math.log2(epsilon)) for epsilon in nudges.epsilons)
    formats = written_formats(words.program, words.formats)
    return replace(found.precision, nudges=exponents, formats=formats)


def rounding(
    request: Request, source: Source, program: RealProgram, integer: IntegerProgram
) -> dict[str, Rounding]:
    """What rounding takes most of. Vanished (a ValueError) where that moves the outputs; not where
    a program is calibrated again, whose weights are being trained."""
    if request.earlier is None:
        insist_on_weights(integer, source, program)
    return worst_roundings(integer, program.coefficients, _peaks(request.samples))


def _peaks(samples: Floats) -> tuple[float, ...]:
    """Of few digits, so that a file's text of them has none that could change unseen."""
    return tuple(float(f"{peak:.6g}") for peak in np.abs(samples).max(axis=(0, 1)))


def allocation(request: Request, source: Source, integer: IntegerProgram) -> Placed:
    """An address for every word and a task for every stored one. DoesNotFit (a ValueError) where
    an engine has no room."""
    engine = EngineConfig.of(source.widths, *request.sizes)
    return placed(integer.program, integer.tables, engine, integer.learning)


def contents(integer: IntegerProgram, mapped: Mapped) -> Image:
    """The contents of the engine's memories."""
    return image(mapped, integer.coefficients)


def _listed(items: Iterable[tuple[Any, Any]]) -> str:
    return "".join(f"{name}: {item}\n" for name, item in items)


@dataclass(frozen=True)
class Stage:
    """One step of compilation: `make` of what the stages named in `takes` gave. `text` is how the
    result is read."""

    name: str
    takes: tuple[str, ...]
    make: Callable[..., Any]
    text: Callable[[Any], str] = str


# The compiler. To find nudge sizes, "real" to "integer" are run at every size that is tried.
STAGES = (
    Stage("model", ("arguments",), checked),
    Stage("energies", ("model",), energies, lambda plans: _listed(enumerate(plans))),
    Stage("graphs", ("model", "energies"), graphs),
    Stage("course", ("model", "graphs"), course, lambda s: str(s.course or "nothing learns\n")),
    Stage("search", ("model", "course"), search),
    Stage("settings", ("course", "search"), settings, lambda s: str(s.precision)),
    Stage("nudges", ("settings",), nudges),
    Stage("real", ("settings", "nudges"), real),
    Stage("ranges", ("settings", "real"), ranges),
    Stage("formats", ("model", "settings", "real", "ranges"), formats),
    Stage("precision", ("search", "nudges", "formats"), precision),
    Stage("integer", ("settings", "real", "formats"), integer_program, lambda i: str(i.program)),
    Stage(
        "rounding", ("model", "settings", "real", "integer"), rounding, lambda r: _listed(r.items())
    ),
    Stage("allocation", ("model", "settings", "integer"), allocation),
    Stage("schedule", ("allocation",), scheduled),
    Stage("image", ("integer", "schedule"), contents, summary),
)

Watcher = Callable[[Stage, Any], None]  # sees every stage and what it gave


def run(given: Mapping[str, Any], watch: Watcher = lambda stage, made: None) -> dict[str, Any]:
    """What every stage gave, by its name; a stage whose result is `given` is not run."""
    made = dict(given)
    for stage in STAGES:
        if stage.name not in made:
            made[stage.name] = _made(stage, made)
        watch(stage, made[stage.name])
    return made


def _made(stage: Stage, made: Mapping[str, Any]) -> Any:
    taken = [made[name] for name in stage.takes]
    if "energies" not in made:
        return stage.make(*taken)
    with said_of(made["model"].model, made["energies"]):
        return stage.make(*taken)


def compiled(arguments: Arguments, watch: Watcher = lambda stage, made: None) -> CompiledProgram:
    """`compile`, watched."""
    made = run({"arguments": arguments}, watch)
    warn_of_lost(made["nudges"], made["graphs"].folding, arguments.model)
    return _program(made)


def _program(made: Mapping[str, Any]) -> CompiledProgram:
    request, integer = made["model"], made["integer"]
    return CompiledProgram(
        request.model, Artifact(**vars(integer), mapped=made["schedule"]), request.target,
        made["nudges"].epsilons, _peaks(request.samples), made["precision"],
        made["graphs"].folding,
    )  # fmt: skip


def compile(
    model: HSSM,
    samples: Any,
    labels: Any = None,
    target: str = "ecp5-85k",
    lanes: SupportsIndex = 16,
    drains: SupportsIndex | None = None,
    slots: SupportsIndex = EngineConfig.slots,
    widths: Widths | None = None,
    weight_margin: SupportsIndex | None = None,
    learning: Rule | None = None,
    precision: Any = None,
    progress: Progress = silent,
    cosine: float = Arguments.cosine,
    norm: float = Arguments.norm,
    executor: Executor | None = None,
) -> CompiledProgram:
    """Compile `model` for an engine of `lanes` multipliers.

    samples [n, T, inputs] is real data: every format comes from what the model does on it, with
    `widths.margin` bits to spare. labels [n] or targets [n, T', outputs] calibrate the back
    signals; without targets the largest error |tanh - target| <= 2 is assumed. `drains` results
    are requantised per cycle (default lanes / 4), `slots` row groups wait for them.
    `weight_margin` bits to spare for every coefficient (default those of `widths`, 0) let
    parameters grow 2**weight_margin times before `with_parameters` refuses them.

    `precision` takes the place of `widths`: a `Precision` (word lengths, spare bits by class of
    words, nudge sizes, explicit formats), the name of a profile or the path of a TOML file that
    describes one. `program.precision` is the whole of what was chosen: compiled with it, the same
    model and samples give the same image. "auto" is the cheapest on the target whose gradients
    have, in every tensor and for every one of some samples that are kept back, at least this
    `cosine` with float64 backpropagation and a norm within `norm` of it; an `executor` makes the
    trials, in processes or elsewhere.

    With a rule of `learning` (`SignUpdate`, `ScaledUpdate`) the engine can update its own weights.
    Its formats hold for the whole course: `rule.updates` updates are made in floats on the samples,
    for which labels or targets are needed, and `rule.margin` bits are spared beyond what they
    reach.

    `progress` is called with what is being done, how much of it is done and of how much (0 where
    nobody knows): steps of the sweeps that measure ranges, updates of a training, precisions that
    are tried.

    ValueError in one sentence for bad samples, labels, parameters, sizes or target, for a model
    that needs more memory than an engine of these sizes can have, and for a row or column of
    weights that its matrix's format leaves so little of that the outputs move.

    Warns (Unresolved) of parameters of curved units whose gradients no word of the target resolves
    on these samples, and (Unmet) where no precision was found that meets the bounds of "auto": the
    best found is in use then.
    """
    return compiled(
        Arguments(
            model,
            samples,
            labels,
            target,
            lanes,
            drains,
            slots,
            widths,
            weight_margin,
            learning,
            precision,
            progress,
            cosine,
            norm,
            executor,
        )
    )


def calibrated_again(
    program: CompiledProgram,
    model: HSSM,
    samples: Floats,
    labels: NDArray[Any] | None,
    widths: Widths,
) -> CompiledProgram:
    """`program` with formats for `model`'s parameters on these samples: another image for the same
    engine.

    samples and labels are what `check_samples` gives, `widths` those that `program` was compiled
    with. Products keep the operand that is cut, so that only formats and nudge sizes change.
    Runaway (a ValueError) where the samples drive a state off.
    """
    check(model)
    old = program.artifact.mapped.config
    sizes = old.lanes, old.drains, old.slots
    targets = targets_of(model, labels)
    request = Request(model, samples, targets, program.target, Precision(widths), sizes, program)
    return _program(run({"model": request}))
