"""The loop over steps: batches in an order that seed and epoch decide, optax, early stopping."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import equinox as eqx
import jax
import numpy as np
import optax
from numpy.typing import NDArray

from echoloom.frontend.models.hssm import HSSM, trainable
from echoloom.frontend.training.history import Note, Row
from echoloom.frontend.training.run_file import TrainingSection
from echoloom.frontend.training.scores import Score
from echoloom.frontend.training.source import GradientSource, StepGradient
from echoloom.frontend.training.state import Counters, StateFile, TrainingState
from echoloom.frontend.training.watch import Watcher

Evaluate = Callable[[HSSM], dict[str, Score]]


@dataclass(frozen=True)
class Plan:
    """What a run does with `count` training sequences.

    It makes `steps` steps on batches of `batch`, an epoch's last batch being what is left;
    evaluates every `evaluate_every` steps and saves every `checkpoint_every`. With `patience` it
    stops after so many evaluations without a better `metric` on the validation split.
    """

    count: int
    steps: int
    batch: int
    seed: int
    evaluate_every: int
    checkpoint_every: int
    patience: int | None = None
    metric: Literal["loss", "accuracy"] = "loss"

    @property
    def steps_per_epoch(self) -> int:
        """Batches that go through all sequences once."""
        return math.ceil(self.count / self.batch)

    def pick(self, step: int) -> NDArray[np.int64]:
        """The sequences of the batch after `step` steps: a function of seed and step alone."""
        epoch, place = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng([self.seed, epoch]).permutation(self.count)
        return order[place * self.batch : (place + 1) * self.batch]


def make_plan(training: TrainingSection, count: int, seed: int) -> Plan:
    """The plan of a run file's [training]; what it does not say happens once an epoch."""
    epoch = math.ceil(count / training.batch)
    total = training.steps if training.steps is not None else (training.epochs or 0) * epoch
    return Plan(
        count, total, training.batch, seed, training.evaluate_every or epoch,
        training.checkpoint_every or epoch, training.patience, training.metric,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a run came to: the best model with patience, else the last one."""

    model: HSSM
    counters: Counters


def fit(
    model: HSSM,
    X: NDArray[Any],
    y: NDArray[Any],
    source: GradientSource,
    optimiser: optax.GradientTransformation,
    plan: Plan,
    *,
    evaluate: Evaluate | None = None,
    file: StateFile | None = None,
    watch: Watcher | None = None,
) -> Fitted:
    """`model` after the steps of `plan` on samples X [N, T, inputs] and labels y, which fit it.

    With `file` the run is saved there, and goes on from there if it was saved before: then to the
    same bits as if it had not stopped. Raises ValueError when the loss stops being finite, for a
    saved state that is no use, and OSError if the state cannot be written.
    """
    watch = watch or Watcher()
    dtype = model.encoder.weight.dtype
    samples, labels = X.astype(dtype), y.astype(dtype) if y.dtype.kind == "f" else y
    start = optimiser.init(eqx.filter(model, trainable(model)))
    state = TrainingState(model, start, model, Counters())
    if file is not None:
        state = _resumed(file, state, source, plan)
    begun = time.perf_counter() - state.counters.seconds
    watch.started(state.counters, plan.steps)
    while state.counters.step < plan.steps and not state.counters.stopped:
        pick = plan.pick(state.counters.step)
        found = source(state.model, samples[pick], labels[pick])  # type: ignore[arg-type]
        counters = _counted(state.counters, found, len(pick), plan)
        model, optimiser_state = _update(optimiser, state.model, state.optimiser, found.gradient)
        state = replace(state, model=model, optimiser=optimiser_state, counters=counters)
        watch.stepped(counters.step, 1 + (counters.step - 1) // plan.steps_per_epoch,
                      float(found.value))  # fmt: skip
        for note in counters.notes[len(counters.notes) - len(found.notes) :]:
            watch.noted(note)
        if counters.step % plan.evaluate_every == 0:
            state = _evaluated(state, evaluate, plan, time.perf_counter() - begun)
            watch.evaluated(state.counters.history[-1])
        spent = replace(state.counters, seconds=time.perf_counter() - begun)
        state = replace(state, counters=spent)
        last = spent.step == plan.steps or spent.stopped
        if file is not None and (last or spent.step % plan.checkpoint_every == 0):
            file.save(state, source.state())
    keeps_best = plan.patience is not None and state.counters.best is not None
    return Fitted(state.best if keeps_best else state.model, state.counters)


def check_finite(scores: dict[str, Score], step: int) -> None:
    """Raises ValueError if a split's loss after `step` steps is not finite."""
    for split, score in scores.items():
        if not math.isfinite(score.loss):
            raise ValueError(
                f"train: the loss on the {split} split became {score.loss} by step {step}; use a "
                "lower learning rate or scale the samples."
            )


# The optimiser is made of functions, which are compiled in: one for all seeds is compiled once.
@eqx.filter_jit
def _update(
    optimiser: optax.GradientTransformation, model: HSSM, state: Any, gradient: Any
) -> tuple[HSSM, Any]:
    own: Any
    own, frozen = eqx.partition(model, trainable(model))
    learned = eqx.filter(gradient, trainable(model))
    # A source that counts in integers gives its gradients in float64.
    gradient = jax.tree.map(lambda p, g: g.astype(p.dtype), own, learned)
    changes, state = optimiser.update(gradient, state, own)
    own = optax.apply_updates(own, changes)
    return eqx.combine(own, frozen), state


def _resumed(
    file: StateFile, state: TrainingState, source: GradientSource, plan: Plan
) -> TrainingState:
    found = file.load(state)
    if found is None:
        return state
    state, own = found
    if state.counters.step > plan.steps:
        raise ValueError(
            f"{file.path}: this run has made {state.counters.step} steps already, but it is to end "
            f"after {plan.steps}; let it go on for longer, or start over with --fresh."
        )
    source.restore(own)
    return state


def _counted(counters: Counters, found: StepGradient, sequences: int, plan: Plan) -> Counters:
    """One step more. Raises ValueError if its loss is not finite."""
    value, step = float(found.value), counters.step + 1
    if not math.isfinite(value):
        raise ValueError(
            f"train: the loss became {value} in epoch {1 + counters.step // plan.steps_per_epoch}, "
            f"step {step}; use a lower learning rate or scale the samples."
        )
    return replace(
        counters,
        step=step,
        loss_sum=counters.loss_sum + value * sequences,
        loss_count=counters.loss_count + sequences,
        overflows=counters.overflows + found.overflows,
        notes=counters.notes + tuple(Note(step, text) for text in found.notes),
    )


def _evaluated(
    state: TrainingState, evaluate: Evaluate | None, plan: Plan, seconds: float
) -> TrainingState:
    """One row more, and whether the model is the best so far."""
    counters = state.counters
    scores = {} if evaluate is None else evaluate(state.model)
    check_finite(scores, counters.step)
    row = Row(
        counters.step, counters.step / plan.steps_per_epoch,
        counters.loss_sum / counters.loss_count, counters.overflows, seconds, scores,
    )  # fmt: skip
    counters = replace(
        counters, loss_sum=0.0, loss_count=0, overflows=0, history=(*counters.history, row)
    )
    if "validation" not in scores:
        return replace(state, counters=counters)
    score = scores["validation"]
    # An accuracy is the better the larger; the least is looked for.
    value = score.loss if plan.metric == "loss" else -score.measure
    if counters.best is None or value < counters.best:
        counters = replace(counters, best=value, best_step=counters.step, stalled=0)
        return replace(state, best=state.model, counters=counters)
    stalled = counters.stalled + 1
    stopped = plan.patience is not None and stalled >= plan.patience
    return replace(state, counters=replace(counters, stalled=stalled, stopped=stopped))
