"""Labels that are none of the classes: refused where they are known, NaN where they are traced."""

from __future__ import annotations

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import echoloom as el
from echoloom.frontend.data.data_sets import Data
from echoloom.frontend.data.samples import check_samples
from echoloom.frontend.gradients.batch import check_batch
from echoloom.frontend.gradients.loss import cross_entropy, loss
from echoloom.frontend.models.checkpoint import load_model, save_model
from echoloom.frontend.models.hssm import HSSM, trainable
from echoloom.frontend.training.scores import make_scorer

MODEL = HSSM(2, 3, 2, 1, 1, key=jax.random.key(0))
X = np.sin(np.arange(16.0)).reshape(2, 4, 2)
OUTSIDE = (3, -1, 7, 2**32 + 1)  # the last is class 1 in 32 bits


def smoothed(logits: jax.Array, label: jax.Array) -> jax.Array:
    wanted = 0.9 * jax.nn.one_hot(label, 3) + 0.1 / 3
    return -jnp.sum(wanted * jax.nn.log_softmax(logits))


FUNCTIONS = {
    "rhel": el.rhel_value_and_grad(MODEL),
    "fixed echoes": el.rhel_value_and_grad(MODEL, echoes="fixed"),
    "difference": el.rhel_value_and_grad(MODEL, echoes="difference"),
    "rhel, a loss of one's own": el.rhel_value_and_grad(MODEL, smoothed),
    "bptt": el.bptt_value_and_grad(MODEL),
    "bptt in chunks": el.bptt_value_and_grad(MODEL, rematerialise=2),
    "bptt, a loss of one's own": el.bptt_value_and_grad(MODEL, smoothed),
}

TRACED = ("rhel", "rhel, a loss of one's own", "bptt", "bptt, a loss of one's own")


@pytest.mark.parametrize("label", OUTSIDE)
def test_known_labels_beyond_the_classes_are_refused(label):
    sentence = rf"{label}.* is out of range; the classes of this model are 0 to 2\."
    dressed: list[Any] = [[0, label], np.array([0, label]), np.array([0, label], ">i8")]
    for function in FUNCTIONS.values():
        for y in dressed:
            with pytest.raises(ValueError, match=sentence):
                function(MODEL, X, y)
        with pytest.raises(ValueError, match=sentence):
            function(MODEL, X[0], label)
    for function in (loss, el.bptt_gradient, el.rhel_gradient):
        with pytest.raises(ValueError, match=sentence):
            function(MODEL, X[0], label)
    with pytest.raises(ValueError, match=sentence):
        make_scorer(Data(X, np.array([0, label])), 2)(MODEL, ("train",))


@pytest.mark.parametrize("name", TRACED)
def test_traced_labels_beyond_the_classes_make_nan(name):
    function = eqx.filter_jit(FUNCTIONS[name])
    value, gradient = function(MODEL, jnp.asarray(X), jnp.array([0, 2]))
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    for label in (3, -1):
        value, gradient = function(MODEL, jnp.asarray(X), jnp.array([0, label]))
        assert np.isnan(value)
        learned = eqx.filter(gradient, trainable(MODEL))
        assert all(np.isnan(leaf).all() for leaf in jax.tree.leaves(learned))


def test_only_the_sequence_with_the_wrong_label_is_nan_under_vmap():
    labels = jnp.array([[0], [3]])
    one = partial(FUNCTIONS["bptt"], MODEL)
    values, gradients = jax.vmap(one)(jnp.asarray(X)[:, None], labels)
    assert np.isnan(values).tolist() == [False, True]
    weight = np.isnan(gradients.head.weight)
    assert not weight[0].any() and weight[1].all()


def test_losses_are_nan_with_their_slope():
    logits = jnp.array([0.5, -1.0, 2.0])
    for label in (3, -1):
        value, slope = jax.value_and_grad(cross_entropy)(logits, jnp.asarray(label))
        assert np.isnan(value) and np.isnan(slope).all()
    traced = jax.jit(lambda label: loss(MODEL, jnp.asarray(X[0]), label))
    assert np.isnan(traced(3)) and np.isfinite(traced(2))


def test_labels_of_any_kind_are_the_same_labels():
    plain = np.array([1, 0])
    wanted = FUNCTIONS["bptt"](MODEL, X, plain)[0]
    short = plain.astype(np.uint8)
    dressed: list[Any] = [plain.astype(">i2"), plain.astype(object), plain == 1, short, [1, 0]]
    for y in dressed:
        assert FUNCTIONS["bptt"](MODEL, X, y)[0] == wanted
        assert check_samples(MODEL, X, y)[1].tolist() == [1, 0]
    x: Any = X[0]
    label: Any = np.int8(1)
    assert loss(MODEL, x, 1) == loss(MODEL, x.astype(object), label)
    one_hot, column = np.eye(3)[plain], plain[:, None]
    for y in (one_hot, one_hot.astype(bool), column, column.astype(object)):
        assert check_samples(MODEL, X, y)[1].tolist() == [1, 0]
    for y, sentence in (
        (np.eye(2)[plain], r"the shape is \[2, 2\], but one for each of 2 samples"),
        (np.array([[1, 1, 0], [1, 0, 0]]), r"the shape is \[2, 3\], but one for each"),
        (np.array(["b", "a"]), "'b' is a text, but the classes of this model have no names"),
        (np.ma.array([1, 0], mask=[0, 1]), "some values are masked"),
    ):
        with pytest.raises(ValueError, match=f"labels: {sentence}"):
            check_samples(MODEL, X, y)


def test_a_model_knows_its_classes_by_name(tmp_path):
    names = ("down", "rest", "up")
    model = HSSM(2, 3, 2, 1, 1, classes=names, key=jax.random.key(0))
    assert check_samples(model, X, ["up", "down"])[1].tolist() == [2, 0]
    texts: Any = ["up", "down"]
    samples, labels = check_batch(model, X, texts)
    assert samples.shape == X.shape and labels.tolist() == [2, 0]
    x, label = jnp.asarray(X[0]), np.asarray("rest")
    assert loss(model, x, label) == loss(model, x, 1)  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match="labels: there is no class 'left'; the classes are 'down'"
    ):
        check_samples(model, X, ["up", "left"])
    save_model(tmp_path / "model.eqx", model)
    assert load_model(tmp_path / "model.eqx").classes == names
    for wrong in (("a", "b"), ("a", "b", "b")):
        with pytest.raises(ValueError, match=r"HSSM: classes holds \d names, 2 of them different"):
            HSSM(2, 3, 2, 1, 1, classes=wrong, key=jax.random.key(0))
