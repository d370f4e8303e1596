"""What left its range is named, and the sequence that drove it out is written to a file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from runner import CHANNELS, STEPS, echoloom, write_data

from echoloom.backends.compile.program import load
from echoloom.backends.run.integers import input_types
from echoloom.cli.kept import keeping
from echoloom.cli.outcome import Reporter
from echoloom.ir.formats import largest

COUNTS = ("--levels", "jax", "--forward", 3, "--echo", 1, "--no-normalise")


@pytest.fixture(scope="module")
def tight(shelf, tmp_path_factory):
    """A program with no bits to spare, and data: gentle samples in the first sequence, in the
    others the largest that its inputs hold."""
    folder = tmp_path_factory.mktemp("tight")
    arguments = ("--margin", 0, "--lanes", 2, "-o", folder / "tight.elp")
    said = echoloom("compile", shelf / "model.eqx", shelf / "data.npz", *arguments)
    assert said.code == 0, said.err
    q = input_types(load(folder / "tight.elp").ir)["x"].q
    X = np.zeros((4, STEPS, CHANNELS))
    X[1:] = 0.99 * largest(q.width) * 2.0 ** -max(q.fracs)
    return folder / "tight.elp", write_data(folder / "loud.npz", X=X)


def test_verify_names_it_and_keeps_the_sequence(tight, tmp_path):
    kept = tmp_path / "kept.npz"
    said = echoloom("verify", *tight, *COUNTS, "--keep", kept, "--json")
    result = said.json
    assert result["saturated"] + result["overflowed"] > 0 and result["kept"] == str(kept)
    first = result["excesses"][0]
    assert first["sequence"] == 1 and abs(first["value"]) > first["limit"]
    words = echoloom("verify", *tight, *COUNTS).out
    assert f"{first['signal']}[{first['element'][0]}]" in words and "in sequence 1 " in words
    with np.load(kept) as file, np.load(tight[1]) as data:
        np.testing.assert_array_equal(file["X"], data["X"][[1]])
        assert file.files == ["X"]  # it ran forward only, without a label


def test_nothing_is_kept_of_a_sound_run(shelf, tmp_path):
    kept = tmp_path / "kept.npz"
    files = shelf / "program.elp", shelf / "data.npz"
    said = echoloom("verify", *files, *COUNTS[:6], "--keep", kept, "--json")
    assert said.json["excesses"] == [] and not kept.exists()


def test_an_overflow_that_is_raised_is_one_sentence_and_kept(tight, tmp_path):
    program, kept = load(tight[0]), tmp_path / "kept.npz"
    words = dict(program.artifact.coefficients)
    words["b0.unit.stiffness"] = -words["b0.unit.stiffness"]  # every spring pushes
    program = replace(program, artifact=replace(program.artifact, coefficients=words))
    with np.load(tight[1]) as data:
        x = np.tile(data["X"][1], (20, 1))
    say = Reporter("board predict", False)
    with pytest.raises(ArithmeticError), keeping(say, kept):
        program.gradient(x, 1)
    with np.load(kept) as file:
        np.testing.assert_array_equal(file["X"], x[None])
        assert file["y"].tolist() == [1]
