"""Means and deviations in float64, and channels that never change."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoloom.frontend.data.data_sets import prepare
from echoloom.frontend.data.normalise import mean_and_deviation, range_to
from echoloom.frontend.data.sources import Raw
from echoloom.frontend.models.hssm import HSSM, with_statistics

LABELS = np.arange(60) % 2
ONE, ZERO = jnp.ones(1, jnp.float32), jnp.zeros(1, jnp.float32)


def offset(dtype: type) -> np.ndarray:
    """60 x 18,000 samples of 1000 +- 1, in which the mean and the deviation are known exactly."""
    x = np.full((60, 18_000, 1), 1001, dtype)
    x[:, ::2] = 999
    return x


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ">f4", np.int16, np.float64])
def test_a_large_offset_is_taken_away_whole(dtype):
    data = prepare("box", Raw(offset(dtype), LABELS))
    assert data.mean is not None and data.scale is not None
    np.testing.assert_allclose(data.mean, [1000.0], rtol=1e-13)
    np.testing.assert_allclose(data.scale, [1.0], rtol=1e-9)
    assert data.X.dtype == np.float64
    np.testing.assert_allclose(np.unique(data.X), [-1.0, 1.0], rtol=1e-9)
    assert data.notes == ()


@pytest.mark.parametrize("power", [-700, -40, 0, 40, 700])
def test_moments_do_not_depend_on_the_unit(power):
    """A power of two costs no digit, and squares neither overflow nor vanish."""
    x = np.random.default_rng(0).normal(3.0, 2.0, (4, 50, 2))
    wanted, found = mean_and_deviation(x), mean_and_deviation(np.ldexp(x, power))
    np.testing.assert_array_equal(np.ldexp(wanted.centre, power), found.centre)
    np.testing.assert_array_equal(np.ldexp(wanted.scale, power), found.scale)
    np.testing.assert_array_equal(wanted.centre, x.mean(axis=(0, 1)))
    np.testing.assert_array_equal(wanted.scale, x.std(axis=(0, 1)))


@pytest.mark.parametrize(
    "values",
    [
        np.array([518.67, 518.67], np.float64),
        np.array([518.67, np.nextafter(518.67, 600)], np.float64),
        np.array([0.1 + 0.2, 0.3], np.float64),
        np.array([518.67 - 1e-12, 518.67 + 1e-12], np.float64),
        np.array([518.67, 518.67], np.float32),
        np.array([518.67, np.nextafter(np.float32(518.67), np.float32(600))], np.float32),
        np.array([51867, 51867], np.int32),
        np.array([0.0, 0.0], np.float64),
    ],
)
def test_a_channel_that_rounding_alone_moves_is_constant_and_said_to_be(values):
    X = np.random.default_rng(1).normal(size=(60, 900, 3)).astype(values.dtype)
    X[..., 1] = np.tile(values, 450)
    later = X[:2].copy()
    later[..., 1] += 3
    data = prepare("box", Raw(X, LABELS, X_test=later, y_test=LABELS[:2]))
    assert data.constant is not None and data.constant[1] and data.X_test is not None
    assert np.abs(data.X[..., 1]).max() < 1e-3
    np.testing.assert_allclose(data.X_test[..., 1], 3.0, rtol=1e-4)
    assert data.notes[0].startswith("box: channel")
    assert "1" in data.notes[0] and "never change" in data.notes[0]


@pytest.mark.parametrize(
    ("values", "deviation"),
    [
        (np.array([1e5, 1e5 + 1e-3], np.float64), 5e-4),  # a small change of a large number
        (np.array([1e-200, 3e-200], np.float64), 1e-200),  # a small number
        (np.array([101325.0, 101326.0], np.float32), 0.5),
        (np.array([10**9, 10**9 + 2], np.int64), 1.0),
    ],
)
def test_a_channel_that_really_changes_is_not_constant(values, deviation):
    data = prepare("box", Raw(np.tile(values, 30).reshape(60, 1, 1), LABELS))
    assert data.scale is not None and data.notes == ()
    np.testing.assert_allclose(data.scale, deviation, rtol=1e-6)


def test_targets_that_rounding_alone_moves_are_constant_too():
    y = np.zeros((60, 1, 2))
    y[:, 0, 0] = np.where(LABELS, 0.1 + 0.2, 0.3)
    y[:, 0, 1] = LABELS * 1e300
    data = prepare("box", Raw(np.ones((60, 4, 1)), y), scale_targets=True, normalise=False)
    assert data.y is not None
    np.testing.assert_allclose(data.y[..., 0], 0.0, atol=1e-12)
    assert sorted(set(data.y[..., 1].ravel().round(12))) == [-0.9, 0.9]
    assert data.notes == (
        "box: target 0 never changes over the training split, so it is centred but not scaled",
    )
    half = range_to(0.9, real := np.array([[[6e4], [-6e4]]]))
    np.testing.assert_allclose(half.apply(real).ravel(), [0.9, -0.9])


def test_norm_statistics_are_float64_sums_in_a_float32_model():
    """2^24 + 1 is no float32: about a mean that is rounded to one the variance would be 2."""
    with jax.enable_x64(False):
        model = HSSM(1, 2, 1, 1, 1, key=jax.random.key(0))
        encoder = eqx.tree_at(lambda e: (e.weight, e.bias), model.encoder, (ONE[None], ZERO))
        model = eqx.tree_at(lambda m: m.encoder, model, encoder)
        samples = jnp.full((2, 6, 1), 2.0**24).at[:, ::2].add(2.0)
        for measure in (with_statistics, eqx.filter_jit(with_statistics)):
            norm = measure(model, samples).blocks[0].norm
            assert norm.mean.dtype == norm.variance.dtype == jnp.float32
            assert norm.variance.tolist() == [1.0]
