"""A model small enough to compile in a second."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

import echoloom as el
from echoloom.frontend.models.hssm import with_statistics

INPUTS, STEPS = 3, 12


def small_model(**arguments) -> el.HSSM:
    """An untrained model of 3 inputs with 2 oscillators and measured norms."""
    sizes = {"inputs": INPUTS, "outputs": 3, "hidden": 4, "state": 2, "blocks": 1}
    model = el.HSSM(**{**sizes, **arguments}, key=jax.random.key(0))
    return with_statistics(model, jnp.asarray(samples(), model.encoder.weight.dtype))


def samples(count: int = 2) -> np.ndarray:
    """[count, STEPS, INPUTS] random numbers."""
    return np.random.default_rng(0).standard_normal((count, STEPS, INPUTS))
