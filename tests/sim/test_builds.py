"""Builds are made once for the same circuit and tools, also by several processes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from machines import expected_states, forward, frames, leaky_machine

from echoloom.backends.bitstream import tools
from echoloom.sim import builds
from echoloom.sim.run_rtl import Simulator, run_rtl
from echoloom.sim.simulation_error import SimulationError


class Adder(wiring.Component):
    """The smallest circuit worth a build."""

    a: Any
    total: Any

    def __init__(self, step: int = 1) -> None:
        self.step = step
        super().__init__({"a": In(8), "total": Out(8)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.sync += self.total.eq(self.a + self.step)
        return m


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(builds.CACHE, str(tmp_path))
    return tmp_path


def put_player(folder: Path, text: str = "built") -> None:
    """What a build leaves to be run."""
    (folder / "player").write_text(text)
    (folder / "player").chmod(0o755)


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str | Path]]:
    """Builds only pretend; the commands they would have run."""
    ran: list[Sequence[str | Path]] = []

    def pretend(command: Sequence[str | Path], _: object, log: Path, *rest: object) -> int:
        ran.append(command)
        put_player(log.parent)
        return 0

    monkeypatch.setattr(builds, "run_process", pretend)
    return ran


def test_one_build_for_one_circuit(cache: Path, commands: list[object]):
    first = builds.build(Adder, "verilator")
    assert builds.build(Adder, "verilator") == first
    assert first.is_relative_to(cache)
    assert (first / "engine.v").read_text().count("module engine(") == 1
    assert len(commands) == 1


@pytest.mark.parametrize("name", [b"", b"..", b"/", b"\x00", b"\xff", b"../elsewhere", b"a" * 5000])
def test_a_name_that_no_build_has_is_not_followed(cache: Path, commands: list[object], name: bytes):
    """Nor is a folder anywhere else taken for a build because it looks like one."""
    (cache / "elsewhere").mkdir()
    (cache / "elsewhere" / builds.DONE).touch()
    (cache / builds.DONE).touch()
    first = builds.build(Adder, "verilator", "an adder")
    (known,) = (cache / "sim").glob("known-*")
    known.write_bytes(name)
    assert builds.build(Adder, "verilator", "an adder") == first
    assert known.read_text() == first.name and len(commands) == 1


def test_circuit_simulator_and_versions_tell_builds_apart(
    cache: Path, commands: list[object], monkeypatch: pytest.MonkeyPatch
):
    found = {
        builds.build(Adder, "verilator"),
        builds.build(Adder, "verilator-cpp"),
        builds.build(lambda: Adder(2), "verilator"),
    }
    monkeypatch.setattr(builds, "_tool_versions", lambda _: {"verilator": "99"})
    found.add(builds.build(Adder, "verilator"))
    assert len(found) == len(commands) == 4


ODD = ["a b", "étude", "it's", "a#b", "$HOME", "a(b)", "a:b", "a%b", "a;b"]


@pytest.mark.parametrize("simulator", ["verilator", "verilator-cpp"])
@pytest.mark.parametrize("name", ODD)
def test_make_never_sees_a_path_that_it_cannot_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, simulator: str
):
    """What is built elsewhere arrives where it was asked for, and nothing stays behind."""
    monkeypatch.setenv(builds.CACHE, str(tmp_path / name))
    places = []

    def pretend(command: Sequence[str | Path], _: object, log: Path, *rest: object) -> int:
        paths = [word for word in command if isinstance(word, Path) and word != tool]
        assert paths and all(tools.plain(path) for path in [*paths, log])
        places.append(log.parent)
        put_player(log.parent)
        return 0

    tool = tools.verilator().path
    monkeypatch.setattr(builds, "run_process", pretend)
    directory = builds.build(Adder, simulator)
    assert directory.is_relative_to(tmp_path / name)
    assert (directory / "player").read_text() == "built"
    assert os.access(directory / "player", os.X_OK)
    assert builds.build(Adder, simulator) == directory and len(places) == 1
    assert not places[0].exists()


def test_a_link_to_a_folder_that_make_can_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commands: list[Sequence[str | Path]]
):
    (tmp_path / "plain").mkdir()
    (tmp_path / "a b").symlink_to(tmp_path / "plain")
    monkeypatch.setenv(builds.CACHE, str(tmp_path / "a b"))
    builds.build(Adder, "verilator")
    assert commands[0][-1].is_relative_to(tmp_path / "plain")  # type: ignore[union-attr]


def test_no_folder_that_make_can_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commands: list[object]
):
    monkeypatch.setenv(builds.CACHE, str(tmp_path / "a b"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "a b"))
    monkeypatch.setattr(builds, "TEMPORARY", ())
    message = "make cannot build in .*a b.*: set ECHOLOOM_CACHE to a folder whose path has letters"
    with pytest.raises(SimulationError, match=message):
        builds.build(Adder, "verilator")
    assert not commands


@pytest.mark.long
@pytest.mark.parametrize("simulator", ["verilator", "verilator-cpp"])
def test_simulators_run_from_a_folder_with_blanks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, simulator: Simulator
):
    for variable, name in ((builds.CACHE, "a b'é#$(c)"), ("TMPDIR", "t m'p")):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / name))
    monkeypatch.setattr(tempfile, "tempdir", None)  # read $TMPDIR anew
    words, image = frames(3), leaky_machine()
    (result,) = run_rtl(image, [forward(words)], simulator)
    states = expected_states(image, words)
    assert np.array_equal(result.outputs.reshape(states.shape), states)


def test_known_identity_saves_the_elaboration(cache: Path, commands: list[object]):
    first = builds.build(Adder, "verilator", "adder")

    def unneeded() -> Adder:
        raise AssertionError("elaborated again")

    assert builds.build(unneeded, "verilator", "adder") == first
    (first / builds.DONE).unlink()
    assert builds.build(Adder, "verilator", "adder") == first
    assert len(commands) == 2
    assert builds.build(lambda: Adder(2), "verilator", "another") != first


def test_a_killed_build_is_made_again(
    cache: Path, commands: list[object], monkeypatch: pytest.MonkeyPatch
):
    def killed(*_: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(builds, "run_process", killed)
        with pytest.raises(KeyboardInterrupt):
            builds.build(Adder, "verilator")
    directory = builds.build(Adder, "verilator")
    assert (directory / builds.DONE).exists()
    assert len(commands) == 1


def test_a_failing_build_is_an_error_with_its_log(cache: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(
        command: Sequence[str | Path], variables: Mapping[str, str], log: Path, *_: object
    ) -> int:
        log.write_text("no more disks")
        return 7

    monkeypatch.setattr(builds, "run_process", fail)
    for _ in range(2):
        with pytest.raises(SimulationError, match=r"verilator build ended with code 7:\nno more"):
            builds.build(Adder, "verilator")


def test_two_at_once_build_once(cache: Path, commands: list[object]):
    both = Barrier(2)

    def build() -> Path:
        both.wait()
        return builds.build(Adder, "verilator")

    with ThreadPoolExecutor(2) as pool:
        first, second = (pool.submit(build) for _ in range(2))
    assert first.result() == second.result()
    assert len(commands) == 1


def test_cache_directory_follows_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(builds.CACHE, "/named")
    assert builds.cache_directory() == Path("/named")
    monkeypatch.delenv(builds.CACHE)
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert builds.cache_directory() == Path("/xdg/echoloom")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert builds.cache_directory() == Path.home() / ".cache" / "echoloom"


def test_builds_do_not_know_that_they_run_under_a_test(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTEST_CURRENT_TEST", "this one")
    assert "PYTEST_CURRENT_TEST" not in builds.environment()


@pytest.mark.parametrize("fault", ["gone", "cut", "another", "unmarked", "garbage"])
def test_what_is_no_longer_as_it_was_built_is_built_again(
    cache: Path, commands: list[object], fault: str
):
    """A copy that broke off, a disk that was tidied up: nothing of it is run."""
    directory = builds.build(Adder, "verilator-cpp", "adder")
    player = directory / "player"
    if fault == "gone":
        player.unlink()
    elif fault == "cut":
        player.write_text("buil")
    elif fault == "another":
        put_player(directory, "BUILT")
    elif fault == "unmarked":
        (directory / builds.DONE).write_text("")  # as releases before this one marked theirs
    else:
        (directory / builds.DONE).write_bytes(b"\xff")
    assert builds.build(Adder, "verilator-cpp", "adder") == directory
    assert player.read_text() == "built" and builds.is_whole(directory)
    assert len(commands) == 2


@pytest.mark.parametrize("text", [b"", b"../../etc", b"\xff\xfe", b"verilator-cpp-0"])
def test_a_note_of_a_build_that_is_not_there(cache: Path, commands: list[object], text: bytes):
    directory = builds.build(Adder, "verilator", "adder")
    (note,) = (cache / "sim").glob("known-*")
    note.write_bytes(text)
    assert builds.build(Adder, "verilator", "adder") == directory
    assert note.read_text() == directory.name and len(commands) == 1


def test_a_killed_build_that_still_writes_writes_elsewhere(cache: Path, commands: list[object]):
    """Tools outlive the command that was killed: what they write later is in no build."""
    left = cache / "sim" / ".echoloom-work-build-abcdefgh" / "build"
    left.mkdir(parents=True)
    directory = builds.build(Adder, "verilator")
    assert not left.exists()
    left.mkdir(parents=True)
    put_player(left, "late")
    assert (builds.build(Adder, "verilator") / "player").read_text() == "built"
    assert {path.name for path in (cache / "sim").iterdir()} == {
        directory.name, f"{directory.name}.lock", left.parent.name,
    }  # fmt: skip


def test_a_cache_that_cannot_be_written(cache: Path, commands: list[object], monkeypatch: Any):
    directory = builds.build(Adder, "verilator")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    assert builds.build(Adder, "verilator") == directory  # what is there needs no room
    with pytest.raises(OSError) as caught:
        builds.build(lambda: Adder(2), "verilator")
    assert caught.value.strerror == (
        f"cannot keep a built simulator in {cache / 'sim'}: No space left on device; make room "
        "there, or set ECHOLOOM_CACHE to another folder"
    )


def test_tools_that_die(cache: Path, monkeypatch: pytest.MonkeyPatch):
    """Whatever they leave, there is no build, and the next one is made from the beginning."""
    ways = {
        "echo half > player; kill -9 $$": "was killed by signal 9:",
        "echo half > player; chmod +x player; exit 1": "ended with code 1:",
        "exit 0": "gave no program although it did not fail",
        "echo half > player; exit 0": "gave no program although it did not fail",
    }
    for script, sentence in ways.items():

        def die(simulator: str, directory: Path, own: str = script) -> list[str | Path]:
            return ["/bin/sh", "-c", f"cd {directory}; {own}"]

        monkeypatch.setattr(builds, "_build_command", die)
        with pytest.raises(SimulationError, match=f"the verilator-cpp build {sentence}"):
            builds.build(Adder, "verilator-cpp", "adder")
        assert {path.suffix for path in (cache / "sim").iterdir()} == {".lock"}
    monkeypatch.setattr(
        builds, "_build_command",
        lambda _, work: ["/bin/sh", "-c", f"echo whole > {work}/player; chmod +x {work}/player"],
    )  # fmt: skip
    assert (builds.build(Adder, "verilator-cpp") / "player").read_text() == "whole\n"
