"""A folder of good files that the command line's tests share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from runner import CHANNELS, CLASSES, STEPS, echoloom


@pytest.fixture(scope="session")
def shelf(tmp_path_factory) -> Path:
    """A folder with data.npz, a checkpoint model.eqx and a program.elp made of them."""
    folder = tmp_path_factory.mktemp("shelf")
    rng = np.random.default_rng(0)
    labels = np.arange(8) % CLASSES
    X = rng.standard_normal((8, STEPS, CHANNELS)) * [1.0, 5.0, 0.1] + labels[:, None, None]
    np.savez(folder / "data.npz", X=X, y=labels, X_test=X[:4] + 0.1, y_test=labels[:4])
    sizes = ("--hidden", 4, "--state", 2, "--blocks", 1, "--epochs", 2)
    said = echoloom("train", folder / "data.npz", "-o", folder / "model.eqx", *sizes)
    assert said.code == 0, said.err
    arguments = ("--lanes", 2, "-o", folder / "program.elp", "--ir", folder / "program.ir")
    said = echoloom("compile", folder / "model.eqx", folder / "data.npz", *arguments)
    assert said.code == 0, said.err
    assert {p.name for p in folder.iterdir()} == {
        "data.npz", "model.eqx", "program.elp", "program.ir",
    }  # fmt: skip
    return folder
