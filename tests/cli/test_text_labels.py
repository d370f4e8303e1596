"""Files whose labels are texts: the commands number them as the model does."""

from __future__ import annotations

import numpy as np
from runner import CHANNELS, STEPS, echoloom, refused, write_data

from echoloom.backends.compile.program import load
from echoloom.cli.data import load_data
from echoloom.cli.outcome import Exit
from echoloom.frontend.training.train import load_model

SIZES = ("--hidden", 3, "--state", 2, "--blocks", 1, "--epochs", 1)


def test_texts_stay_with_the_model_as_names_of_its_classes(tmp_path):
    X = np.random.default_rng(4).standard_normal((4, STEPS, CHANNELS))
    X[..., 1] = 7.0
    texts = write_data(tmp_path / "texts.npz", X=X, y=np.array(["up", "down", "down", "up"]))
    checkpoint, program = tmp_path / "texts.eqx", tmp_path / "texts.elp"
    said = echoloom("train", texts, "-o", checkpoint, *SIZES)
    assert said.code == 0 and "classes: 0 = down, 1 = up" in said.out.splitlines()
    constant = "channel 1 never changes over the training split, so it is centred but not scaled"
    assert f"{texts}: {constant}" in said.err.splitlines()
    assert load_model(checkpoint).classes == ("down", "up")

    said = echoloom("compile", checkpoint, texts, "-o", program, "--lanes", 2, "--json")
    assert said.json["notes"] == [f"{texts}: {constant}"]
    model = load(program).model
    extract = write_data(tmp_path / "extract.npz", X=X[:1], y=np.array(["up"]))
    y = load_data(str(extract), True, model.task, model.classes).y
    assert y is not None and y.tolist() == [1]
    other = write_data(tmp_path / "other.npz", X=X[:2], y=np.array(["up", "left"]))
    assert refused(Exit.INPUT, "verify", program, other, "--levels", "jax") == (
        f"{other}: there is no class 'left'; the classes are 'down', 'up'."
    )
