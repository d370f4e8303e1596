"""Bad input: one known sentence, a known exit code, and no file left behind."""

from __future__ import annotations

from pathlib import Path

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from runner import CHANNELS, STEPS, refused, write_data

from echoloom.cli.outcome import Exit
from echoloom.frontend.training.train import load_model, save_model


def bad_data(tmp_path: Path) -> dict[str, tuple[Path, str]]:
    """Data files that no command takes, each with the sentence that says why."""
    X = np.zeros((4, STEPS, CHANNELS))
    nan = X.copy()
    nan[1, 2, 0] = np.nan
    path = tmp_path / "data.npz"
    cases = {
        "NaN": ({"X": nan}, "X: nan at [1, 2, 0] (1 in all), but every value must be finite."),
        "rank": (
            {"X": X[0]},
            f"X has shape [{STEPS}, {CHANNELS}], but samples [n, T, channels] are needed, one at "
            "least.",
        ),
        "empty": (
            {"X": X[:0]},
            f"X has shape [0, {STEPS}, {CHANNELS}], but samples [n, T, channels] are needed, one "
            "at least.",
        ),
        "no X": ({"X": None}, "it holds no array X; X [n, T, channels] are the samples."),
        "texts": (
            {"X": X.astype(str)},
            "X: the type is <U32, but real numbers are needed.",
        ),
        "test split": ({"X": X, "X_test": X[:, :, :2]}, "X_test has 2 channels, but X has 3."),
    }
    found = {}
    for name, (changes, sentence) in cases.items():
        file = write_data(tmp_path / f"{name.replace(' ', '-')}.npz", **changes)
        found[name] = (file, f"{file}: {sentence}")
    path.write_bytes(b"PK not a zip")
    found["foreign"] = (
        path,
        f"{path}: this is not an .npz file of numbers; write one with numpy.savez(path, X=..., "
        "y=...).",
    )
    pickled = tmp_path / "pickled.npz"
    np.savez(pickled, X=np.asarray([None]))
    found["pickle"] = (
        pickled,
        f"{pickled}: some array in it holds Python objects, which are not read from files; write "
        "it as numbers or texts, as y.astype(str) makes them of labels.",
    )
    missing = tmp_path / "missing.npz"
    found["missing"] = (missing, f"{missing}: No such file or directory")
    return found


def test_bad_data_is_refused_by_every_command(shelf, tmp_path):
    for name, (file, sentence) in bad_data(tmp_path).items():
        before = sorted(tmp_path.iterdir())
        output = ("-o", tmp_path / "output")
        assert refused(Exit.INPUT, "train", file, *output) == sentence, name
        assert refused(Exit.INPUT, "compile", shelf / "model.eqx", file, *output) == sentence, name
        assert refused(Exit.INPUT, "verify", shelf / "program.elp", file) == sentence, name
        assert sorted(tmp_path.iterdir()) == before, name


def train_cases(folder: Path) -> list[tuple[tuple[object, ...], str]]:
    data = write_data(folder / "data.npz")
    negative = write_data(folder / "negative.npz", y=np.asarray([0, 1, -1, 0]))
    unlabelled = write_data(folder / "unlabelled.npz", y=None)
    targets = write_data(folder / "targets.npz", y=np.zeros((4, STEPS, 2)))
    worded = write_data(folder / "worded.npz", y=np.asarray(["a", "b", "a", "b"]))
    sparse = write_data(folder / "sparse.npz", y=np.asarray([0, 1000, 0, 1000]))
    huge = write_data(folder / "huge.npz", y=np.asarray([0, 2_000_000_000, 0, 0]))
    counted = (
        ", but classes are counted from 0: map them with `ids, y = numpy.unique(y, "
        "return_inverse=True)`, or write them as texts, y.astype(str), which are kept with the "
        "model as names."
    )
    return [
        (
            (negative,),
            "labels: -1 at [2] is out of range; the classes of this model are 0 to 1.",
        ),
        (
            (unlabelled,),
            f"{unlabelled}: it holds no array y; training needs labels or targets.",
        ),
        (
            (targets, "--output-step", 5),
            f"labels: the shape is [4, {STEPS}, 2], but targets of shape [4, 2, 2] are needed.",
        ),
        (
            (worded, "--task", "regression"),
            f"{worded}: its labels are texts, such as 'a', but a regression needs targets, which "
            "are numbers.",
        ),
        ((sparse,), f"labels: there are 2 different ones from 0 to 1000{counted}"),
        ((huge,), f"labels: there are 2 different ones from 0 to 2000000000{counted}"),
        ((data, "--hidden", 0), "HSSM: hidden is 0, but it must be a whole number >= 1."),
        ((data, "--step", 0), "HSSM: step is 0.0, but a step must lie between 0 and 1."),
        ((data, "--epochs", 0), "train: epochs is 0, but it must be > 0."),
        ((data, "--lr", -1), "train: learning_rate is -1.0, but it must be > 0."),
    ]


def test_train_refuses(tmp_path):
    for arguments, sentence in train_cases(tmp_path):
        before = sorted(tmp_path.iterdir())
        assert refused(Exit.INPUT, "train", *arguments, "-o", tmp_path / "m.eqx") == sentence
        assert sorted(tmp_path.iterdir()) == before


def test_unknown_data_set():
    pytest.importorskip("aeon")
    sentence = refused(Exit.INPUT, "train", "BasicMotion", "-o", "m.eqx")
    assert sentence.startswith(
        "BasicMotion: there is no such file, and no data set of that name in the package aeon; it "
        "carries ACSF1, ArrowHead, BasicMotions, "
    )


def test_compile_refuses(shelf, tmp_path):
    model = load_model(shelf / "model.eqx")
    frozen = eqx.tree_at(
        lambda m: m.blocks[0].unit.step, model, replace_fn=lambda raw: jnp.full_like(raw, -1e4)
    )
    save_model(tmp_path / "frozen.eqx", frozen)
    (tmp_path / "torn.eqx").write_bytes((shelf / "model.eqx").read_bytes()[:-1])
    wide = write_data(tmp_path / "wide.npz", X=np.ones((4, STEPS, 5)))
    data = shelf / "data.npz"
    engine = "an engine has lanes >= 1, 1 <= drains <= lanes and 1 <= slots <= 8, got "
    cases = [
        (
            (shelf / "model.eqx", wide),
            "samples: the shape is [4, 10, 5], but this model takes [N, T, 3].",
        ),
        (
            (shelf / "model.eqx", data, "--gradient-bits", 36),
            "gradient is 36 bits, but a sum over steps has at least the 45 of a product and at "
            "most the accumulator's 54",
        ),
        (
            (tmp_path / "frozen.eqx", data),
            "check: blocks[0].step resolves to 0 at [0], but a step must be > 0.",
        ),
        (
            (tmp_path / "torn.eqx", data),
            f"{tmp_path / 'torn.eqx'}: the checkpoint is damaged, its checksum does not match; "
            "save it again.",
        ),
        (
            (shelf / "program.elp", data),
            f"{shelf / 'program.elp'}: this is not an Echoloom checkpoint; write one with "
            "save_model.",
        ),
        (
            (tmp_path / "none.eqx", data),
            f"{tmp_path / 'none.eqx'}: No such file or directory",
        ),
        (
            (shelf / "model.eqx", data, "--target", "ice40"),
            "unknown target 'ice40'; known targets are "
            "ecp5-85k, ecp5-45k, ecp5-25k, gw2a-18, hx8k, up5k",
        ),
        (
            (shelf / "model.eqx", data, "--lanes", 0),
            f"{engine}lanes=0, drains=1, slots=4",
        ),
        (
            (shelf / "model.eqx", data, "--samples", 0),
            "--samples is 0, but it must be >= 1.",
        ),
        (
            (shelf / "model.eqx", data, "--unit", "no_such_module:unit"),
            "--unit no_such_module:unit: No module named 'no_such_module'; name it as MODULE:NAME",
        ),
        (
            (shelf / "model.eqx", data, "--unit", "math:pi"),
            "--unit math:pi: this is a float, not a Hamiltonian",
        ),
    ]
    before = sorted(tmp_path.iterdir())
    for arguments, sentence in cases:
        output = ("-o", tmp_path / "p.elp", "--ir", tmp_path / "p.ir")
        assert refused(Exit.INPUT, "compile", *arguments, *output) == sentence
        assert sorted(tmp_path.iterdir()) == before


def test_verify_refuses(shelf, tmp_path):
    program, data = shelf / "program.elp", shelf / "data.npz"
    beyond = write_data(tmp_path / "beyond.npz", X=1e6 * np.ones((8, STEPS, CHANNELS)))
    labels = write_data(tmp_path / "labels.npz", y=np.asarray([0, 5, 0, 1]))
    unlabelled = write_data(tmp_path / "unlabelled.npz", y=None)
    cases = [
        ((data, "--levels", "jax,gpu"), "unknown level 'gpu'; levels are numpy, jax, rtl"),
        (
            (data, "--levels", "numpy"),
            "verify needs a level to hold against numpy: add 'jax', 'rtl', 'onnx' or 'board' to "
            "levels",
        ),
        (
            (data, "--forward", 2, "--echo", 3),
            "--forward 2 and --echo 3: at least one sequence runs forward, and no more than those "
            "can echo.",
        ),
        (
            (unlabelled, "--echo", 1),
            f"{unlabelled}: without labels nothing can be learnt; use --echo 0.",
        ),
        (
            (data, "--forward", 0, "--echo", 0),
            "--forward 0 and --echo 0: at least one sequence runs forward, and no more than those "
            "can echo.",
        ),
        ((data, "--forward", 9), f"{data}: it holds 4 sequences, fewer than --forward 9."),
        ((data, "--split", "dev"), "--split is 'dev', but it must be train or test."),
        (
            (data, "--waves", tmp_path / "w.fst", "--around", "half"),
            "--around is 'half', but it must be a step or first-difference.",
        ),
        ((data, "--around", "2"), "around 2 of what? name a file with waves"),
        (
            (data, "--waves", tmp_path / "w.fst", "--around", STEPS),
            f"there is no step {STEPS} to show waves around: the first sequence has steps 0 to "
            f"{STEPS - 1}",
        ),
        (
            (data, "--waves", tmp_path / "w.fst", "--simulator", "golden"),
            "the simulator golden writes no waves: take verilator or verilator-cpp",
        ),
        (
            (data, "--waves", tmp_path / "w.vcd"),
            f"waves are written as FST: name a file *.fst, not {tmp_path / 'w.vcd'}",
        ),
        (
            (labels, "--forward", 4),
            "label: 5 is out of range; the classes of this model are 0 to 1.",
        ),
        (
            (beyond, "--no-normalise", "--forward", 4),
            "x reaches 1e+06, but this program holds at most ",
        ),
    ]
    before = sorted(tmp_path.iterdir())
    for arguments, sentence in cases:
        report = ("--report", tmp_path / "report.json")
        assert refused(Exit.INPUT, "verify", program, *arguments, *report).startswith(sentence)
        assert sorted(tmp_path.iterdir()) == before


def test_destinations_are_tried_first(shelf, tmp_path):
    """Before data is even read, let alone a model trained."""
    (tmp_path / "file").touch()
    nowhere = tmp_path / "file" / "out"
    absent = tmp_path / "absent.npz"
    sentence = f"cannot write {nowhere}: Not a directory"
    assert refused(Exit.INPUT, "train", absent, "-o", nowhere) == sentence
    model, program = shelf / "model.eqx", shelf / "program.elp"
    assert refused(Exit.INPUT, "compile", model, absent, "-o", nowhere) == sentence
    output = ("-o", tmp_path / "p.elp", "--ir", nowhere)
    assert refused(Exit.INPUT, "compile", model, absent, *output) == sentence
    assert refused(Exit.INPUT, "verify", program, absent, "--report", nowhere) == sentence
    assert refused(Exit.INPUT, "train", absent, "-o", tmp_path) == (
        f"cannot write {tmp_path}: it is a folder"
    )
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_report_refuses(tmp_path):
    (tmp_path / "other.json").write_text('{"kind": "weather"}')
    neither = (
        "this is neither a saved program nor a report of `echoloom verify` or `echoloom build`."
    )
    cases = [
        ((tmp_path / "other.json",), f"{tmp_path / 'other.json'}: {neither}"),
        ((), "give a file or --size, one of the two."),
        (
            ("--size", "huge"),
            "--size is 'huge', but it must be demo, paper or five whole numbers: "
            "INPUTS,HIDDEN,STATE,BLOCKS,OUTPUTS.",
        ),
        (
            ("--size", "3,4,2,1,2", "--lanes", 0),
            "an engine has lanes >= 1, 1 <= drains <= lanes and 1 <= slots <= 8, got lanes=0, "
            "drains=1, slots=4",
        ),
        (("--size", "3,0,2,1,2"), "HSSM: hidden is 0, but it must be a whole number >= 1."),
    ]
    for arguments, sentence in cases:
        assert refused(Exit.INPUT, "report", *arguments) == sentence
