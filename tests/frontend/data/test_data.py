"""Data sets that are refused, each for one stated reason."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from echoloom.frontend.data.samples import check_samples
from echoloom.frontend.models.hssm import HSSM

CLASSIFIER = HSSM(inputs=5, outputs=3, hidden=2, state=1, blocks=1, key=jax.random.key(0))
REGRESSOR = HSSM(5, 3, 2, 1, 1, task="regression", output_step=4, key=jax.random.key(0))
X, Y, TARGETS = np.zeros((2, 9, 5)), np.array([0, 2]), np.zeros((2, 2, 3))
NAN, INF = X.copy(), TARGETS.copy()
NAN[1, 3, 2] = np.nan
INF[0, 1, 2] = -np.inf


def test_good_data_pass():
    check_samples(CLASSIFIER, X, Y)
    check_samples(REGRESSOR, X, TARGETS)


@pytest.mark.parametrize(
    ("model", "samples", "labels", "sentence"),
    [
        (CLASSIFIER, X[0], Y, r"samples: the shape is \[9, 5\], but .* \[N, T, 5\]"),
        (CLASSIFIER, X[:, :, :4], Y, r"samples: the shape is \[2, 9, 4\]"),
        (CLASSIFIER, X[:0], Y[:0], "samples: there are 0 sequences"),
        (CLASSIFIER, X[:, :0], Y, "2 sequences of 0 steps, but at least one of 1"),
        (REGRESSOR, X[:, :3], TARGETS, "2 sequences of 3 steps, but at least one of 4"),
        (CLASSIFIER, NAN, Y, r"samples: nan at \[1, 3, 2\] \(1 in all\)"),
        (CLASSIFIER, X.astype(str), Y, "samples: the type is <U32, but real numbers"),
        (CLASSIFIER, X + 1j, Y, "samples: the type is complex128"),
        (CLASSIFIER, X, Y[:1], r"labels: the shape is \[1\], but one for each of 2"),
        (CLASSIFIER, X, Y.astype(float), "labels: the type is float64, but whole numbers"),
        (CLASSIFIER, X, np.array([0, 3]), r"labels: 3 at \[1\] is out of range; .* 0 to 2"),
        (CLASSIFIER, X, np.array([-1, 0]), r"labels: -1 at \[0\] is out of range"),
        (REGRESSOR, X, TARGETS[:, :1], r"labels: .* \[2, 1, 3\], but targets of shape \[2, 2, 3\]"),
        (REGRESSOR, X, INF, r"labels: -inf at \[0, 1, 2\]"),
    ],
)
def test_bad_data_are_refused(model, samples, labels, sentence):
    with pytest.raises(ValueError, match=sentence):
        check_samples(model, samples, labels)
