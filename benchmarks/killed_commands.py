"""Commands that `killed.py` kills and `full_disks.py` starves: run in a folder, looked at after."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
from stub_tools import stub_tools

from echoloom.cli import app

FORK = multiprocessing.get_context("fork")  # this process itself computes nothing with JAX
SIZES = ("--hidden", "4", "--state", "2", "--blocks", "1")
ECHOLOOM = (sys.executable, "-c", "from echoloom.cli import main; main()")
PORT = "PORT"  # stands in a command for that of a virtual board
RUN = """[data]
source = "data.npz"
[model]
hidden = 4
state = 2
blocks = 1
[training]
epochs = 6
batch = 4
evaluate_every = 2
checkpoint_every = 1
"""
# Data, model and programs that the commands read, made by the commands themselves.
MADE = (
    ("train", "data.npz", "-o", "m.eqx", "--untrained", *SIZES),
    ("compile", "m.eqx", "data.npz", "-o", "p.elp", "--lanes", "2"),
    ("compile", "m.eqx", "data.npz", "-o", "l.elp", "--lanes", "2", "--learning", "sign",
     "--step", "2^-6", "--updates", "4", "--batch", "2"),
)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Where commands run: their folder, and those for temporary files and built simulators."""

    root: Path

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def temporary(self) -> Path:
        return self.root / "tmp"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def log(self) -> Path:
        """What the last command said on stderr."""
        return self.root / "log"


@dataclass(frozen=True)
class Case:
    """A command, the names of what it writes, and files of the outputs that no two runs share.

    `cold` commands find no built simulator. One that `goes_on` leaves what it has done so far, and
    a later run of it goes on from there. `board` is the program of the board at PORT.
    """

    arguments: tuple[str, ...]
    outputs: tuple[str, ...] = ()
    differs: frozenset[str] = field(default=frozenset())
    cold: bool = False
    goes_on: bool = False
    board: str = ""

    @property
    def name(self) -> str:
        words = self.arguments[: 2 if self.arguments[0] == "board" else 1]
        how = ["anew"] * self.cold + ["run.toml"] * self.goes_on
        return " ".join([*words, *how])


VERIFY = ("verify", "p.elp", "data.npz", "--simulator", "verilator-cpp", "--forward", "2",
          "--echo", "1", "--report", "out.json")  # fmt: skip
TIMED = ("history.csv", "state.bin", "result.json")  # hold how many seconds it took
CASES = (
    Case(("train", "data.npz", "-o", "out.eqx", "--epochs", "2", *SIZES), ("out.eqx",)),
    Case(("train", "run.toml", "-o", "out"), ("out",), frozenset(TIMED),
         goes_on=True),
    Case(("compile", "m.eqx", "data.npz", "-o", "out.elp", "--lanes", "2", "--ir", "out.ir"),
         ("out.ir", "out.elp")),
    Case(VERIFY, ("out.json",)),
    Case(VERIFY, ("out.json",), cold=True),
    Case(("prove", "p.elp")),
    Case(("learn", "l.elp", "data.npz", "-o", "out.eqx", "--program", "out.elp", "--updates", "2"),
         ("out.eqx", "out.elp")),
    Case(("export-verilog", "p.elp", "-o", "out"), ("out",)),
    Case(("export-onnx", "p.elp", "-o", "out.onnx", "--kind", "integer"), ("out.onnx",)),
    Case(("build", "p.elp", "-o", "out"), ("out",), frozenset({"report.json", "yosys.log"})),
    Case(("profile", "m.eqx", "data.npz", "-o", "out", "--words", "28", "--narrows", "18",
          "--octaves", "0", "--lengths", "16", "--sequences", "2", "--lanes", "2"), ("out",)),
    Case(("board", "check", PORT, "p.elp"), board="p.elp"),
    Case(("board", "predict", PORT, "p.elp", "data.npz", "--count", "2"), board="p.elp"),
    Case(("board", "gradient", PORT, "p.elp", "data.npz", "--count", "2", "-o", "out.npz"),
         ("out.npz",), board="p.elp"),
    Case(("board", "learn", PORT, "l.elp", "data.npz", "--updates", "2", "--every", "1",
          "-o", "out.elp", "--model", "out.eqx"), ("out.elp", "out.eqx"), board="l.elp"),
)  # fmt: skip


def prepared(root: Path) -> Place:
    """A place with data, model and programs in its folder."""
    place = Place(root)
    for folder in (place.work, place.temporary, place.cache, root / "bin"):
        folder.mkdir()
    X = np.random.default_rng(1).standard_normal((8, 16, 2))
    np.savez(place.work / "data.npz", X=X, y=np.arange(8) % 2)
    (place.work / "run.toml").write_text(RUN)
    for given in MADE:
        if finish(place, given):
            raise SystemExit(f"{' '.join(given)}: {place.log.read_text()}")
    return place


def started(place: Place, arguments: tuple[str, ...]) -> BaseProcess:
    """A command that has just begun, in a process group of its own."""
    process = FORK.Process(target=_life, args=(place, arguments))
    process.start()
    return process


def _life(place: Place, arguments: tuple[str, ...]) -> None:
    """A child's whole life: one command, its words in a log."""
    os.setsid()
    os.chdir(place.work)
    os.environ |= _variables(place)
    tempfile.tempdir = None  # that of the parent
    stub_tools(Path(__file__).parent / "stub_tools.json", place.root / "bin")
    with open(os.devnull, "w") as nothing, place.log.open("w") as log:
        with contextlib.redirect_stdout(nothing), contextlib.redirect_stderr(log):
            app(arguments, standalone_mode=True)


def _variables(place: Place) -> dict[str, str]:
    return {"TMPDIR": str(place.temporary), "ECHOLOOM_CACHE": str(place.cache)}


def finish(place: Place, arguments: tuple[str, ...]) -> int | None:
    process = started(place, arguments)
    process.join()
    return process.exitcode


@contextlib.contextmanager
def ready(place: Place, case: Case) -> Iterator[tuple[str, ...]]:
    """The case's command; where it needs one, a virtual board is at its port."""
    if not case.board:
        yield case.arguments
        return
    with serving(place, case.board) as (port, _):
        yield tuple(port if word == PORT else word for word in case.arguments)


@contextlib.contextmanager
def serving(place: Place, program: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A virtual board, its port and the process that serves it."""
    server = subprocess.Popen(
        [*ECHOLOOM, "board", "serve", program, "--tcp", "0"],
        cwd=place.work, env=os.environ | _variables(place),
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        yield server.stdout.readline().strip(), server
    finally:
        server.kill()
        server.wait()


def held(place: Place, case: Case) -> dict[str, bytes | None]:
    """The bytes of every file at the outputs; None for those whose bytes no two runs share."""
    found = [place.work / name for name in case.outputs]
    files = [
        path
        for output in found
        for path in ([output] if output.is_file() else output.rglob("*"))
        if path.is_file()
    ]
    return {
        path.relative_to(place.work).as_posix(): None
        if path.name in case.differs
        else path.read_bytes()
        for path in files
    }


def others(place: Place, case: Case) -> set[str]:
    """Names in the folders, and in a folder of outputs, that are no outputs; logs of builds, and
    the simulators in the cache, are none of them either."""
    left = {path.name for path in place.work.iterdir()} - set(case.outputs)
    hidden = [*(place.work / "out").rglob(".echoloom*"), *(place.work / "out").rglob("*.partial")]
    hidden += [*place.temporary.glob(".echoloom*"), *place.cache.rglob(".echoloom*")]
    return left | {path.relative_to(place.root).as_posix() for path in hidden}


def left_whole(found: dict[str, bytes | None], wanted: dict[str, bytes | None]) -> str:
    """What a command has left of what it should write: "nothing", "whole", "some" files, each of
    them whole, or "broken"."""
    final = {name: data for name, data in found.items() if not _unfinished(name)}
    if any(wanted.get(name, b"") != data for name, data in final.items()):
        return "broken"
    needed = {name for name in wanted if not name.endswith(".log")}
    return "nothing" if not final else "whole" if final.keys() >= needed else "some"


def _unfinished(name: str) -> bool:
    """Logs of tools, and names that say that nothing reads these files."""
    return name.endswith((".log", ".partial")) or ".echoloom" in name


def clear(place: Place, case: Case) -> None:
    for name in case.outputs:
        path = place.work / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    if case.cold:
        shutil.rmtree(place.cache / "sim", ignore_errors=True)


def survivors(place: Place, patience_s: float) -> list[int]:
    """Processes of the place's commands that are alive still after so long."""
    mark, end = f"TMPDIR={place.temporary}".encode(), time.monotonic() + patience_s
    while True:
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    found.append(int(process.name))
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.2)


def kill(process: BaseProcess, *, group: bool) -> None:
    """SIGKILL for a command alone, or for its whole group."""
    with contextlib.suppress(ProcessLookupError):
        if group:
            os.killpg(process.pid or 0, signal.SIGKILL)
    process.kill()
    process.join()
