"""`echoloom learn`, and `echoloom verify --learn`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from learning_programs import BATCH, made
from runner import echoloom, refused

import echoloom as el
from echoloom.backends.engine import learning
from echoloom.cli.learn import score
from echoloom.cli.outcome import Exit


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a program that learns, and the data that it was compiled with."""
    program, x, y = made("linear")
    folder = tmp_path_factory.mktemp("learning")
    np.savez(folder / "data.npz", X=x, y=y, X_test=x[:2], y_test=y[:2])
    program.save(folder / "p.elp")
    return folder


def test_learn_writes_a_model_and_a_program(saved: Path, tmp_path: Path) -> None:
    given = (saved / "p.elp", saved / "data.npz", "--no-normalise", "--updates", 2)
    out = ("-o", tmp_path / "m.eqx", "--program", tmp_path / "q.elp")
    said = echoloom("learn", *given, *out, "--level", "numpy", "--json")
    program, x, y = made("linear")
    expected = program.learn(x, y, 2)
    assert said.json["losses"] == expected.losses.mean(1).tolist()
    assert said.json["clamped"] == dict.fromkeys(expected.weights, 0)
    assert (said.json["updates"], said.json["batch"], said.json["overflowed"]) == (2, BATCH, 0)
    assert set(said.json["train_accuracy"]) == {"before", "after"}
    held = el.load(tmp_path / "q.elp").artifact.coefficients
    model = program.with_parameters(el.load_model(tmp_path / "m.eqx")).artifact.coefficients
    for name, words in expected.weights.items():
        assert np.array_equal(held[name], words[-1]) and np.array_equal(model[name], words[-1])
    plain = echoloom("learn", *given, "-o", tmp_path / "m.eqx", "--level", "numpy")
    assert "2 updates of 3 sequences; loss of a batch: first " in plain.out
    assert "test accuracy: before " in plain.out and "words clamped: none" in plain.out


def test_scores_are_those_of_one_sequence_after_the_other() -> None:
    program, x, y = made("linear")
    found = [program.run(one).outputs.argmax() for one in x]
    assert score(program, x, y, together=3) == np.mean(found == y)


def test_verify_compares_a_training(saved: Path) -> None:
    given = (saved / "p.elp", saved / "data.npz", "--no-normalise", "--simulator", "golden")
    said = echoloom("verify", *given, "--learn", 2, "--batch", 4, "--levels", "rtl", "--json")
    assert said.json["learning"]["updates"] == 2 and said.json["learning"]["batch"] == 4
    assert said.json["levels"]["rtl"]["mismatches"] == 0
    plain = echoloom("verify", *given, "--learn", 1, "--levels", "rtl")
    assert "1 updates of 3 sequences: " in plain.out and "% " not in plain.err
    assert "a batch takes " in plain.out and " cycles, its update " in plain.out


def test_verify_names_what_differs(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = learning.steps_at
    monkeypatch.setattr(
        learning, "steps_at", lambda plan, tensors, at: [2 * s for s in right(plan, tensors, at)]
    )
    given = (saved / "p.elp", saved / "data.npz", "--no-normalise", "--simulator", "golden")
    said = echoloom("verify", *given, "--learn", 1, "--levels", "rtl", "--json")
    assert said.code == Exit.MISMATCH
    difference = said.json["difference"]
    assert (difference["update"], difference["signal"]) == (0, "weight encoder.weight")
    assert difference["element"] == [0, 0] and difference["bit"] is not None


def test_bad_input_is_one_sentence(saved: Path, tmp_path: Path) -> None:
    data, program = saved / "data.npz", saved / "p.elp"
    said = refused(Exit.INPUT, "verify", program, data, "--learn", 1, "--echo", 2)
    assert "leave out --forward and --echo" in said
    np.savez(tmp_path / "bare.npz", X=np.load(data)["X"])
    said = refused(Exit.INPUT, "verify", program, tmp_path / "bare.npz", "--learn", 1)
    assert "without labels nothing can be learnt" in said
    said = refused(Exit.INPUT, "learn", program, tmp_path / "bare.npz", "-o", tmp_path / "m.eqx")
    assert "learning needs labels or targets" in said
    said = refused(Exit.INPUT, "learn", program, data, "-o", tmp_path / "m", "--updates", 0)
    assert "updates is 0" in said
    compiled, _, _ = made("linear")
    mapped = replace(compiled.artifact.mapped, learning=None)
    plain = replace(compiled, artifact=replace(compiled.artifact, mapped=mapped, learning=None))
    plain.save(tmp_path / "plain.elp")
    said = refused(Exit.INPUT, "learn", tmp_path / "plain.elp", data, "-o", tmp_path / "m.eqx")
    assert "cannot learn on a board" in said
