"""The figures of a batch are those of its sequences, one after the other."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_programs import INPUTS, STEPS, samples, small_model

import echoloom as el
from echoloom.backends.gradients.quality import batch_quality, gradient_quality
from echoloom.frontend.gradients import exact
from echoloom.frontend.gradients.exact import exact_gradients, tensors
from echoloom.ir.widths import Widths

LABELS = np.array([0, 2])


def test_exact_gradients_are_every_sequences_own(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model()
    found = exact_gradients(model, samples(), LABELS)
    for k, (x, label) in enumerate(zip(samples(), LABELS, strict=True)):
        for name, value in tensors(el.bptt_gradient(model, jnp.asarray(x), label)).items():
            np.testing.assert_allclose(found[name][k], value, rtol=1e-12, atol=1e-14)
    # In pieces, with steps made again on the way back.
    monkeypatch.setattr(exact, "KEPT", 64)
    again = exact_gradients(model, samples(), LABELS)
    for name, value in found.items():
        np.testing.assert_allclose(again[name], value, rtol=1e-9, atol=1e-13)


def test_a_regressions_too() -> None:
    model = el.HSSM(2, 1, 4, 2, 1, task="regression", output_step=4, key=jax.random.key(3))
    X = samples()[:, :, :2]
    y = 0.5 * X[:, 3::4, :1]
    program = el.compile(model, X, y, lanes=2)
    found, each = (
        batch_quality(program, X, y).by_tensor(),
        gradient_quality(program, list(X), list(y)),
    )
    assert found.keys() == each.keys()
    for name, one in found.items():
        assert one.cosine == pytest.approx(each[name].cosine, abs=1e-9)
        assert one.norm_ratio == pytest.approx(each[name].norm_ratio, abs=1e-9)


def test_a_batch_is_its_sequences(classifier: el.CompiledProgram) -> None:
    X = samples()
    given = exact_gradients(classifier.model, X, LABELS)
    found = batch_quality(classifier, X, LABELS, given)
    assert not found.overflowed.any()
    for k in range(len(X)):
        each = gradient_quality(classifier, [X[k]], [LABELS[k]])
        for name, one in each.items():
            assert found.cosine[name][k] == pytest.approx(one.cosine, abs=1e-9)
            assert found.norm_ratio[name][k] == pytest.approx(one.norm_ratio, abs=1e-9)
    worst = found.worst
    assert 0.99 < worst.cosine < 1.0 and abs(worst.norm_ratio - 1.0) < 0.05


def test_an_overflow_is_worth_nothing() -> None:
    pulse = np.zeros((2, STEPS, INPUTS))
    pulse[:, 0] = 3.0
    program = el.compile(small_model(), pulse, LABELS, lanes=2, widths=Widths(margin=0))
    driven = pulse.copy()
    driven[1] = 3.0
    found = batch_quality(program, driven, LABELS)
    assert found.overflowed.tolist() == [False, True]
    for name, cosine in found.cosine.items():
        assert cosine[0] > 0.99 and cosine[1] == 0.0
        assert found.norm_ratio[name][1] == np.inf
    assert (found.worst.cosine, found.worst.norm_ratio) == (0.0, np.inf)
