"""The demo's data and checkpoint, as they are committed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from echoloom.frontend.models.check import check
from echoloom.frontend.training.train import load_model

EXAMPLE = Path(__file__).parents[3] / "examples" / "basic_motions.py"
spec = importlib.util.spec_from_file_location("basic_motions", EXAMPLE)
assert spec is not None
assert spec.loader is not None
basic_motions = importlib.util.module_from_spec(spec)
spec.loader.exec_module(basic_motions)


def test_data_are_normalised_on_the_training_split():
    X, y, X_test, y_test = basic_motions.load()
    assert X.shape == X_test.shape == (40, 100, 6)
    np.testing.assert_allclose(X.mean(axis=(0, 1)), 0.0, atol=1e-12)
    np.testing.assert_allclose(X.std(axis=(0, 1)), 1.0)
    assert np.bincount(y).tolist() == np.bincount(y_test).tolist() == [10, 10, 10, 10]
    assert abs(X_test.mean()) > 1e-6


def test_checkpoint_is_accurate():
    X, y, X_test, y_test = basic_motions.load()
    model = load_model(basic_motions.CHECKPOINT)
    check(model)
    assert basic_motions.CHECKPOINT.stat().st_size < 64 * 1024
    assert basic_motions.accuracy(model, X, y) == 1.0
    assert basic_motions.accuracy(model, X_test, y_test) >= 0.95
