"""`el.build`: what lies beside a bitstream, and what is refused before any work."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from finished_build import finished_build

import echoloom as el
from echoloom.backends.bitstream import build as builds
from echoloom.backends.bitstream import tools
from echoloom.backends.bitstream.aim import TimingMissed
from echoloom.backends.bitstream.build import link_stream
from echoloom.backends.bitstream.targets.boards import BOARDS
from echoloom.backends.bitstream.toolrun import BuildFailed
from echoloom.backends.link.conversation import LOADING
from echoloom.backends.link.image_writes import image_mark, image_writes
from echoloom.hdl.commands import Command
from echoloom.hdl.numbers import decode_numbers
from echoloom.hdl.packets import FLUSH, PacketDecoder
from echoloom.ir.passes.estimate import utilisation

Memory = dict[tuple[int, int, int], int]


def loaded(stream: bytes, mark: int) -> Memory:
    """The memories of an engine that a link has filled from `stream`."""
    memory: Memory = {}
    marks = []
    for code, _, payload, intact in PacketDecoder().feed(stream):
        if not intact or code == Command.RESET:
            assert not memory  # only what was under way before
            continue
        if code == Command.MARK:
            (word,) = decode_numbers(payload)
            marks.append((len(memory) > 0, word % 2**64))
            continue
        assert code == Command.WRITE
        space, lane, address, *words = decode_numbers(payload)
        for offset, word in enumerate(words):
            place = space, lane, address + offset
            assert memory.setdefault(place, word % 2**64) == word % 2**64
    # While it is loaded, and if it stays half loaded, the board says that it holds nothing.
    assert marks == [(False, LOADING), (True, mark)]
    return memory


def test_link_stream_fills_every_memory(classifier):
    image = classifier.image
    expected = {
        (space, lane, address): word % 2**64
        for space, lane, address, word in image_writes(image, clear=True)
    }
    stream = link_stream(image)
    assert loaded(stream, image_mark(image)) == expected
    # Whatever half packet the link was in: zeros until it waits for a new one.
    assert stream.startswith(bytes(FLUSH))
    before = b"\xa5\x02\xff" + bytes(7)
    assert loaded(before + stream, image_mark(image)) == expected


@pytest.fixture
def fake_bitstream(monkeypatch):
    """Stands in for minutes of synthesis; fake_bitstream(error) makes the next one fail."""
    failures: list[Exception] = []

    def to_bitstream(config, timing, board, directory, aim, *, baud, samples, checks, besides):
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{board}.bit"
        for stale in (path, *(directory / name for name in besides.names)):
            stale.unlink(missing_ok=True)
        if failures:
            raise failures.pop()
        report = finished_build(path, board, aim)
        for name, data in besides.make(report, b"bits").items():
            (directory / name).write_bytes(data)
        path.write_bytes(b"bits")
        return report

    monkeypatch.setattr(builds, "to_bitstream", to_bitstream)
    return failures.append


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_report_and_files(classifier, tmp_path, fake_bitstream):
    report = el.build(classifier, directory=tmp_path)
    assert names(tmp_path) == {"ulx3s-85f.bit", "program.link", "report.json"}
    stream = (tmp_path / "program.link").read_bytes()
    assert stream == link_stream(classifier.image)
    written = json.loads((tmp_path / "report.json").read_text())
    assert written["kind"] == "build"
    assert written["fmax_mhz"] == report.fmax_mhz
    assert written["engine"]["lanes"] == 2
    assert written["line"] == {"baud": 3_000_000, "window": 2048, "samples": 8192, "checks": True}
    assert [step["utilisation"] for step in written["steps"].values()] == list(
        utilisation(classifier.artifact.mapped).values()
    )
    assert written["sha256"] == {
        "ulx3s-85f.bit": hashlib.sha256(b"bits").hexdigest(),
        "program.link": hashlib.sha256(stream).hexdigest(),
    }


@pytest.mark.parametrize("error", [TimingMissed("slow"), BuildFailed("crashed"), MemoryError()])
def test_failure_takes_the_older_files_along(classifier, tmp_path, fake_bitstream, error):
    el.build(classifier, directory=tmp_path)
    fake_bitstream(error)
    with pytest.raises(type(error)):
        el.build(classifier, directory=tmp_path)
    assert names(tmp_path) == set()


def test_unknown_board(classifier, tmp_path):
    with pytest.raises(ValueError) as caught:
        el.build(classifier, board="ulx4m", directory=tmp_path / "out")
    assert (
        str(caught.value)
        == f"there is no board 'ulx4m'; known: {', '.join(BOARDS)}, or a board's file, NAME.toml"
    )
    assert names(tmp_path) == set()


@pytest.mark.parametrize("name", ["yosys", "nextpnr_ecp5", "ecppack"])
def test_missing_tool(classifier, tmp_path, monkeypatch, name):
    def missing() -> tools.Tool:
        raise tools.ToolMissing(f"{name} is missing; install it")

    monkeypatch.setattr(tools, name, missing)
    with pytest.raises(tools.ToolMissing, match=f"{name} is missing; install it"):
        el.build(classifier, directory=tmp_path / "out")
    assert names(tmp_path) == set()


def test_refusals_leave_an_older_build_alone(classifier, tmp_path, fake_bitstream, monkeypatch):
    el.build(classifier, directory=tmp_path)
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"the PLL cannot make 26\.123 MHz from 25 MHz"):
        el.build(classifier, directory=tmp_path, clock_mhz=26.123)
    assert names(tmp_path) == {"ulx3s-85f.bit", "program.link", "report.json"}


def test_unwritable_directory(classifier, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write a bitstream into .*file/out: Not a directory"):
        el.build(classifier, directory=tmp_path / "file" / "out")
    assert names(tmp_path) == {"file"}


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"seeds": 0}, "build: seeds is 0, but it must be a whole number >= 1."),
        ({"seeds": 1.5}, "build: seeds is 1.5, but it must be a whole number >= 1."),
        ({"seed": "a"}, "build: seed is 'a', but it must be a whole number."),
        ({"jobs": 0}, "build: jobs is 0, but it must be a whole number >= 1."),
        ({"margin": 1.0}, "the margin is a part of the clock from 0 to 1, not 1"),
        ({"clock_mhz": -1.0}, "the clock must be a frequency in MHz, not -1"),
    ],
)
def test_impossible_aims(classifier, tmp_path, wrong, sentence):
    with pytest.raises(ValueError) as caught:
        el.build(classifier, directory=tmp_path / "out", **wrong)
    assert str(caught.value) == sentence
    assert names(tmp_path) == set()
