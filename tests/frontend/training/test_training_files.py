"""What a run writes: its state, whole or not at all; its curves; what it refuses to go on from."""

from __future__ import annotations

import io
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import equinox as eqx
import jax
import numpy as np
import optax
import pytest
from matplotlib import image

from echoloom.frontend.data import files
from echoloom.frontend.data.data_sets import Data
from echoloom.frontend.data.files import digest
from echoloom.frontend.models.hssm import trainable
from echoloom.frontend.training.curves import curves_png
from echoloom.frontend.training.history import Note, Row
from echoloom.frontend.training.scores import Score
from echoloom.frontend.training.state import (
    Counters,
    Identity,
    StateFile,
    TrainingState,
    data_digest,
    state_bytes,
)

IDENTITY = Identity({"training.batch": 3, "data.source": ("a.ts", "b.ts")}, "abc", 2)
ROW = Row(3, 1.5, 0.25, 1, 2.0, {"train": Score(0.1, 1.0)})
COUNTERS = Counters(
    5, 0.1 + 0.2, 3, 1, -0.7, 3, 1, True, 3.25, (ROW,), (Note(4, "recalibrated"),)
)  # fmt: skip


@pytest.fixture
def state(make_model) -> TrainingState:
    model = make_model(blocks=1)
    start = optax.adam(1e-3).init(eqx.filter(model, trainable(model)))
    best = jax.tree.map(lambda leaf: leaf + 1.0, model)
    return TrainingState(model, start, best, COUNTERS)


def zeros(state: TrainingState) -> TrainingState:
    model, optimiser = jax.tree.map(lambda leaf: 0 * leaf, (state.model, state.optimiser))
    return TrainingState(model, optimiser, model, Counters())


def test_a_state_comes_back_to_the_bit(state, tmp_path):
    file = StateFile(tmp_path / "state.bin", IDENTITY)
    assert file.load(zeros(state)) is None
    file.save(state, b"\n\x00source")
    found = file.load(zeros(state))
    assert found is not None
    assert found[1] == b"\n\x00source"
    assert eqx.tree_equal(
        (found[0].model, found[0].optimiser, found[0].best),
        (state.model, state.optimiser, state.best),
    )
    assert found[0].counters == COUNTERS
    assert file.path.read_bytes() == state_bytes(found[0], found[1], IDENTITY)


class Cut(BaseException):
    """Not an Exception: nothing may catch it on the way, as nothing catches a SIGKILL."""


@pytest.mark.parametrize("part", [0.0, 0.5, 1.0])
def test_a_write_that_is_interrupted_leaves_the_old_file(state, tmp_path, monkeypatch, part):
    """At the first byte, half-way, and after the last but before the file is put in place."""
    file = StateFile(tmp_path / "state.bin", IDENTITY)
    file.save(state, b"old")
    whole = file.path.read_bytes()

    def torn(partial: BinaryIO, data: bytes) -> None:
        partial.write(data[: int(part * len(data))])
        raise Cut

    monkeypatch.setattr(files, "_fill", torn)
    # As a killed process leaves it: no clearing up either.
    monkeypatch.setattr(Path, "unlink", lambda path: None)
    with pytest.raises(Cut):
        file.save(replace(state, counters=replace(COUNTERS, step=6)), b"new")
    assert len(list(tmp_path.iterdir())) == 2
    assert file.path.read_bytes() == whole
    found = file.load(zeros(state))
    assert found is not None and found[0].counters.step == 5 and found[1] == b"old"


def test_states_that_are_no_use_are_refused(state, tmp_path):
    path = tmp_path / "state.bin"
    whole = state_bytes(state, b"s", IDENTITY)
    line, _, payload = whole.partition(b"\n")

    def with_header(**changes) -> bytes:
        header = json.loads(line) | changes
        header["sha256"] = digest(header, payload)
        return json.dumps(header).encode() + b"\n" + payload

    def other(**settings) -> bytes:
        changed = {**IDENTITY.settings, **settings}
        return state_bytes(state, b"s", replace(IDENTITY, settings=changed))

    start = "start over with --fresh"
    onward = "go on with what it was started with, start over with --fresh, or name another folder."
    cases = [
        (b"", "this is not the state of a training run; move it away."),
        (b"[]\n", "this is not the state of a training run; move it away."),
        (whole[:-1], f"the state is damaged, its checksum does not match; {start}."),
        (whole[: len(line) // 2], "this is not the state of a training run; move it away."),
        (whole.replace(b'"step": 5', b'"step": 6', 1), "the state is damaged, its checksum does "
         f"not match; {start}."),
        (with_header(version=9), f"the state has version 9, but this release reads version 1; "
         f"{start}."),
        (with_header(arrays=100), f"the state's arrays do not fit the model of this run; {start}."),
        (other(**{"training.batch": 4}),
         f"this run was started with [training] batch = 4, but it is 3 now; {onward}"),
        (other(**{"model.state": 4}),
         f"this run was started with [model] state = 4, but it is None now; {onward}"),
        (state_bytes(state, b"s", replace(IDENTITY, data="x")),
         f"this run was started with other data; {onward}"),
        (state_bytes(state, b"s", replace(IDENTITY, seed=3)),
         f"this run was started with seed 3, not 2; {onward}"),
    ]  # fmt: skip
    for stored, sentence in cases:
        path.write_bytes(stored)
        with pytest.raises(ValueError) as caught:
            StateFile(path, IDENTITY).load(zeros(state))
        assert str(caught.value) == f"{path}: {sentence}"


def test_a_state_that_cannot_be_written_is_one_sentence(state, tmp_path):
    folder = tmp_path / "gone"
    with pytest.raises(OSError, match=r"cannot write .*gone/state\.bin: No such file"):
        StateFile(folder / "state.bin", IDENTITY).save(state, b"")
    assert os.listdir(tmp_path) == []


def test_data_are_told_apart_by_name_shape_type_and_value():
    X, y = np.arange(12.0).reshape(2, 3, 2), np.asarray([0, 1])
    seen = [
        data_digest(data)
        for data in (
            Data(X, y),
            Data(X.reshape(2, 2, 3), y),
            Data(X, y.astype(np.int32)),
            Data(X, y, X_test=X),
            Data(X, y, X_validation=X),
            Data(X + np.eye(1, 2) * 1e-15, y),
        )
    ]
    assert len(set(seen)) == len(seen)
    assert data_digest(Data(X.copy(order="F"), y.copy())) == seen[0]


def rows(count: int, splits: tuple[str, ...]) -> list[Row]:
    return [
        Row(i, i / 2, 1.0, 0, 0.0, {split: Score(0.5**i, 1 - 0.5**i) for split in splits})
        for i in range(1, count + 1)
    ]


def test_curves_are_a_picture_with_something_on_it():
    both = ("train", "validation")
    empty = curves_png({}, "accuracy")
    one = curves_png({0: rows(1, ("train",))}, "squared_error")
    many = curves_png({0: rows(9, both), 7: rows(5, both)}, "accuracy")
    coloured = []
    for data in (empty, one, many):
        assert data.startswith(b"\x89PNG\r\n\x1a\n")
        pixels = image.imread(io.BytesIO(data))[..., :3]
        assert pixels.shape[0] > 200 and pixels.shape[1] > 500
        coloured.append(int(np.sum(np.ptp(pixels, axis=2) > 0.2)))
    # Axes are black on white; only curves have colours.
    assert coloured[0] == 0 and 0 < coloured[1] < coloured[2]
