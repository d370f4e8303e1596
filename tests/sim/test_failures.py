"""A simulation that fails says so: it never passes."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from machines import forward, frames, leaky_machine

from echoloom.sim import run_rtl as run_rtl_module
from echoloom.sim.builds import DONE, last_lines, run_process
from echoloom.sim.compose import compose
from echoloom.sim.run_rtl import Simulator, model_of, run_rtl
from echoloom.sim.script import Script, save
from echoloom.sim.simulation_error import SimulationError

IMAGE = leaky_machine()
REQUEST = forward(frames(2))

TICKS = 10  # of a process' time, by which it does its work

Fake = Callable[[str], None]


@pytest.fixture
def fake_player(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Puts a shell script in the place of the built simulation; its $1 is the job."""

    def put(script: str) -> None:
        model = tmp_path / "model"
        model.mkdir(exist_ok=True)
        player = model / "player"
        player.write_text(f"#!/bin/sh\n{script}\n")
        player.chmod(0o755)
        monkeypatch.setattr("echoloom.sim.run_rtl.build", lambda *_: model)

    return put


COMPLETE = "for name in outputs responses trace marks; do : > $1/$name.bin; done"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("kill -9 $$", "was killed by signal 9"),
        ("echo out of paper; exit 3", r"ended with code 3(.|\n)*out of paper"),
        (f"{COMPLETE}; exit 1", "ended with code 1"),
        (f"{COMPLETE}; echo too hot > $1/failure.txt", "gave up: too hot"),
        ("exit 0", "without a complete recording"),
        (": > $1/outputs.bin", "without a complete recording"),
        (COMPLETE, "recorded 0 of 1 passes"),
    ],
)
def test_players_that_fail_are_errors(fake_player: Fake, script: str, message: str):
    fake_player(script)
    with pytest.raises(SimulationError, match=message):
        run_rtl(IMAGE, [REQUEST], "verilator-cpp")


def test_a_player_that_does_not_start_is_built_again(tmp_path: Path, fake_player: Fake):
    fake_player("exit 0")
    model = tmp_path / "model"
    (model / "player").write_bytes(b"\x7fELF")  # half a program
    (model / DONE).touch()
    with pytest.raises(SimulationError, match=r"cannot start .*model/player: Exec format error"):
        run_rtl(IMAGE, [REQUEST], "verilator-cpp")
    assert not (model / DONE).exists()


@pytest.mark.parametrize("simulator", ["verilator-cpp", "verilator", "icarus"])
def test_players_report_a_script_that_they_cannot_read(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("echoloom.sim.run_rtl.save", lambda *_: None)
    with pytest.raises(SimulationError, match=r"gave up: (.|\n)*turns\.bin"):
        run_rtl(IMAGE, [REQUEST], simulator)


def test_words_for_which_there_is_no_room(fake_player: Fake, small_files: int):
    fake_player("exit 0")
    with pytest.raises(OSError) as caught:
        run_rtl(IMAGE, [forward(frames(small_files))], "verilator-cpp")
    said = r"cannot write .*/samples\.bin: File too large; set TMPDIR to another folder"
    assert re.fullmatch(said, str(caught.value.strerror))


@pytest.mark.parametrize("simulator", ["verilator-cpp", "verilator"])
def test_players_whose_recording_finds_no_room(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A buffer holds all of it: that there is no room shows when it is written out."""
    saved = run_rtl_module.save

    def last(script: Script, job: Path) -> None:
        saved(script, job)
        (job / "outputs.bin").symlink_to("/dev/full")

    monkeypatch.setattr(run_rtl_module, "save", last)
    with pytest.raises(SimulationError, match=r"gave up: .*(outputs\.bin|No space left)"):
        run_rtl(IMAGE, [REQUEST], simulator)


def test_a_player_ends_with_the_command_that_wants_its_recording(tmp_path: Path):
    model = model_of(IMAGE, None, "verilator-cpp")
    save(compose(IMAGE, [forward(frames(1_000_000))]), tmp_path)  # half a minute
    script = f"{model}/player {tmp_path} & echo $!; wait"
    command = subprocess.Popen(["/bin/sh", "-c", script], stdout=subprocess.PIPE)
    assert command.stdout is not None
    player = int(command.stdout.readline())
    while int(Path(f"/proc/{player}/stat").read_text().split()[13]) < TICKS:
        time.sleep(0.01)
    command.kill()
    assert command.stdout.read() == b""  # it ends when the last process has let go of it
    command.wait()
    assert not (tmp_path / "marks.bin").exists()


def test_a_full_disk_is_named_where_a_log_has_no_room(
    fake_player: Fake, monkeypatch: pytest.MonkeyPatch
):
    fake_player("exit 1")
    full = shutil.disk_usage("/")._replace(free=0)
    monkeypatch.setattr("echoloom.sim.builds.shutil.disk_usage", lambda _: full)
    with pytest.raises(SimulationError, match=r"ended with code 1; the disk of .* is full;"):
        run_rtl(IMAGE, [REQUEST], "verilator-cpp")


def test_processes_are_stopped_with_their_children(tmp_path: Path):
    log = tmp_path / "log"
    command = ["/bin/sh", "-c", f"(sleep 1; touch {tmp_path}/alive) & echo started; wait"]
    with pytest.raises(SimulationError, match=r"the test was stopped after 0\.3 seconds"):
        run_process(command, {}, log, 0.3, "the test")
    assert run_process(["/bin/sleep", "1.2"], {}, tmp_path / "other", None, "the wait") == 0
    assert not (tmp_path / "alive").exists()
    assert last_lines(log) == "started"
    assert last_lines(tmp_path / "none") == "(no log)"
