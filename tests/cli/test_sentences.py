"""What a file put into an error's text does not come out as a terminal's commands or as a page."""

from __future__ import annotations

import json

from runner import refused

from echoloom.cli.outcome import LONGEST, Exit, sentence


def test_control_characters_and_new_lines_are_shown_as_escapes():
    assert sentence(ValueError("a\x1b[2Jb\nc\x00\u202e é")) == "a\\x1b[2Jb\\nc\\x00\\u202e é"


def test_a_value_of_thousands_of_characters_is_cut():
    said = sentence(ValueError(f"begin {'9' * 50_000} end"))
    assert len(said) < LONGEST + 10 and said.startswith("begin 9") and said.endswith("9 end")
    assert sentence(ValueError("x" * LONGEST)) == "x" * LONGEST


def test_reports_that_are_none(tmp_path):
    file, page = tmp_path / "report.json", tmp_path / "page.html"
    verified = {"kind": "verify", "ok": True, "levels": {}, "program": "p", "cycles": {}}
    for values in (
        {"kind": "verify", "ok": True, "levels": []},  # AttributeError
        {"kind": ["verify"]},
        {"kind": "build", "usage": 1},
        verified | {"lsb_off": None, "saturated": 0, "overflowed": 0, "notes": 7},
        verified | {"floats": {"x": 10**400}},  # OverflowError
    ):
        file.write_text(json.dumps(values))
        assert "neither a saved program nor a report" in refused(
            Exit.INPUT, "report", file, "--html", page
        )
        assert not page.exists()
    file.write_bytes(b"[" * 100_000)
    assert "neither a saved program nor a report" in refused(Exit.INPUT, "report", file)
