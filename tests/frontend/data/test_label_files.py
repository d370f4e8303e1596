"""Labels in data sets: texts, booleans, columns, one-hot rows, and numbers that are no classes."""

from __future__ import annotations

import numpy as np
import pytest

from echoloom.frontend.data.data_sets import Data, prepare
from echoloom.frontend.data.sources import Raw, read_source
from echoloom.frontend.training.model import make_model
from echoloom.frontend.training.run_file import ModelSection

X = np.sin(np.arange(6 * 4 * 2.0)).reshape(6, 4, 2)
Y = np.array([0, 1, 2, 1, 0, 2])
NAMES = np.array(["down", "rest", "up"])
SMALL = ModelSection(hidden=2, state=1, blocks=1)

WRITTEN = {
    "whole": Y,
    "big-endian": Y.astype(">i2"),
    "objects": Y.astype(object),
    "column": Y[:, None],
    "texts": NAMES[Y],
    "column of texts": NAMES[Y][:, None],
    "texts as objects": NAMES[Y].astype(object),
    "bytes": NAMES[Y].astype("S"),
    "one-hot": np.eye(3, dtype=int)[Y],
    "one-hot, floats": np.eye(3, dtype=np.float32)[Y],
    "one-hot, booleans": np.eye(3, dtype=bool)[Y],
}


@pytest.mark.parametrize("name", WRITTEN)
def test_labels_are_the_same_however_they_are_written(name):
    y = WRITTEN[name]
    data = prepare("box", Raw(X, y, X_test=X[:2], y_test=y[:2]))
    assert data.y is not None and data.y_test is not None and data.y.dtype == np.int64
    assert data.y.tolist() == Y.tolist() and data.y_test.tolist() == Y[:2].tolist()
    texts = "texts" in name or name == "bytes"
    assert data.classes == (tuple(NAMES) if texts else ())
    assert data.notes == ()


def test_files_are_read_alike(tmp_path):
    for name in ("column of texts", "one-hot, booleans"):
        np.savez(tmp_path / "data.npz", X=X.astype(">f4"), y=WRITTEN[name])
        data = prepare("box", read_source("data.npz", tmp_path))
        assert data.y is not None and data.y.tolist() == Y.tolist()


def test_booleans_are_two_classes():
    data = prepare("box", Raw(X, Y == 1))
    assert data.y is not None and data.y.tolist() == [0, 1, 0, 1, 0, 0]
    assert make_model(SMALL, data, 0).outputs == 2


def test_the_model_keeps_the_names():
    model = make_model(SMALL, prepare("box", Raw(X, NAMES[Y])), 0)
    assert (model.outputs, model.classes) == (3, tuple(NAMES))
    assert make_model(SMALL, prepare("box", Raw(X, Y)), 0).classes == ()


def test_an_extract_has_the_numbers_of_the_model():
    """By its own sorted texts "up" would be class 0."""
    data = prepare("box", Raw(X[:2], np.array(["up", "up"])), classes=tuple(NAMES))
    assert data.y is not None and data.y.tolist() == [2, 2] and data.classes == tuple(NAMES)
    with pytest.raises(ValueError, match=r"box: there is no class 'left'; the classes are 'down'"):
        prepare("box", Raw(X[:2], np.array(["up", "left"])), classes=tuple(NAMES))


@pytest.mark.parametrize(
    ("raw", "task", "sentence"),
    [
        (Raw(X, NAMES[Y]), "regression", "box: its labels are texts, such as 'down'"),
        (Raw(X, NAMES[Y], X_test=X, y_test=Y), "auto", "y holds texts, but y_test does not"),
        (Raw(X, Y, X_test=X, y_test=NAMES[Y]), "auto", "y_test holds texts, but y does not"),
        (Raw(X, np.ma.array(Y, mask=Y == 1)), "auto", "box: y: some values are masked"),
        (Raw(X, Y + 1j), "auto", "box: y: the type is complex128"),
        (Raw(X + 1j, Y), "auto", "box: X: the type is complex128"),
        (Raw(np.ma.array(X, mask=X > 0.9), Y), "auto", "box: X: some values are masked"),
        (Raw([np.ma.array(x, mask=x > 0.9) for x in X], Y), "auto", "box: X: some values"),
        (Raw(X, [*Y[:5], None]), "auto", r"box: y: None at \[5\] is no number"),  # type: ignore[arg-type]
    ],
)
def test_refusals(raw, task, sentence):
    with pytest.raises(ValueError, match=sentence):
        prepare("box", raw, task=task)


@pytest.mark.parametrize("largest", [1000, 2_000_000_000, 2**62])
def test_numbers_that_count_no_classes_are_refused_before_memory_is_taken(largest):
    data = prepare("box", Raw(X, np.where(Y == 1, largest, 0)))
    sentence = f"labels: there are 2 different ones from 0 to {largest}, but classes are counted"
    with pytest.raises(ValueError, match=sentence):
        make_model(SMALL, data, 0)


def test_a_class_without_a_sequence_is_said_and_kept():
    data = prepare("box", Raw(X, Y + 1))
    assert make_model(SMALL, data, 0).outputs == 4
    assert data.notes == ("box: no sequence has label 0, yet each is counted as a class",)


def test_one_real_number_a_sequence_is_still_a_target():
    wanted = np.array([0.5, 1.0, 0.0, 1.0, 0.0, 0.25])
    for y in (wanted, wanted[:, None], wanted.astype(object), wanted.astype(">f4")):
        data: Data = prepare("box", Raw(X, y))
        assert data.y is not None and data.y.tolist() == wanted[:, None, None].tolist()
    lifted = prepare("box", Raw(X, Y[:, None]), task="regression").y
    assert lifted is not None and lifted.tolist() == Y[:, None, None].tolist()
