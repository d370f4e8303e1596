"""Losses, above all where the usual writing loses them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoloom.frontend.gradients.loss import cross_entropy, loss, squared_error


def test_cross_entropy_is_the_usual_one():
    logits = 3.0 * jax.random.normal(jax.random.key(0), (20, 5))
    for row in logits:
        for label in range(5):
            value, gradient = jax.value_and_grad(cross_entropy)(row, jnp.asarray(label))
            assert value == pytest.approx(float(-jax.nn.log_softmax(row)[label]), rel=1e-12)
            expected = jax.nn.softmax(row) - jax.nn.one_hot(label, 5)
            np.testing.assert_allclose(gradient, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_confident_labels_keep_loss_and_gradient(dtype):
    """Margins of 60 and 62: the loss is far below the float's epsilon, not below its range."""
    logits = jnp.array([30.0, -30.0, -32.0], dtype)
    value, gradient = jax.value_and_grad(cross_entropy)(logits, jnp.asarray(0))
    small = np.exp(np.array([-60.0, -62.0]))
    tolerance = 20 * float(jnp.finfo(dtype).eps)
    assert value == pytest.approx(small.sum(), rel=tolerance)
    np.testing.assert_allclose(gradient, [-small.sum(), *small], rtol=tolerance)


def test_wrong_labels_do_not_overflow():
    value, gradient = jax.value_and_grad(cross_entropy)(jnp.array([2e4, -2e4]), jnp.asarray(1))
    assert value == pytest.approx(4e4)
    np.testing.assert_allclose(gradient, [1.0, -1.0])


def test_squared_error_is_a_mean_over_steps_and_outputs():
    assert squared_error(jnp.array([[1.0, 2.0], [3.0, 4.0]]), jnp.zeros((2, 2))) == 7.5


def test_loss_of_a_model(make_model, make_sample):
    for task, measure in (("classification", cross_entropy), ("regression", squared_error)):
        model = make_model(task=task)
        x, label = make_sample(model, 12)
        assert loss(model, x, label) == measure(model(x), label)


def test_labels_that_do_not_fit(make_model, make_sample):
    x, _ = make_sample(make_model(), 12)
    with pytest.raises(ValueError, match="classification takes one whole number"):
        loss(make_model(), x, 1.0)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="classification takes one whole number"):
        loss(make_model(), x, jnp.array([1]))
    with pytest.raises(ValueError, match=r"targets of 12 steps have shape \[12, 3\]"):
        loss(make_model(task="regression"), x, jnp.zeros((1, 3)))
