"""`echoloom train run.toml`: what it writes and says, resuming, what it refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from runner import CHANNELS, STEPS, echoloom, refused, write_data

from echoloom.cli.outcome import Exit
from echoloom.frontend.training.example import EXAMPLE
from echoloom.frontend.training.run_file import read_run
from echoloom.frontend.training.train import load_model

SMALL = """
[model]
hidden = 3
state = 2
blocks = 1
"""


def write_run(folder: Path, training: str, data: str = "", rest: str = SMALL) -> Path:
    """A run file beside data of 12 sequences, which it names relative to itself."""
    rng = np.random.default_rng(0)
    y = np.arange(12) % 2
    X = rng.standard_normal((12, STEPS, CHANNELS)) + y[:, None, None]
    write_data(folder / "data.npz", X=X, y=y, X_test=X[:4] + 0.1, y_test=y[:4])
    path = folder / "run.toml"
    path.write_text(f'[data]\nsource = "data.npz"\n{data}\n[training]\n{training}\n{rest}')
    return path


def test_a_run_writes_all_seeds_and_their_table(tmp_path):
    run = write_run(tmp_path, "epochs = 2\nbatch = 5\nseeds = [0, 3]", "validation = 0.25")
    folder = tmp_path / "out" / "run"
    said = echoloom("train", run, "-o", folder)
    assert said.code == 0, said.err
    assert said.out.splitlines()[-1] == f"wrote {folder}"
    result = json.loads((folder / "result.json").read_text())
    assert {path.name for path in folder.iterdir()} == {
        "seed-0", "seed-3", "curves.png", "result.json",
    }  # fmt: skip
    lines = [line.split() for line in said.out.splitlines()]
    assert ["seed", "train", "validation", "test", "steps", "seconds", "overflows"] in lines
    shown = [line for line in lines if line and line[0].isdigit()]
    for seed, line in zip(result["seeds"], shown, strict=True):
        own = folder / f"seed-{seed['seed']}"
        assert {path.name for path in own.iterdir()} == {"model.eqx", "state.bin", "history.csv"}
        assert line[:2] == [str(seed["seed"]), f"{seed['train_accuracy']:.1%}"]
        with open(own / "history.csv") as file:
            rows = list(csv.DictReader(file))
        assert [row["step"] for row in rows] == ["2", "4"]
        assert float(rows[-1]["validation_accuracy"]) == seed["validation_accuracy"]
        model = load_model(own / "model.eqx")
        assert (model.hidden, model.inputs) == (3, CHANNELS)
    accuracies = [seed["test_accuracy"] for seed in result["seeds"]]
    assert result["test_accuracy"]["mean"] == np.mean(accuracies)
    np.testing.assert_allclose(result["test_accuracy"]["deviation"], np.std(accuracies, ddof=1))
    assert result["run"]["training"]["seeds"] == [0, 3]

    # The same once more finds everything done; then longer, and with one seed more.
    before = {path: path.read_bytes() for path in folder.glob("seed-*/model.eqx")}
    again = echoloom("train", run, "-o", folder, "--json")
    assert "seed 3: was finished before, at step 4" in again.err
    assert {path: path.read_bytes() for path in before} == before
    assert again.json["seeds"] == result["seeds"]
    run.write_text(run.read_text().replace("epochs = 2", "epochs = 3").replace("[0, 3]", "[3, 4]"))
    longer = echoloom("train", run, "-o", folder, "--json")
    assert "seed 3: resumed at step 4 of 6" in longer.err
    assert "seed 4: resumed" not in longer.err
    assert [seed["steps"] for seed in longer.json["seeds"]] == [6, 6]


def test_fresh_starts_over_and_a_changed_run_is_refused(tmp_path):
    run = write_run(tmp_path, "steps = 3\nbatch = 5")
    folder = tmp_path / "out"
    assert echoloom("train", run, "-o", folder).code == 0
    first = (folder / "seed-0" / "model.eqx").read_bytes()
    state = folder / "seed-0" / "state.bin"
    remedy = "go on with what it was started with, start over with --fresh, or name another folder."
    run.write_text(run.read_text().replace("batch = 5", "batch = 6"))
    assert refused(Exit.INPUT, "train", run, "-o", folder) == (
        f"{state}: this run was started with [training] batch = 5, but it is 6 now; {remedy}"
    )
    assert (folder / "seed-0" / "model.eqx").read_bytes() == first
    (folder / "seed-0" / "state.bin.0123456789abcdef.partial").write_bytes(b"torn")
    said = echoloom("train", run, "-o", folder, "--fresh")
    assert said.code == 0 and "resumed" not in said.err
    assert (folder / "seed-0" / "model.eqx").read_bytes() != first
    assert not list(folder.rglob("*.partial"))
    write_data(tmp_path / "data.npz", X=np.ones((12, STEPS, CHANNELS)), y=np.arange(12) % 2)
    assert refused(Exit.INPUT, "train", run, "-o", folder) == (
        f"{state}: this run was started with other data; {remedy}"
    )


def test_refusals_before_any_work(tmp_path):
    folder = tmp_path / "out"

    def sentence(training: str, data: str = "", rest: str = SMALL, *flags: object) -> str:
        run = write_run(tmp_path, training, data, rest)
        found = refused(Exit.INPUT, "train", run, "-o", folder, *flags)
        assert not folder.exists()
        return found

    run = tmp_path / "run.toml"
    assert sentence("epochs = 0") == f"{run}: [training] epochs is 0, but it must be > 0."
    assert sentence("epochs = 1", "", SMALL, "--hidden", 3) == (
        "--hidden is for training without a run file; write it into the run file."
    )
    assert sentence("epochs = 1\npatience = 3") == (
        "[training] patience is 3, but there is no validation split: set [data] validation to a "
        "part of the training split, such as 0.2."
    )
    assert sentence("epochs = 1", "scale_targets = true") == (
        "data.npz: scale_targets is for a regression's targets, but it has none."
    )
    assert sentence("epochs = 1\nbatch = 4096\ndevices = 4096").startswith(
        "devices is 4096, but JAX sees "
    )
    assert sentence("epochs = 1", rest="[model]\nhidden = 0") == (
        "HSSM: hidden is 0, but it must be a whole number >= 1."
    )
    assert sentence("epochs = 1", rest='[model]\nunit = "no_such_module:Unit"') == (
        "[model] unit no_such_module:Unit: No module named 'no_such_module'; name it as MODULE:NAME"
    )
    run.write_text('[data]\nsource = "none.npz"\n[training]\nepochs = 1\n')
    assert refused(Exit.INPUT, "train", run, "-o", folder).endswith("No such file or directory")
    assert refused(Exit.INPUT, "train", tmp_path / "no.toml", "-o", folder) == (
        f"{tmp_path / 'no.toml'}: No such file or directory"
    )
    assert refused(Exit.INPUT, "train", tmp_path / "data.npz", "-o", folder, "--fresh") == (
        "--fresh is for run files; a checkpoint is always trained anew."
    )
    assert not folder.exists()


def test_a_regression_with_one_scaled_number_a_sequence(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((6, STEPS, CHANNELS))
    y = 40.0 + 10.0 * X.mean(axis=(1, 2))
    run = write_run(tmp_path, "epochs = 2\nbatch = 4", "scale_targets = true")
    write_data(tmp_path / "data.npz", X=X, y=y, X_test=X[:2], y_test=y[:2])
    said = echoloom("train", run, "-o", tmp_path / "out", "--json")
    assert said.code == 0, said.err
    model = load_model(tmp_path / "out" / "seed-0" / "model.eqx")
    assert (model.task, model.outputs, model.output_step) == ("regression", 1, STEPS)
    seed, scale = said.json["seeds"][0], said.json["data"]["target_scale"][0]
    np.testing.assert_allclose(seed["train_squared_error"], seed["train_loss"] * scale**2)
    np.testing.assert_allclose(scale, (y.max() - y.min()) / 1.8)


def test_other_commands_take_the_data_of_a_run_file(tmp_path):
    run = write_run(tmp_path, "epochs = 1", "validation = 0.5")
    assert echoloom("train", run, "-o", tmp_path / "out").code == 0
    model = tmp_path / "out" / "seed-0" / "model.eqx"
    said = echoloom("compile", model, run, "-o", tmp_path / "p.elp", "--lanes", 2)
    assert said.code == 0, said.err
    counts = ("--levels", "jax", "--forward", 1, "--echo", 1, "--split", "validation")
    said = echoloom("verify", tmp_path / "p.elp", run, *counts)
    assert said.code == 0, said.err


def test_the_quick_form_takes_the_echo(shelf, tmp_path):
    sizes = ("--hidden", 3, "--state", 2, "--blocks", 1, "--epochs", 3, "--unit", "nonlinear")
    models = []
    for gradient in ("bptt", "rhel"):
        output = tmp_path / f"{gradient}.eqx"
        said = echoloom(
            "train", shelf / "data.npz", "-o", output, *sizes, "--gradient", gradient, "--json"
        )
        assert said.code == 0, said.err
        models.append(np.asarray(load_model(output).encoder.weight))
    np.testing.assert_allclose(models[0], models[1], rtol=1e-2)
    assert (models[0] != models[1]).any()


def test_the_example_is_a_run_file_that_works(tmp_path):
    pytest.importorskip("aeon")
    said = echoloom("train", "--example")
    assert (said.code, said.out) == (0, EXAMPLE)
    path = tmp_path / "run.toml"
    path.write_text(said.out.replace("epochs = 60", "epochs = 1").replace("[0, 1, 2]", "[0]"))
    assert read_run(path).training.epochs == 1
    done = echoloom("train", path, "-o", tmp_path / "out", "--json")
    assert done.code == 0, done.err
    assert done.json["classes"] == ["badminton", "running", "standing", "walking"]
