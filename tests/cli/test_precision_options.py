"""`echoloom compile` with word lengths and precisions of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from runner import echoloom, refused

import echoloom as el
from echoloom.cli.outcome import Exit
from echoloom.ir.precision import read_precision


@pytest.fixture
def compile_(shelf: Path, tmp_path: Path):
    given = (shelf / "model.eqx", shelf / "data.npz", "--lanes", 2, "-o", tmp_path / "own.elp")
    return lambda *arguments: ("compile", *given, *arguments)


def test_word_lengths_are_the_engines(compile_, tmp_path: Path) -> None:
    path = tmp_path / "chosen.toml"
    options = ("--word", 25, "--narrow", 17, "--margin", 1, "--gradient-bits", 43)
    said = echoloom(*compile_(*options, "--write-precision", path, "--json"))
    assert said.code == 0 and said.json["precision"] == str(path), said.err
    program = el.load(tmp_path / "own.elp")
    config = program.image.config
    assert (config.word, config.narrow, config.accumulator, config.gradient_bits) == (
        25,
        17,
        54,
        43,
    )
    chosen = read_precision(path)
    assert chosen == program.precision and chosen.widths.margin == 1
    again = echoloom(*compile_("--precision", path))
    assert again.code == 0, again.err
    assert el.load(tmp_path / "own.elp").image == program.image


def test_the_cheapest_is_found(compile_, tmp_path: Path) -> None:
    said = echoloom(*compile_("--precision", "auto", "--cosine", 0.99, "--norm", 0.05, "--json"))
    assert said.code == 0, said.err
    found = said.json["search"]
    assert found["good"] and found["cosine"] >= 0.99 and found["word"] < 28
    assert el.load(tmp_path / "own.elp").image.config.word == found["word"]
    assert "chosen" in said.err


def test_options_that_do_not_go_together(compile_, tmp_path: Path) -> None:
    for options, sentence in (
        (("--precision", "auto", "--word", 24), "--precision auto finds the word lengths: leave"),
        (("--cosine", 0.99), "--cosine is a bound of --precision auto: give that too."),
        (
            ("--precision", "best"),
            "precision is 'best', but it must be 'auto', a profile (fine, lean, uniform)",
        ),
        (("--precision", tmp_path / "none.toml"), "none.toml"),
        (("--word", 70), "word=70, narrow=18 and accumulator=63 bits do not go together"),
        (("--precision", "auto", "--norm", 2), "compile: norm is 2.0, but it must be between"),
    ):
        assert sentence in refused(Exit.INPUT, *compile_(*options))
    assert not (tmp_path / "own.elp").exists()
