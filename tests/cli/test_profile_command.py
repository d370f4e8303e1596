"""`echoloom profile`, and the pages of other commands."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from html_pages import browsed, check_page
from runner import STEPS, echoloom, refused

from echoloom.cli.outcome import Exit

CHOICES = ("--words", "18,28", "--narrows", 18, "--octaves", 0, "--lengths", STEPS)


@pytest.fixture(scope="module")
def profiled(shelf, tmp_path_factory):
    folder = tmp_path_factory.mktemp("profiled") / "made"
    said = echoloom(
        "profile", shelf / "model.eqx", shelf / "data.npz", "-o", folder, "--lanes", 2,
        "--sequences", 3, *CHOICES,
    )  # fmt: skip
    assert said.code == 0, said.err
    return folder, said


def test_a_profile_is_a_page_with_values_and_pictures(profiled):
    folder, said = profiled
    names = {"surface", "growth", "shares", "signals", "back_signals"}
    assert {p.name for p in folder.iterdir()} == {
        "profile.html", "profile.json", *(f"{name}.svg" for name in names),
    }  # fmt: skip
    text = check_page(folder / "profile.html")
    for name in names:
        assert (folder / f"{name}.svg").read_text() in text
    assert "Schedule" in text and "b0.free.first.q" in text
    assert "Words of 28 and 18 bits" in said.out and "widen next" in said.out


def test_values_are_those_of_every_choice_and_tensor(profiled):
    values = json.loads((profiled[0] / "profile.json").read_text())
    points = {(p["word"], p["narrow"], p["octave"], p["length"]): p for p in values["points"]}
    assert set(points) == {(w, 18, 0, STEPS) for w in (18, 28)}
    coarse, fine = (points[w, 18, 0, STEPS]["tensors"] for w in (18, 28))
    assert coarse.keys() == fine.keys() == values["errors"].keys()
    assert min(f["cosine"] for f in fine.values()) > 0.999
    assert min(f["cosine"] for f in coarse.values()) < min(f["cosine"] for f in fine.values())
    for name in values["errors"]:
        assert 0.0 < sum(share["parts"][name] for share in values["shares"]) <= 1.0 + 1e-9


def test_a_browser_opens_the_profile(profiled):
    assert browsed(profiled[0] / "profile.html") == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--words", "20,x"), "--words is '20,x', but it must be whole numbers"),
        (("--words", "90"), "a word length is 90, but it must be between 4 and 48"),
        (
            ("--lengths", STEPS + 1),
            f"a length is {STEPS + 1}, but it must be between 1 and {STEPS}",
        ),
        (("--cosine", "1.5"), "--cosine is 1.5 and --norm 0.01, but both must be between 0 and 1"),
        (("--target", "moon"), "moon"),
    ],
)
def test_choices_that_cannot_be_are_refused(shelf, tmp_path, arguments, sentence):
    given = ("profile", shelf / "model.eqx", shelf / "data.npz", "-o", tmp_path, "--lanes", 2)
    assert sentence in refused(Exit.INPUT, *given, *arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_regression_without_targets_is_refused(shelf, tmp_path):
    X = np.random.default_rng(0).standard_normal((4, STEPS, 3))
    np.savez(tmp_path / "data.npz", X=X, y=np.tanh(X[:, :, :1]))
    sizes = ("--hidden", 4, "--state", 2, "--blocks", 1, "--epochs", 1)
    said = echoloom("train", tmp_path / "data.npz", "-o", tmp_path / "model.eqx", *sizes)
    assert said.code == 0, said.err
    np.savez(tmp_path / "bare.npz", X=X)
    given = ("profile", tmp_path / "model.eqx", tmp_path / "bare.npz", "-o", tmp_path / "out")
    assert "a regression is judged by targets" in refused(Exit.INPUT, *given)


def test_other_reports_are_pages_too(shelf, tmp_path):
    verified, shown, sized = (tmp_path / f"{name}.html" for name in ("verify", "report", "size"))
    said = echoloom(
        "verify", shelf / "program.elp", shelf / "data.npz", "--levels", "jax", "--forward", 1,
        "--html", verified, "--report", tmp_path / "verify.json",
    )  # fmt: skip
    assert said.code == 0, said.err
    text = check_page(verified)
    assert "integers compared" in text and "Schedule" in text
    assert echoloom("report", shelf / "program.elp", "--html", shown).code == 0
    assert re.search(r"<svg[^>]*>.*forward_step: \d+ cycles", check_page(shown), re.DOTALL)
    assert echoloom("report", tmp_path / "verify.json", "--html", shown).code == 0
    assert "integers compared" in check_page(shown)
    arguments = ("--size", "3,4,2,1,2", "--lanes", 2, "--html", sized)
    assert echoloom("report", *arguments).code == 0
    assert "cycles / step" in check_page(sized)
    sentence = refused(Exit.INPUT, "report", shelf / "program.elp", "--html", tmp_path)
    assert sentence == f"cannot write {tmp_path}: it is a folder"
