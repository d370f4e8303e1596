"""Models and sequences that only `precision.py` judges: other units, and long sequences."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from quality_cases import Case, basic_motions

import echoloom as el
from echoloom.cli.data import load_data
from echoloom.frontend.models.hssm import with_statistics
from echoloom.frontend.training.train import train

LONG = 49_920  # steps
PUBLISHED = "nonlin_h1e-4"
# Of the recordings of a wrist at 125 Hz: the heart rate is wanted every two seconds, of a window of
# eight that begins with them; the model learns it on sequences of twenty.
RATE_EVERY, RATE_WINDOW, LEARNED = 250, 1_000, 2_500
CALIBRATING = 6  # of the eight long sequences that all recordings make; the others judge


def nonlinear(count: int, epochs: int) -> Case:
    """The demo's sizes with a nonlinear unit and h = 0.05."""
    data = load_data("BasicMotions", normalise=True)
    assert data.y is not None and data.X_test is not None
    model = el.HSSM(6, 4, hidden=16, state=8, blocks=2, unit="nonlinear", step=0.05,
                    key=jax.random.key(0))  # fmt: skip
    model = with_statistics(model, jnp.asarray(data.X))
    model = train(model, data.X, data.y, epochs=epochs, learning_rate=3e-3, batch=10)
    return _hardest("BasicMotions, nonlinear", model, data.X, data.X_test[:: 40 // count])


def strung_motions(count: int) -> Case:
    """The demo's model on sequences of the same motions, one after the other."""
    case = basic_motions(1)
    data = load_data("BasicMotions", normalise=True)
    assert data.X_test is not None
    fresh = _strung(data.X_test, 2)
    return _hardest(f"BasicMotions, T = {LONG:,}", case.model, _strung(case.calibration, 2), fresh)


def _strung(X: np.ndarray, count: int) -> np.ndarray:
    """[count, LONG, channels]: random orders of the sequences X [n, T, channels]."""
    random = np.random.default_rng(0)
    needed = -(-LONG // X.shape[1])
    picked = [random.integers(0, len(X), needed) for _ in range(count)]
    return np.stack([np.concatenate(X[own])[:LONG] for own in picked])


def heart_rate(folder: Path) -> Case:
    """A regression: the heart rate from two photoplethysmograms and an accelerometer, by a linear
    model of the demo's sizes. Twelve recordings, one after the other, in sequences of LONG."""
    X, rate = _recordings(folder / "TROIKA_PPG" / "TROIKA_PPG.npz")
    model = el.HSSM(5, 1, hidden=16, state=8, blocks=2, complex=False, task="regression",
                    output_step=RATE_EVERY, key=jax.random.key(0))  # fmt: skip
    xs, targets = _cut(X, rate, LEARNED)
    model = with_statistics(model, jnp.asarray(xs[::4], model.encoder.weight.dtype))
    model = train(model, xs, targets, epochs=8, learning_rate=3e-3, batch=16)
    xs, targets = _cut(X, rate, LONG)
    before, fresh = slice(CALIBRATING), slice(CALIBRATING, None)
    case = Case(f"heart rate, T = {LONG:,}", model, xs[before], xs[fresh], targets[fresh], np.nan)
    return replace(case, targets=targets[before])


def _recordings(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """All samples [n, 5], without the electrocardiogram, and the heart rate [n] that the last whole
    window before each has; of mean 0 and deviation 1."""
    with np.load(path, allow_pickle=False) as stored:
        X = (stored["X_flat"] * stored["unit"])[:, 1:]
        begins, rate_begins, rates = (stored[n] for n in ("offsets", "bpm_offsets", "bpm_flat"))
    of_sample = []
    for own, (begin, end) in enumerate(pairwise(begins)):
        window = (np.arange(end - begin) + 1 - RATE_WINDOW) // RATE_EVERY
        known = rates[rate_begins[own] : rate_begins[own + 1]]
        of_sample.append(known[np.clip(window, 0, len(known) - 1)])
    rate = np.concatenate(of_sample)
    return (X - X.mean(0)) / X.std(0), (rate - rate.mean()) / rate.std()


def _cut(X: np.ndarray, rate: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Sequences [m, length, 5], and their targets [m, length // RATE_EVERY, 1]."""
    count = len(X) // length
    own = rate[: count * length].reshape(count, length)
    targets = own[:, RATE_EVERY - 1 :: RATE_EVERY, None]
    return X[: count * length].reshape(count, length, -1), targets


def published(folder: Path) -> Case:
    """A checkpoint of the published code: a nonlinear unit with h = 1e-4."""
    stem = folder / "published" / PUBLISHED
    model = el.import_rhel(stem.with_suffix(".eqx"), stem.with_suffix(".json"))
    data = load_data("BasicMotions", normalise=True)
    assert data.X_test is not None
    return _hardest("published, h = 1e-4", model, data.X, data.X_test[::5])


def _hardest(name: str, model: el.HSSM, X: np.ndarray, fresh: np.ndarray) -> Case:
    """Judged by sequences `fresh`, each with the label that the model finds least likely."""
    logits = np.asarray(jax.vmap(model)(jnp.asarray(fresh, model.encoder.weight.dtype)))
    return Case(name, model, X, fresh, logits.argmin(1), float("nan"))
