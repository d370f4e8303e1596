"""Integers of units whose corners are met exactly."""

from __future__ import annotations

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cornered_units import cornered

import echoloom as el


@lru_cache(maxsize=2)
def compiled(silent: bool) -> tuple[el.CompiledProgram, np.ndarray]:
    model, x = cornered(rests=2, silent=silent)
    return el.compile(model, x, [0, 1, 0], lanes=2), x


@pytest.mark.parametrize("silent", [False, True])
def test_logits_are_the_float_models(silent):
    program, x = compiled(silent)
    for own in x:
        wanted = np.asarray(program.model(jnp.asarray(own)))
        assert np.abs(program.predict(own) - wanted).max() < 2e-5


@pytest.mark.parametrize("silent", [False, True])
def test_gradients_are_backpropagations(silent):
    """Of every tensor, also where the course crosses corners later on."""
    program, x = compiled(silent)
    found, wanted = program.gradient(x[0], 1), el.bptt_gradient(program.model, jnp.asarray(x[0]), 1)
    for (path, ours), exact in zip(
        jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(wanted), strict=True
    ):
        distance = float(jnp.linalg.norm(ours - exact))
        assert distance <= 2e-3 * float(jnp.linalg.norm(exact)) + 1e-6, jax.tree_util.keystr(path)


@pytest.mark.parametrize(
    "levels", [("jax",), pytest.param(("rtl",), marks=pytest.mark.long)], ids=str
)
def test_every_level_gives_the_same_integers(levels):
    """Slow in RTL, where every run takes the gallery's corners (`huber`)."""
    program, x = compiled(True)
    report = el.verify(program, x[:1, :4], [1], simulator="amaranth", levels=levels)
    assert set(report.levels) == set(levels)
    for level in report.levels.values():
        assert level.mismatches == 0 < level.compared
    assert report.lsb_off == 0
