"""Data made ready: lengths, classes, validation split, normalising, scaled targets, sources."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from echoloom.frontend.data.data_sets import prepare
from echoloom.frontend.data.sources import Raw, read_loader, read_source


def ragged(lengths: list[int], channels: int = 2) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(3.0, 2.0, (length, channels)) for length in lengths]


def test_unequal_lengths_are_refused_or_filled_after_normalising():
    raw = Raw(ragged([3, 5, 4]), np.asarray([0, 1, 0]), X_test=ragged([7]), y_test=np.asarray([1]))
    with pytest.raises(ValueError, match=r'box: its sequences have 3 to 7 steps; say pad = "zero"'):
        prepare("box", raw)
    data = prepare("box", raw, pad="zero")
    assert data.X.shape == (3, 7, 2) and data.X_test is not None and data.X_test.shape == (1, 7, 2)
    steps = np.concatenate([data.X[0, :3], data.X[1, :5], data.X[2, :4]])
    np.testing.assert_allclose(steps.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(steps.std(axis=0), 1.0)
    assert not data.X[0, 3:].any() and not data.X[1, 5:].any() and not data.X[2, 4:].any()


@given(
    counts=st.lists(st.integers(2, 9), min_size=1, max_size=4),
    part=st.floats(0.25, 0.75),
    seed=st.integers(0, 5),
)
def test_validation_takes_its_part_of_every_class_and_loses_nothing(counts, part, seed):
    y = np.repeat(np.arange(len(counts)), counts)
    X = np.arange(len(y), dtype=float)[:, None, None] * np.ones((1, 3, 2))
    wanted = [round(part * count) for count in counts]
    assume(0 < sum(wanted) < len(y))
    data = prepare("box", Raw(X, y), normalise=False, validation=part, split_seed=seed)
    assert data.X_validation is not None and data.y is not None and data.y_validation is not None
    aside = data.X_validation[:, 0, 0].astype(int)
    kept = data.X[:, 0, 0].astype(int)
    assert sorted([*kept, *aside]) == list(range(len(y)))
    np.testing.assert_array_equal(y[kept], data.y)
    np.testing.assert_array_equal(y[aside], data.y_validation)
    assert np.bincount(data.y_validation, minlength=len(counts)).tolist() == wanted


def test_normalising_looks_at_what_is_left_for_training_only():
    rng = np.random.default_rng(1)
    raw = Raw(rng.normal(5.0, 3.0, (10, 6, 2)), np.arange(10) % 2)
    data = prepare("box", raw, validation=0.4)
    np.testing.assert_allclose(data.X.mean(axis=(0, 1)), 0.0, atol=1e-12)
    assert data.X_validation is not None
    assert np.abs(data.X_validation.mean(axis=(0, 1))).min() > 1e-6


def test_targets_are_scaled_by_the_training_range():
    X = np.ones((4, 6, 1))
    y = np.asarray([[2.0, 0.0], [4.0, 0.0], [3.0, 0.0], [6.0, 0.0]])[:, None, :]
    raw = Raw(X, y, X_test=X[:1], y_test=np.asarray([[[8.0, 1.0]]]))
    data = prepare("box", raw, scale_targets=True)
    assert data.y is not None and data.y_test is not None
    assert data.target_scale is not None and data.target_centre is not None
    np.testing.assert_allclose((data.y[..., 0].min(), data.y[..., 0].max()), (-0.9, 0.9))
    np.testing.assert_allclose(data.y[..., 1], 0.0)
    np.testing.assert_allclose(data.y_test * data.target_scale + data.target_centre, [[[8.0, 1.0]]])


def test_one_number_a_sequence_is_a_target_unless_it_is_a_class():
    X, y = np.ones((3, 4, 1)), np.asarray([0.5, 1.5, 2.5])
    lifted = prepare("box", Raw(X, y)).y
    assert lifted is not None and lifted.shape == (3, 1, 1)
    labels = prepare("box", Raw(X, np.asarray([0, 1, 1]))).y
    assert labels is not None and labels.shape == (3,)
    forced = prepare("box", Raw(X, np.asarray([3, 4, 5])), task="regression").y
    assert forced is not None and forced.shape == (3, 1, 1)


def test_refusals():
    X, y = np.ones((4, 3, 2)), np.arange(4) % 2
    cases = [
        (Raw(X, y), {"validation": 0.1}, "validation = 0.1 of 4 sequences leaves 4 for training"),
        (Raw(X, y, X_validation=X), {"validation": 0.5}, "it holds X_validation already"),
        (Raw(X, None), {"validation": 0.5}, "it holds no labels"),
        (Raw(X, y[:3]), {"validation": 0.5}, "there are 4 sequences, but 3 labels"),
        (Raw(X, y), {"scale_targets": True}, "scale_targets is for a regression's targets"),
        (Raw([X[0], X[1, :, :1]], y), {}, "some of differing channels"),
    ]
    for raw, options, sentence in cases:
        with pytest.raises(ValueError, match=sentence):
            prepare("box", raw, **options)


def test_loaders_are_called_as_aeon_has_it(tmp_path, monkeypatch):
    (tmp_path / "my_loaders.py").write_text(
        "import numpy as np\n"
        "def even(split):\n"
        "    n = 4 if split == 'train' else 2\n"
        "    return np.arange(n * 6.0).reshape(n, 2, 3), np.array(['b', 'a', 'b', 'b'][:n])\n"
        "def ragged(split):\n"
        "    return [np.ones((2, 5)), np.ones((2, 4))], np.array([1.5, 2.5])\n"
        "def strange(split):\n"
        "    return np.ones((1, 2, 3)), np.array(['a' if split == 'train' else 'c'])\n"
        "def wrong(which):\n"
        "    return None\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    raw = read_loader("my_loaders:even")
    assert isinstance(raw.X, np.ndarray) and raw.X.shape == (4, 3, 2)
    assert raw.X[0, 1].tolist() == [1.0, 4.0]
    assert raw.classes == ("a", "b")
    assert raw.y is not None and raw.y.tolist() == [1, 0, 1, 1]
    assert raw.y_test is not None and raw.y_test.tolist() == [1, 0]
    assert [x.shape for x in read_loader("my_loaders:ragged").X] == [(5, 2), (4, 2)]
    for name, sentence in (
        ("wrong", 'calling it with split="train" gave no'),
        ("strange", "the class 'c' of the test split is not in the training split"),
        ("none", "name it as MODULE:NAME"),
    ):
        with pytest.raises(ValueError, match=sentence):
            read_loader(f"my_loaders:{name}")


def test_named_and_ts_data_sets(tmp_path):
    aeon = pytest.importorskip("aeon")
    from pathlib import Path

    vowels = read_source("JapaneseVowels")
    data = prepare("JapaneseVowels", vowels, pad="zero")
    assert data.X.shape == (270, 29, 12) and len(data.classes) == 9
    folder = Path(aeon.__file__).parent / "datasets" / "data"
    same = read_source(["GunPoint_TRAIN.ts", "GunPoint_TEST.ts"], folder / "GunPoint")
    named = read_source("GunPoint")
    np.testing.assert_array_equal(same.X, named.X)
    np.testing.assert_array_equal(read_source("GunPoint", folder).X_test, named.X_test)
    for number in ("CardanoSentiment", "Covid3Month"):
        y = prepare(number, read_source(number)).y
        assert y is not None and y.shape[1:] == (1, 1)
    (tmp_path / "torn.ts").write_text("@problemName torn\n@classlabel true a\n@data\n1,x:a\n")
    with pytest.raises(ValueError, match=r"torn\.ts: aeon cannot read it as a \.ts file"):
        read_source("torn.ts", tmp_path)
    (tmp_path / "other.ts").write_text("export const x = 3;\n")
    with pytest.raises(ValueError, match=r"other\.ts: aeon finds no sequences in it"):
        read_source("other.ts", tmp_path)
    with pytest.raises(ValueError, match=r"it holds 0 files \*_TRAIN\.ts"):
        read_source(".", tmp_path)
    with pytest.raises(ValueError, match=r"is not a pair of \.ts files"):
        read_source(["a.ts"], tmp_path)


def test_splits_have_names():
    X, y = np.ones((4, 3, 2)), np.arange(4) % 2
    data = prepare("box", Raw(X, y), validation=0.5)
    assert len(data.split("validation")[0]) == 2
    with pytest.raises(ValueError, match="it holds no X_test"):
        data.split("test")
    with pytest.raises(ValueError, match="it holds no X_validation"):
        replace(data, X_validation=None).split("validation")
