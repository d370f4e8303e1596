"""Training: it learns, it repeats, it leaves the statistics alone, it stops when it diverges."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

from echoloom.frontend.gradients.loss import loss
from echoloom.frontend.training.train import train

SETTINGS = {"epochs": 25, "learning_rate": 3e-3, "batch": 5}


def two_tones(count: int = 12) -> tuple[jax.Array, jax.Array]:
    """Sines of two frequencies, by class: [count, 30, 5]."""
    labels = jnp.arange(count) % 2
    phase = jnp.linspace(0, 6, count)[:, None, None]
    time = jnp.arange(30)[None, :, None] * jnp.where(labels, 0.9, 0.3)[:, None, None]
    return jnp.sin(time + phase + jnp.arange(5)), labels


def mean_loss(model, samples, labels) -> float:
    return float(jnp.mean(jax.vmap(lambda x, y: loss(model, x, y))(samples, labels)))


def test_learns_and_repeats(make_model):
    samples, labels = two_tones()
    model = make_model()
    trained = train(model, samples, labels, **SETTINGS, seed=3, progress=True)
    assert mean_loss(trained, samples, labels) < 0.5 * mean_loss(model, samples, labels)
    assert eqx.tree_equal(trained, train(model, samples, labels, **SETTINGS, seed=3))
    for before, after in zip(model.blocks, trained.blocks, strict=True):
        assert eqx.tree_equal(before.norm.mean, after.norm.mean)
        assert eqx.tree_equal(before.norm.variance, after.norm.variance)
        assert not eqx.tree_equal(before.unit, after.unit)


def test_refusals(make_model):
    samples, labels = two_tones()
    with pytest.raises(ValueError, match="batch is 0, but it must be > 0"):
        train(make_model(), samples, labels, **{**SETTINGS, "batch": 0})
    with pytest.raises(ValueError, match="out of range"):
        train(make_model(), samples, labels + 2, **SETTINGS)
    with pytest.raises(ValueError, match=r"the loss became nan in epoch 1, step 1; use a lower"):
        train(make_model(), 1e307 * samples, labels, **SETTINGS)
