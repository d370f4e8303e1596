"""States of a training with a right checksum that no training wrote, and run files without end."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest

import echoloom as el
from echoloom.frontend.data.files import sealed
from echoloom.frontend.training.run_file import read_run
from echoloom.frontend.training.state import (
    Counters,
    Identity,
    StateFile,
    TrainingState,
    state_bytes,
)

IDENTITY = Identity({"training.batch": 3}, "abc", 2)


@pytest.mark.parametrize(
    "change",
    [
        {"identity": None},
        {"identity": {"settings": [], "data": "abc", "seed": 2}},
        {"counters": {"step": "many"}},
        {"counters": {"history": [{}]}},
        {"arrays": -1},
        {"arrays": 1.5},
    ],
)
def test_headers_that_no_training_wrote(tmp_path, change):
    model = el.HSSM(1, 2, 3, 2, 1, key=jax.random.key(0))
    state = TrainingState(model, {"count": np.zeros(3)}, model, Counters())
    line, _, payload = state_bytes(state, b"", IDENTITY).partition(b"\n")
    header = {n: v for n, v in json.loads(line).items() if n != "sha256"}
    file = StateFile(tmp_path / "state.bin", IDENTITY)
    file.path.write_bytes(sealed(header, payload))
    assert file.load(state) is not None
    file.path.write_bytes(sealed(header | change, payload))
    with pytest.raises(ValueError, match=r"state makes no sense to this release .*--fresh"):
        file.load(state)


@pytest.mark.parametrize("value", ["[" * 2000, "9" * 5000, "\x00"])
def test_run_files_that_are_no_toml(tmp_path, value):
    path = tmp_path / "run.toml"
    path.write_text(f"[training]\nsteps = {value}\n")
    with pytest.raises(ValueError, match=r"run\.toml: this is not TOML: "):
        read_run(path)
