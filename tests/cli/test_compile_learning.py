"""`echoloom compile --learning`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from runner import echoloom, refused

import echoloom as el
from echoloom.cli.learning_options import number
from echoloom.cli.outcome import Exit


def test_a_program_learns_by_the_rule_asked_for(shelf: Path, tmp_path: Path) -> None:
    out = tmp_path / "learns.elp"
    given = ("compile", shelf / "model.eqx", shelf / "data.npz", "--lanes", 2, "-o", out)
    rule = ("--learning", "momentum", "--step", "2^-7", "--batch", 2, "--updates", 4)
    parts = ("--halve-at", 2, "--halve-at", 3, "--only", "head", "--only", "b0.readout")
    said = echoloom(*given, *rule, *parts, "--json")
    assert said.code == 0, said.err
    program = el.load(out)
    assert program.learning is not None
    assert program.learning.rule == el.SignUpdate(
        step=2.0**-7, batch=2, updates=4, halve_at=(2, 3), learn=("head", "b0.readout"),
        momentum=True,
    )  # fmt: skip
    told = said.json["learning"]
    assert [row["tensor"] for row in told["tensors"]] == [t.name for t in program.learning.tensors]
    assert told["update_cycles"] == program.artifact.mapped.update_cycles() > 0
    assert told["tensors"][0]["step"] == 2.0**-7 * 2.0 ** -told["tensors"][0]["lsb"]
    report = echoloom("report", out)
    assert "head.weight" in report.out and "An update of all by SignUpdate takes" in report.out
    assert "b0.step" in report.out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--learning", "adam"), "--learning is 'adam', but it must be sign, momentum, scaled"),
        (("--updates", 4), "--updates is an option of learning: name a rule with --learning sign,"),
        (("--learning", "sign", "--step", "tiny"), "--step is 'tiny', but it must be a number or"),
        (("--learning", "sign", "--batch", 0), "SignUpdate: batch is 0, but it must be a whole"),
        (("--learning", "sign", "--updates", 2, "--only", "b7"), "learn names 'b7', but what can"),
    ],
)
def test_refused(shelf: Path, tmp_path: Path, options: tuple[object, ...], said: str) -> None:
    given = ("compile", shelf / "model.eqx", shelf / "data.npz", "-o", tmp_path / "p.elp")
    assert refused(Exit.INPUT, *given, *options).startswith(said)
    assert not (tmp_path / "p.elp").exists()


def test_steps_are_numbers_or_powers() -> None:
    assert (number("2^-8"), number("2**3"), number("0.01")) == (2.0**-8, 8.0, 0.01)


def test_a_model_to_begin_with(shelf: Path, tmp_path: Path) -> None:
    sizes = ("--hidden", 4, "--state", 2, "--blocks", 1, "--epochs", 1)
    given = ("train", shelf / "data.npz", *sizes)
    said = echoloom(*given, "-o", tmp_path / "new.eqx", "--untrained", "--json")
    assert said.code == 0 and said.json["parameters"] > 0
    assert echoloom(*given, "-o", tmp_path / "trained.eqx").code == 0
    new, trained = (el.load_model(tmp_path / f"{name}.eqx") for name in ("new", "trained"))
    before, after = new.blocks[0].norm, trained.blocks[0].norm
    assert np.array_equal(before.mean, after.mean) and np.any(before.mean != 0.0)
    assert np.array_equal(before.scale, np.ones(4)) and not np.array_equal(after.scale, np.ones(4))
