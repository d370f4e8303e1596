"""`echoloom compile --dump`: what every stage of the compiler gives, as text."""

from __future__ import annotations

from pathlib import Path

import pytest
from runner import echoloom, refused

from echoloom.backends.compile.pipeline import STAGES
from echoloom.cli.outcome import Exit

NAMES = [stage.name for stage in STAGES]


@pytest.fixture
def compile_(shelf: Path, tmp_path: Path):
    given = (shelf / "model.eqx", shelf / "data.npz", "--lanes", 2, "-o", tmp_path / "own.elp")
    return lambda *arguments: ("compile", *given, *arguments)


def test_stages_are_printed_in_the_order_in_which_they_run(compile_, shelf: Path) -> None:
    said = echoloom(*compile_("--dump", "integer", "--dump", "energies"))
    assert said.code == 0, said.err
    energies, integer = (said.out.index(f"{name}:\n") for name in ("energies", "integer"))
    assert energies < integer and "real:\n" not in said.out
    assert (shelf / "program.ir").read_text().strip() in said.out
    told = echoloom(*compile_("--dump", "energies", "--json"))
    assert told.json["program"] and "energies:\n" in told.err


def test_a_folder_gets_a_file_for_every_stage(compile_, shelf: Path, tmp_path: Path) -> None:
    said = echoloom(*compile_("--dump-to", tmp_path / "dumps"))
    assert said.code == 0, said.err
    written = {path.name: path.read_text() for path in (tmp_path / "dumps").iterdir()}
    assert written.keys() == {f"{name}.txt" for name in NAMES}
    assert all(text.strip() for text in written.values())
    assert written["integer.txt"] == (shelf / "program.ir").read_text()
    assert "integer:" not in said.out
    echoloom(*compile_("--dump", "real", "--dump-to", tmp_path / "one"))
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["real.txt"]


def test_a_wrong_stage_is_one_sentence_with_all_names(compile_, tmp_path: Path) -> None:
    assert refused(Exit.INPUT, *compile_("--dump", "reel")) == (
        f"--dump is 'reel', but it must be {', '.join(NAMES)} or all."
    )
    assert not (tmp_path / "own.elp").exists()


def test_a_folder_that_cannot_be_is_refused_before_any_work(compile_, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(Exit.INPUT, *compile_("--dump", "all", "--dump-to", tmp_path / "file"))
    assert not (tmp_path / "own.elp").exists()
