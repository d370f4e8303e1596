"""`echoloom export-verilog`."""

from __future__ import annotations

from runner import echoloom, refused

from echoloom.cli.outcome import Exit


def test_an_export(shelf, tmp_path):
    folder = tmp_path / "out"
    options = ("--interface", "axi", "--length", 10, "--module", "wrist")
    said = echoloom("export-verilog", shelf / "program.elp", "-o", folder, *options, "--json")
    assert said.json["interface"] == "axi" and said.json["module"] == "wrist"
    assert sorted(said.json["files"]) == sorted(
        p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()
    )
    again = echoloom("export-verilog", shelf / "program.elp", "-o", folder)
    assert again.code == 0 and "module echoloom, 24 ports" in again.out
    assert not (folder / "wrist.v").exists()


def test_what_is_refused(shelf, tmp_path):
    program, folder = shelf / "program.elp", tmp_path / "out"
    sentence = refused(Exit.INPUT, "export-verilog", program, "-o", folder, "--interface", "apb")
    assert sentence == "the interface must be one of stream, axi, got 'apb'"
    (tmp_path / "file").write_text("")
    assert "it is a file" in refused(
        Exit.INPUT, "export-verilog", shelf / "nothing.elp", "-o", tmp_path / "file"
    )
    assert "No such file" in refused(
        Exit.INPUT, "export-verilog", shelf / "nothing.elp", "-o", folder
    )
    assert not folder.exists()
