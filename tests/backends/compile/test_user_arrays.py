"""Arrays and labels as people have them, at every entry of a compiled program."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import echoloom as el
from echoloom.backends.compile.program import CompiledProgram
from echoloom.backends.gradients.quality import fixed_accuracy, gradient_quality
from echoloom.frontend.models.hssm import HSSM
from echoloom.frontend.training.train import train

# Values that every type below holds exactly.
X = (np.arange(4 * 6 * 2).reshape(4, 6, 2) * 7 % 16 - 8) / 8.0
Y = np.array([0, 2, 1, 0])
MODEL = HSSM(2, 3, 4, 2, 1, key=jax.random.key(0))
DRESSES = {
    "big-endian": (X.astype(">f8"), Y.astype(">i8")),
    "half": (X.astype(np.float16), Y.astype(np.uint8)),
    "objects": (X.astype(object), Y.astype(object)),
    "long": (X.astype(np.longdouble), Y.astype(np.int16)),
    "lists": (X.tolist(), Y.tolist()),
    "jax": (jnp.asarray(X, jnp.bfloat16), jnp.asarray(Y)),
    "unmasked": (np.ma.array(X), np.ma.array(Y)),
}


@pytest.fixture(scope="module")
def program() -> CompiledProgram:
    return el.compile(MODEL, X, Y, lanes=2)


def integers(result) -> dict[str, list]:
    return {name: words.tolist() for name, words in result.named().items()}


@pytest.fixture(scope="module")
def wanted(program) -> dict[str, list]:
    return integers(program.run(X[1], 2))


@pytest.mark.parametrize("name", DRESSES)
def test_every_dress_gives_the_same_integers(program, wanted, name):
    x, y = (values[1] for values in DRESSES[name])
    assert integers(program.run(x, y)) == wanted
    assert integers(program.run(x, np.asarray(y).astype(int)[()])) == wanted
    assert program.predict(x).tolist() == program.predict(X[1]).tolist()


def test_compile_takes_them_too(program):
    samples, labels = DRESSES["big-endian"]
    one_hot = np.eye(3)[labels.astype(int)]
    sizes: dict[str, Any] = {"lanes": np.int64(2), "slots": np.array(4)}
    for own in (labels, labels.astype(object), labels[:, None], one_hot):
        again = el.compile(MODEL, samples.astype(object), own, **sizes)
        assert str(again) == str(program)
        for name, words in program.artifact.coefficients.items():
            np.testing.assert_array_equal(words, again.artifact.coefficients[name])


def test_so_do_verify_and_the_figures(program):
    samples, labels = DRESSES["objects"]
    found = el.verify(program, samples[:2], [labels[0], None], levels=["jax"])
    assert (
        found.levels["jax"].compared
        == el.verify(program, X[:2], [Y[0], None], levels=["jax"]).levels["jax"].compared
    )
    assert fixed_accuracy(program, samples, labels) == fixed_accuracy(program, X, Y)
    quality = gradient_quality(program, list(samples[:1]), list(labels[:1]))
    assert quality == gradient_quality(program, list(X[:1]), list(Y[:1]))


def test_and_training(program):
    function = el.fixed_value_and_grad(program)
    value, gradient = function(MODEL, X[:2], Y[:2])
    found, same = function(MODEL, X[:2].astype(">f4"), Y[:2].astype(object))
    assert found == value
    for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(same), strict=True):
        np.testing.assert_array_equal(a, b)
    plain = train(MODEL, X, Y, epochs=1, learning_rate=0.25, batch=4)
    other = train(
        MODEL, X.astype(">f8"), Y.astype(object), epochs=np.int64(1),  # type: ignore[arg-type]
        learning_rate=np.float32(0.25), batch=jnp.asarray(4),  # type: ignore[arg-type]
    )  # fmt: skip
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


MASKED = np.ma.array(X, mask=X > 0.8)


@pytest.mark.parametrize(
    ("x", "label", "sentence"),
    [
        (X[0], "1", "label: '1' is a text, but the classes of this model have no names"),
        (X[0], 3, "label: 3 is out of range; the classes of this model are 0 to 2"),
        (X[0], -1, "label: -1 is out of range"),
        (X[0], 2**64, r"label: it is float64\[\], but classification takes one whole number"),
        (X[0], 1.0, r"label: it is float64\[\], but classification takes one whole number"),
        (X[0], 1 + 1j, "label: the type is complex128, but real numbers"),
        (X[0], np.ma.masked, "label: some values are masked"),
        (X[0], {}, r"label: \{\} at \[\] is no number"),
        (X[0].astype(str), None, "input: the type is <U32, but real numbers"),
        (X[0] + 1j, None, "input: the type is complex128, but real numbers"),
        (MASKED[0], None, "input: some values are masked"),
        (list(MASKED[0]), None, "input: some values are masked"),
        (None, None, r"input: None at \[\] is no number"),
        ([[1.0, 2.0], [3.0]], None, "input: this makes no array of numbers"),
    ],
)
def test_what_is_no_number_is_refused_by_a_program(program, x, label, sentence):
    with pytest.raises(ValueError, match=sentence):
        program.run(x, label)
    with pytest.raises(ValueError, match=sentence):
        el.verify(program, [x], [label], levels=["jax"])
    with pytest.raises(ValueError, match=sentence):
        program.predict(x) if label is None else program.gradient(x, label)


@pytest.mark.parametrize(
    ("samples", "labels", "sentence"),
    [
        (MASKED, Y, "samples: some values are masked"),
        (X + 1j, Y, "samples: the type is complex128"),
        (X, np.ma.array(Y, mask=Y == 1), "labels: some values are masked"),
        (X, Y + 0j, "labels: the type is complex128"),
        (X, Y.astype(str), "labels: '0' is a text"),
        (X, [0, 1, 2, None], r"labels: None at \[3\] is no number"),
        (X, [0, 1, 2, 3], r"labels: 3 at \[3\] is out of range"),
    ],
)
def test_what_is_no_number_is_refused_by_every_entry(program, samples, labels, sentence):
    with pytest.raises(ValueError, match=sentence):
        el.compile(MODEL, samples, labels, lanes=2)
    with pytest.raises(ValueError, match=sentence):
        el.FixedGradient(MODEL, samples, labels)
    with pytest.raises(ValueError, match=sentence):
        el.fixed_value_and_grad(program)(MODEL, samples, labels)
    with pytest.raises(ValueError, match=sentence):
        train(MODEL, samples, labels, epochs=1, learning_rate=0.1, batch=4)
    with pytest.raises(ValueError, match=sentence):
        fixed_accuracy(program, samples, labels)
    own = sentence.replace("samples", "X").replace("labels", "y")
    for function in (el.rhel_value_and_grad(MODEL), el.bptt_value_and_grad(MODEL)):
        with pytest.raises(ValueError, match=own):
            function(MODEL, samples, labels)


def test_sizes_that_are_no_whole_numbers_are_refused(program):
    with pytest.raises(ValueError, match=r"compile: lanes is 2\.0, but it must be a whole number"):
        el.compile(MODEL, X, Y, lanes=2.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"train: epochs is 1\.5, but it must be a whole number"):
        train(MODEL, X, Y, epochs=1.5, learning_rate=0.1, batch=4)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"train: learning_rate is '0\.1', but it must be > 0"):
        train(MODEL, X, Y, epochs=1, learning_rate="0.1", batch=4)  # type: ignore[arg-type]
