"""`echoloom prove`, as a shell sees it."""

from __future__ import annotations

from pathlib import Path

import pytest
from runner import echoloom, refused

import echoloom as el
from echoloom.backends.prove import prove as room
from echoloom.cli.outcome import Exit
from tests.backends.prove.test_reversibility import SABOTAGES, compiled, edited


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prove") / "p.elp"
    compiled().save(path)
    return path


def test_prove_says_what_it_proved(saved: Path) -> None:
    said = echoloom("prove", saved, "--json")
    assert {claim["state"] for claim in said.json["claims"]} == {"b0.free.q", "b0.free.p"}
    assert all(claim["refuted"] is None for claim in said.json["claims"])
    assert "odd" in {lemma["parity"] for lemma in said.json["lemmas"]}
    text = echoloom("prove", saved).out
    assert "move 2 of b0.free.q" in text
    assert "proven in" in text


def test_prove_ends_with_code_4_and_a_counterexample(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = room.decided
    bad = edited(el.load(saved).artifact, SABOTAGES["floor"])
    monkeypatch.setattr(room, "decided", lambda artifact, limit_s: whole(bad, limit_s))
    monkeypatch.setattr(room, "counterexample", lambda artifact, own=room.counterexample: own(bad))
    said = echoloom("prove", saved)
    assert said.code == Exit.MISMATCH
    assert "does not take back move" in said.err
    assert "off by" in said.err


def test_prove_refuses_what_is_no_program(tmp_path: Path) -> None:
    (tmp_path / "p.elp").write_bytes(b"no program")
    assert str(tmp_path / "p.elp") in refused(Exit.INPUT, "prove", tmp_path / "p.elp")
