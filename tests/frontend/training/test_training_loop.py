"""The loop: order of samples, resuming, early stopping, scores, history, what it refuses."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field, replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echoloom.frontend.data.data_sets import Data
from echoloom.frontend.gradients.bptt import bptt_value_and_grad
from echoloom.frontend.gradients.loss import loss
from echoloom.frontend.gradients.rhel import rhel_value_and_grad
from echoloom.frontend.training.history import history_csv
from echoloom.frontend.training.loop import Fitted, Plan, fit, make_plan
from echoloom.frontend.training.run_file import TrainingSection
from echoloom.frontend.training.scores import Score, make_scorer
from echoloom.frontend.training.source import GradientSource, StepGradient, float_source
from echoloom.frontend.training.state import Identity, StateFile
from echoloom.frontend.training.watch import Watcher

COUNT, STEPS = 7, 9
SOURCES = {"bptt": bptt_value_and_grad, "rhel": rhel_value_and_grad}


def samples(model, count: int = COUNT) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    y = np.arange(count) % model.outputs
    return rng.standard_normal((count, STEPS, model.inputs)) + y[:, None, None], y


class Stop(Exception):
    """What a killed process would be."""


def planned(count: int, *, seed: int, **settings) -> Plan:
    return make_plan(TrainingSection(**settings), count, seed)


class StopAt(Watcher):
    """Ends the run after some steps, before they are saved."""

    def __init__(self, step: int):
        self.step = step

    def stepped(self, step: int, epoch: int, loss: float) -> None:
        if step == self.step:
            raise Stop


@given(
    count=st.integers(1, 30),
    batch=st.integers(1, 11),
    seed=st.integers(0, 3),
    epoch=st.integers(0, 4),
)
def test_every_epoch_takes_every_sequence_once(count, batch, seed, epoch):
    plan = planned(count, batch=batch, seed=seed, epochs=2)
    assert plan.steps == 2 * math.ceil(count / batch)
    first = epoch * plan.steps_per_epoch
    picks = [plan.pick(first + step) for step in range(plan.steps_per_epoch)]
    assert sorted(np.concatenate(picks).tolist()) == list(range(count))
    assert all(len(pick) == batch for pick in picks[:-1])


def test_the_order_depends_on_seed_and_epoch():
    orders = {
        tuple(planned(20, batch=20, seed=seed, epochs=2).pick(epoch))
        for seed in range(3)
        for epoch in range(2)
    }
    assert len(orders) == 6


@pytest.mark.parametrize("kind", SOURCES)
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(kind, make_model, tmp_path):
    """Stopped several times, in the middle of epochs and of intervals between checkpoints."""
    model = make_model(blocks=1)
    X, y = samples(model)
    plan = planned(
        COUNT, batch=3, seed=1, steps=11, evaluate_every=4, checkpoint_every=2, patience=9
    )
    scores = make_scorer(Data(X, y, X[:3] + 0.1, y[:3]), 3)
    source = float_source(SOURCES[kind](model))

    def run(file: StateFile | None, watch: Watcher) -> Fitted:
        return fit(
            model, X, y, source, optax.adamw(1e-2), plan,
            evaluate=lambda own: scores(own, ("train", "validation")), file=file, watch=watch,
        )  # fmt: skip

    whole = run(None, Watcher())
    file = StateFile(tmp_path / "state.bin", Identity({}, "", 1))
    for stop in (1, 4, 5, 10):
        with pytest.raises(Stop):
            run(file, StopAt(stop))
    cut = run(file, Watcher())
    assert eqx.tree_equal(whole.model, cut.model)
    assert [row.step for row in cut.counters.history] == [4, 8]
    for own, theirs in zip(whole.counters.history, cut.counters.history, strict=True):
        assert own == replace(theirs, seconds=own.seconds)
    assert replace(whole.counters, seconds=0.0, history=()) == replace(
        cut.counters, seconds=0.0, history=()
    )


@dataclass
class Remembering:
    """A source whose next gradient depends on how often it was called."""

    calls: int = 0
    seen: list[bytes] = field(default_factory=list)

    def __call__(self, model, X, y) -> StepGradient:
        self.calls += 1
        gradient = jax.tree.map(
            lambda leaf: jnp.full_like(leaf, 1.0 / self.calls), eqx.filter(model, eqx.is_array)
        )
        notes = (f"call {self.calls}",) if self.calls % 2 else ()
        frozen = eqx.tree_at(
            lambda m: [s for b in m.blocks for s in (b.norm.mean, b.norm.variance)], gradient,
            replace_fn=lambda _: None,
        )  # fmt: skip
        return StepGradient(jnp.asarray(1.0 / self.calls), frozen, self.calls % 3, notes)

    def state(self) -> bytes:
        return str(self.calls).encode()

    def restore(self, state: bytes) -> None:
        self.seen.append(state)
        self.calls = int(state)


def test_a_source_with_a_memory_keeps_it_and_is_heard(make_model, tmp_path):
    model = make_model(blocks=1)
    X, y = samples(model)
    plan = planned(COUNT, batch=4, seed=0, steps=6, evaluate_every=2, checkpoint_every=3)
    file = StateFile(tmp_path / "state.bin", Identity({}, "", 0))
    whole = fit(model, X, y, Remembering(), optax.sgd(1e-3), plan)
    with pytest.raises(Stop):
        fit(model, X, y, Remembering(), optax.sgd(1e-3), plan, file=file, watch=StopAt(5))
    source: Remembering = Remembering()
    cut = fit(model, X, y, source, optax.sgd(1e-3), plan, file=file)
    assert source.seen == [b"3"] and source.calls == 6
    assert eqx.tree_equal(whole.model, cut.model)
    assert [row.overflows for row in cut.counters.history] == [1 + 2, 0 + 1, 2 + 0]
    assert [(n.step, n.text) for n in cut.counters.notes] == [
        (1, "call 1"), (3, "call 3"), (5, "call 5"),
    ]  # fmt: skip


def test_float_sources_refuse_a_memory():
    source: GradientSource = float_source(lambda model, X, y: (jnp.zeros(()), model))
    assert source.state() == b""
    with pytest.raises(ValueError, match="belongs to a gradient source with a memory"):
        source.restore(b"x")


def test_a_longer_run_goes_on_as_if_it_had_always_been_so(make_model, tmp_path):
    model = make_model(blocks=1)
    X, y = samples(model)
    source = float_source(bptt_value_and_grad(model))

    def run(epochs: int, file: StateFile | None) -> Fitted:
        plan = planned(COUNT, batch=3, seed=0, epochs=epochs)
        return fit(model, X, y, source, optax.adam(1e-2), plan, file=file)

    file = StateFile(tmp_path / "state.bin", Identity({}, "", 0))
    run(2, file)
    assert eqx.tree_equal(run(4, file).model, run(4, None).model)
    with pytest.raises(ValueError, match="has made 12 steps already, but it is to end after 9"):
        run(3, file)


def stopping(make_model, values: list[float], **arguments) -> tuple[Fitted, list]:
    """A run whose validation loss takes `values`, one a step, and the models it went through."""
    model = make_model(blocks=1)
    X, y = samples(model)
    models = []

    def evaluate(own) -> dict[str, Score]:
        models.append(own)
        value = values[len(models) - 1]
        return {"validation": Score(value, value)}

    plan = planned(COUNT, batch=COUNT, seed=0, epochs=len(values), **arguments)
    found = fit(
        model, X, y, float_source(bptt_value_and_grad(model)), optax.adam(1e-2), plan,
        evaluate=evaluate,
    )  # fmt: skip
    return found, models


@pytest.mark.parametrize(
    ("values", "arguments", "steps", "best"),
    [
        ([3.0, 2.0, 2.0, 2.5, 1.0], {"patience": 2}, 4, 2),
        ([3.0, 2.0, 2.5, 1.0, 4.0], {"patience": 2}, 5, 4),
        ([0.1, 0.5, 0.5, 0.4, 0.9], {"patience": 2, "metric": "accuracy"}, 4, 2),
        ([3.0, 1.0, 2.0, 2.0, 2.0], {"patience": 9}, 5, 2),
        ([3.0, 1.0, 2.0, 2.0, 2.0], {}, 5, 5),
    ],
)
def test_early_stopping_gives_the_best_model_back(make_model, values, arguments, steps, best):
    found, models = stopping(make_model, values, **arguments)
    assert found.counters.step == steps == len(models)
    assert found.counters.stopped == (steps < len(values))
    assert eqx.tree_equal(found.model, models[best - 1])
    if arguments:
        assert found.counters.best_step == best


def test_a_loss_that_is_not_finite_is_refused(make_model):
    with pytest.raises(ValueError, match="the loss on the validation split became nan by step 2"):
        stopping(make_model, [1.0, math.nan, 1.0])
    model = make_model(blocks=1)
    X, y = samples(model)
    plan = planned(COUNT, batch=3, seed=0, epochs=3)
    calls = iter([1.0, 1.0, 1.0, 1.0, math.inf])

    def source(model, X, y):
        return jnp.asarray(next(calls)), eqx.filter(model, lambda _: False)

    class Fake(Remembering):
        def __call__(self, model, X, y) -> StepGradient:
            value, _ = source(model, X, y)
            return replace(super().__call__(model, X, y), value=value)

    with pytest.raises(ValueError, match="the loss became inf in epoch 2, step 5; use a lower"):
        fit(model, X, y, Fake(), optax.sgd(1e-3), plan)


def test_scores_do_not_depend_on_how_many_are_taken_at_once(make_model):
    model = make_model(blocks=1)
    X, y = samples(model)
    data = Data(X, y, X_test=X[:2], y_test=y[:2])
    found = [make_scorer(data, batch)(model, ("train", "test")) for batch in (1, 3, COUNT, 20)]
    wanted = [float(loss(model, jnp.asarray(x), int(label))) for x, label in zip(X, y, strict=True)]
    guesses = np.asarray(jax.vmap(model)(X)).argmax(axis=1)
    for one in found:
        assert one.keys() == {"train", "test"}
        np.testing.assert_allclose(one["train"].loss, np.mean(wanted), rtol=1e-9)
        assert one["train"].measure == np.mean(guesses == y)
        assert one["test"].measure == np.mean(guesses[:2] == y[:2])


def test_squared_errors_are_in_the_data_s_own_units(make_model):
    model = make_model(blocks=1, task="regression", output_step=3, outputs=2)
    X, _ = samples(model)
    y = np.random.default_rng(0).uniform(-0.9, 0.9, (COUNT, 3, 2))
    scale, centre = np.asarray([2.0, 10.0]), np.asarray([1.0, -3.0])
    data = Data(X, y, target_scale=scale, target_centre=centre)
    score = make_scorer(data, 4)(model, ("train",))["train"]
    found = np.asarray(jax.vmap(model)(X))
    np.testing.assert_allclose(score.loss, np.mean((found - y) ** 2))
    raw = (found * scale + centre) - (y * scale + centre)
    np.testing.assert_allclose(score.measure, np.mean(raw**2))


def test_history_as_csv(make_model):
    found, _ = stopping(make_model, [3.0, 2.0])
    lines = list(
        csv.DictReader(history_csv(found.counters.history, "accuracy").decode().splitlines())
    )
    assert [line["step"] for line in lines] == ["1", "2"]
    assert [float(line["validation_accuracy"]) for line in lines] == [3.0, 2.0]
    assert [float(line["loss"]) for line in lines] == [r.loss for r in found.counters.history]
    assert history_csv((), "accuracy") == b"step,epoch,loss,overflows,seconds\n"


def test_plans_say_what_happens_once_an_epoch():
    plan = planned(10, batch=4, seed=0, epochs=2)
    assert plan == Plan(10, 6, 4, 0, evaluate_every=3, checkpoint_every=3)
    assert planned(10, batch=4, seed=0, steps=5, evaluate_every=2).evaluate_every == 2
