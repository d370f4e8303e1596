"""Training in one call: Adam on gradients of batches, the usual way to a first checkpoint."""

from __future__ import annotations

from typing import Any

import optax

from echoloom.frontend.data.arrays import real_number, shown, whole_number
from echoloom.frontend.data.samples import check_samples
from echoloom.frontend.gradients.bptt import bptt_value_and_grad
from echoloom.frontend.models.check import check
from echoloom.frontend.models.checkpoint import load_model as load_model
from echoloom.frontend.models.checkpoint import save_model as save_model
from echoloom.frontend.models.hssm import HSSM
from echoloom.frontend.training.loop import fit, make_plan
from echoloom.frontend.training.run_file import TrainingSection
from echoloom.frontend.training.source import GradientSource, float_source
from echoloom.frontend.training.watch import Bar, Watcher


def train(
    model: HSSM,
    X: Any,
    y: Any,
    *,
    epochs: int,
    learning_rate: float,
    batch: int,
    seed: int = 0,
    progress: bool = False,
    source: GradientSource | None = None,
) -> HSSM:
    """`model` after `epochs` rounds, each in another order, over samples X [N, T, inputs] and
    labels y.

    The norm statistics stay as they are: set them before with `with_statistics`. `seed` decides the
    order of samples alone; `progress` shows a bar; gradients are `source`'s, or go through time.
    Raises ValueError for a model or data that cannot be trained, and when the loss stops being
    finite. Run files (`echoloom.frontend.training`) can do more: other optimisers, early stopping,
    resuming.
    """
    check(model)
    samples, labels = check_samples(model, X, y)
    epochs, batch = whole_number("train: epochs", epochs), whole_number("train: batch", batch)
    rate, seed = real_number(learning_rate), whole_number("train: seed", seed)
    if rate is None:
        raise ValueError(f"train: learning_rate is {shown(learning_rate)}, but it must be > 0.")
    for name, value in (("epochs", epochs), ("batch", batch), ("learning_rate", rate)):
        if not value > 0:
            raise ValueError(f"train: {name} is {value}, but it must be > 0.")
    plan = make_plan(TrainingSection(epochs=epochs, batch=batch), len(samples), seed)
    with Bar("training") if progress else Watcher() as watch:
        fitted = fit(
            model, samples, labels,
            source or float_source(bptt_value_and_grad(model)),
            optax.adam(rate), plan, watch=watch,
        )  # fmt: skip
    return fitted.model
