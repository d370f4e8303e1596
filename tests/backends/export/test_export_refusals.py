"""An export is refused before any work, and leaves a folder as it was."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import echoloom as el
from echoloom.backends.export import export as exports
from echoloom.backends.export.folder import write_folder


@pytest.fixture(autouse=True)
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(*arguments: object) -> None:
        raise AssertionError("work was begun")

    monkeypatch.setattr(exports, "exported", work)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"interface": "wishbone"}, r"^the interface must be one of stream, axi, got 'wishbone'$"),
        ({"module": "module"}, r"^a Verilog module cannot be called 'module': take letters"),
        ({"module": "2nd"}, r"cannot be called '2nd'"),
        ({"module": "a b"}, r"cannot be called 'a b'"),
        ({"length": 0}, r"^a sequence has one sample or more, got --length 0$"),
        ({"length": 1 << 32}, r"register LENGTH holds 0 to 4294967295, got 4294967296$"),
    ],
)
def test_what_cannot_be(classifier, tmp_path: Path, arguments, sentence: str):
    with pytest.raises(ValueError, match=sentence):
        el.export_verilog(classifier, tmp_path / "out", **arguments)
    assert not list(tmp_path.iterdir())


def test_a_file_in_its_place(classifier, tmp_path: Path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OSError, match=r"^cannot write .*out: it is a file$"):
        el.export_verilog(classifier, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_no_folder_to_write_in(classifier, tmp_path: Path):
    with pytest.raises(OSError, match=r"cannot write .*out: No such file or directory"):
        el.export_verilog(classifier, tmp_path / "nowhere" / "out")


def test_a_folder_with_other_files(classifier, tmp_path: Path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "thesis.tex").write_text("mine")
    with pytest.raises(ValueError, match=r"holds sub/thesis\.tex, which is of no export"):
        el.export_verilog(classifier, tmp_path)
    assert (tmp_path / "sub" / "thesis.tex").read_text() == "mine"


def test_an_export_replaces_an_earlier_one_whole(tmp_path: Path, monkeypatch):
    folder = tmp_path / "out"
    write_folder(folder, {"a.v": "1", "memory/b.hex": "2", "export.json": '{"files": ["a.v", '
                          '"memory/b.hex", "export.json"]}'})  # fmt: skip
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", _full)
        with pytest.raises(OSError, match="disk is full"):
            write_folder(folder, {"a.v": "3"})
    assert (folder / "a.v").read_text() == "1" and (folder / "memory" / "b.hex").exists()
    write_folder(folder, {"c.v": "3", "export.json": '{"files": ["c.v", "export.json"]}'})
    assert {p.name for p in tmp_path.rglob("*")} == {"out", "c.v", "export.json"}
    (folder / "notes").write_text("mine")
    with pytest.raises(ValueError, match="holds notes"):
        write_folder(folder, {"c.v": "4"})
    assert (folder / "c.v").read_text() == "3"


def _full(number: int) -> None:
    raise OSError(28, "disk is full")
