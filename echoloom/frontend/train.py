"""Training on the host: Adam on gradients through time, the usual way to a first checkpoint."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from rich.console import Console
from rich.progress import Progress

from echoloom.frontend.check import check
from echoloom.frontend.checkpoint import load_model as load_model
from echoloom.frontend.checkpoint import save_model as save_model
from echoloom.frontend.data import check_samples
from echoloom.frontend.hssm import HSSM, trainable
from echoloom.frontend.loss import loss


def train(
    model: HSSM,
    X: ArrayLike,
    y: ArrayLike,
    *,
    epochs: int,
    learning_rate: float,
    batch: int,
    seed: int = 0,
    progress: bool = False,
) -> HSSM:
    """`model` after `epochs` shuffled passes over samples X [N, T, inputs] and labels y.

    The norm statistics stay as they are: set them before with `with_statistics`. `seed` decides the
    order of samples alone; `progress` shows a bar with the mean loss of the last epoch. Raises
    ValueError for a model or data that cannot be trained, and when the loss stops being finite.
    """
    check(model)
    check_samples(model, X, y)
    for name, value in (("epochs", epochs), ("batch", batch), ("learning_rate", learning_rate)):
        if not value > 0:
            raise ValueError(f"train: {name} is {value}, but it must be > 0.")
    samples, labels = jnp.asarray(X, dtype=model.encoder.weight.dtype), jnp.asarray(y)
    parameters, frozen = eqx.partition(model, trainable(model))
    optimizer = optax.adam(learning_rate)
    optimizer_state = optimizer.init(parameters)

    def batch_loss(own: HSSM, x: jax.Array, label: jax.Array) -> jax.Array:
        full = eqx.combine(own, frozen)
        return jnp.mean(jax.vmap(lambda a, b: loss(full, a, b))(x, label))

    @jax.jit
    def update(own, state, x, label):
        value, gradient = jax.value_and_grad(batch_loss)(own, x, label)
        changes, state = optimizer.update(gradient, state)
        return optax.apply_updates(own, changes), state, value

    order = np.random.default_rng(seed)
    bar: AbstractContextManager[Progress | None] = nullcontext()
    if progress:
        bar = Progress(console=Console(stderr=True))
    with bar as shown:
        task = None if shown is None else shown.add_task("training", total=epochs)
        for epoch in range(epochs):
            picks = order.permutation(samples.shape[0])
            total = 0.0
            for start in range(0, len(picks), batch):
                pick = picks[start : start + batch]
                parameters, optimizer_state, value = update(
                    parameters, optimizer_state, samples[pick], labels[pick]
                )
                total += float(value) * len(pick)
            mean = total / len(picks)
            if not np.isfinite(mean):
                raise ValueError(
                    f"train: the loss became {mean} in epoch {epoch + 1}; use a learning rate "
                    f"below {learning_rate} or scale the samples."
                )
            if shown is not None and task is not None:
                shown.update(task, advance=1, description=f"loss {mean:.4f}")
    return eqx.combine(parameters, frozen)
