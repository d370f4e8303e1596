"""`echoloom board flash` ends with the exit code that tells why."""

from __future__ import annotations

from runner import echoloom

from echoloom.backends.bitstream import flash
from echoloom.backends.bitstream.toolrun import BuildFailed
from echoloom.backends.bitstream.tools import ToolMissing
from echoloom.cli.outcome import Exit


def test_flash_calls_the_loader(tmp_path, monkeypatch):
    bitstream = tmp_path / "ulx3s-85f.bit"
    bitstream.touch()
    missing = echoloom("board", "flash", "ulx4", bitstream)
    assert (missing.code, missing.out) == (Exit.INPUT, "")
    assert "board flash: there is no board 'ulx4'; known: " in missing.err

    def loader() -> None:
        raise ToolMissing("openFPGALoader is missing")

    monkeypatch.setattr(flash.tools, "openfpgaloader", loader)
    assert echoloom("board", "flash", "ulx3s-85f", bitstream).code == Exit.TOOL
    failing = BuildFailed("openFPGALoader failed with status 1: JTAG init failed")

    def run(*_: object, **__: object) -> str:
        raise failing

    monkeypatch.setattr("echoloom.cli.board_flash.flash_board", run)
    assert echoloom("board", "flash", "ulx3s-85f", bitstream).code == Exit.FAILED
    monkeypatch.setattr("echoloom.cli.board_flash.flash_board", lambda *_, **__: "done")
    said = echoloom("board", "flash", "ulx3s-85f", bitstream, "--keep", "--json")
    assert said.json["kept"] is True and said.json["said"] == "done"
