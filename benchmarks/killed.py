"""Commands that are killed without warning: what they leave is whole or absent, and the next works.

Every command is run once undisturbed; then again and again, each time killed at a random moment of
its usual duration, with SIGKILL to its whole process group. What is then at its outputs has to be
absent, or byte for byte what the undisturbed run gave. After every kill it runs undisturbed, and
has to give the same bytes and leave nothing else behind. With --together it is run so many times
at once in one folder.

Bitstreams are built by stubs in the place of the tools, which take a moment each.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
from output import arguments, progress, show
from stub_tools import stub_tools

from echoloom.cli import app

FORK = multiprocessing.get_context("fork")  # this process itself computes nothing with JAX
SIZES = ("--hidden", "4", "--state", "2", "--blocks", "1")
# Data, model and programs that the commands read, made by the commands themselves.
MADE = (
    ("train", "data.npz", "-o", "m.eqx", "--untrained", *SIZES),
    ("compile", "m.eqx", "data.npz", "-o", "p.elp", "--lanes", "2"),
    ("compile", "m.eqx", "data.npz", "-o", "l.elp", "--lanes", "2", "--learning", "sign",
     "--step", "2^-6", "--updates", "4", "--batch", "2"),
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A command, the names of what it writes, and files of the outputs that no two runs share."""

    arguments: tuple[str, ...]
    outputs: tuple[str, ...]
    differs: frozenset[str] = field(default=frozenset())

    @property
    def name(self) -> str:
        return self.arguments[0]


CASES = (
    Case(("train", "data.npz", "-o", "out.eqx", "--epochs", "2", *SIZES), ("out.eqx",)),
    Case(("compile", "m.eqx", "data.npz", "-o", "out.elp", "--lanes", "2", "--ir", "out.ir"),
         ("out.ir", "out.elp")),
    Case(("verify", "p.elp", "data.npz", "--simulator", "verilator-cpp", "--forward", "2",
          "--echo", "1", "--report", "out.json"), ("out.json",)),
    Case(("prove", "p.elp"), ()),
    Case(("learn", "l.elp", "data.npz", "-o", "out.eqx", "--program", "out.elp", "--updates", "2"),
         ("out.eqx", "out.elp")),
    Case(("export-verilog", "p.elp", "-o", "out"), ("out",)),
    Case(("export-onnx", "p.elp", "-o", "out.onnx", "--kind", "integer"), ("out.onnx",)),
    Case(("build", "p.elp", "-o", "out"), ("out",), frozenset({"report.json", "yosys.log"})),
    Case(("profile", "m.eqx", "data.npz", "-o", "out", "--words", "28", "--narrows", "18",
          "--octaves", "0", "--lengths", "16", "--sequences", "2", "--lanes", "2"), ("out",)),
)  # fmt: skip


def in_folder(folder: Path, given: tuple[str, ...]) -> None:
    """A child's whole life: one command, its words in a log."""
    os.setsid()
    os.chdir(folder)
    stub_tools(Path(__file__).parent / "stub_tools.json", folder.parent / "bin")
    with open(os.devnull, "w") as nothing, (folder.parent / "log").open("w") as log:
        with contextlib.redirect_stdout(nothing), contextlib.redirect_stderr(log):
            app(given, standalone_mode=True)


def started(folder: Path, given: tuple[str, ...]) -> BaseProcess:
    process = FORK.Process(target=in_folder, args=(folder, given))
    process.start()
    return process


def finish(folder: Path, given: tuple[str, ...]) -> int | None:
    process = started(folder, given)
    process.join()
    return process.exitcode


def held(folder: Path, case: Case) -> dict[str, bytes | None]:
    """The bytes of every file at the outputs; None for those whose bytes no two runs share."""
    files = [
        path
        for name in case.outputs
        for path in ([folder / name] if (folder / name).is_file() else (folder / name).rglob("*"))
        if path.is_file()
    ]
    return {
        path.relative_to(folder).as_posix(): None
        if path.name in case.differs
        else path.read_bytes()
        for path in files
    }


def others(folder: Path, case: Case) -> set[str]:
    """Names in the folder, and in the outputs of a build, that are no outputs."""
    left = {path.name for path in folder.iterdir()} - set(case.outputs)
    left |= {path.name for path in (folder / "out").glob(".echoloom*")}
    return left


def measure(case: Case, folder: Path, kills: int, chance: random.Random) -> dict[str, object]:
    began = time.monotonic()
    code = finish(folder, case.arguments)
    usual = time.monotonic() - began
    wanted, before = held(folder, case), others(folder, case)
    if code or (case.outputs and not wanted):
        raise SystemExit(f"{case.name} ends with {code}: {(folder.parent / 'log').read_text()}")
    nothing = whole = some = broken = failed = in_time = 0
    for _ in range(kills):
        clear(folder, case)
        process = started(folder, case.arguments)
        process.join(chance.uniform(0.0, usual))
        if process.exitcode is None:
            in_time += 1
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid or 0, signal.SIGKILL)
            process.kill()
        process.join()
        found = held(folder, case)
        final = {name: data for name, data in found.items() if not name.endswith(".log")
                 and ".echoloom" not in name and not name.endswith(".partial")}  # fmt: skip
        if any(wanted.get(name, b"") != data for name, data in final.items()):
            broken += 1
        elif not final:
            nothing += 1
        elif final.keys() >= {n for n in wanted if not n.endswith(".log")}:
            whole += 1
        else:
            some += 1
        code = finish(folder, case.arguments)
        if code or held(folder, case) != wanted or others(folder, case) != before:
            failed += 1
            extra = others(folder, case) ^ before
            progress.print(case.name, code, extra, (folder.parent / "log").read_text()[-500:])
    return {
        "command": case.name,
        "runs": kills,
        "killed before they ended": in_time,
        "nothing left": nothing,
        "all whole": whole,
        "some files, each whole": some,
        "broken": broken,
        "next run failed, differs or leaves more": failed,
    }


def at_once(case: Case, folder: Path, count: int) -> dict[str, object]:
    """The same command so many times at once, in one folder."""
    finish(folder, case.arguments)
    wanted, before = held(folder, case), others(folder, case)
    clear(folder, case)
    processes = [started(folder, case.arguments) for _ in range(count)]
    for process in processes:
        process.join()
    codes = [process.exitcode for process in processes]
    same = held(folder, case) == wanted and others(folder, case) == before
    return {
        "command": case.name,
        "at once": count,
        "done": codes.count(0),
        "refused in one sentence": codes.count(3),
        "failed": sum(code not in (0, 3) for code in codes),
        "results": "whole" if same else "BROKEN",
    }


def clear(folder: Path, case: Case) -> None:
    for name in case.outputs:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def prepared(place: Path) -> Path:
    """A folder with data, model and programs."""
    folder = place / "work"
    folder.mkdir()
    (place / "bin").mkdir()
    random_numbers = np.random.default_rng(1)
    X = random_numbers.standard_normal((8, 16, 2))
    np.savez(folder / "data.npz", X=X, y=np.arange(8) % 2)
    for given in MADE:
        if finish(folder, given):
            raise SystemExit(f"{' '.join(given)}: {(place / 'log').read_text()}")
    return folder


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--kills", type=int, default=20, help="of every command")
    parser.add_argument("--together", type=int, default=0, help="run so many at once instead")
    parser.add_argument("--only", action="append", help="a command's name; repeatable")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    cases = [case for case in CASES if not given.only or case.name in given.only]
    chance = random.Random(given.seed)
    rows = []
    with tempfile.TemporaryDirectory(prefix="killed-") as place:
        os.environ["TMPDIR"] = tempfile.tempdir = place  # where killed simulations leave theirs
        folder = prepared(Path(place))
        for case in cases:
            progress.print(case.name)
            clear(folder, case)
            if given.together:
                rows.append(at_once(case, folder, given.together))
            else:
                rows.append(measure(case, folder, given.kills, chance))
            progress.print(rows[-1])
            clear(folder, case)
    show(f"Seed {given.seed}", rows, ["jax", "amaranth", "verilator"], given.json)
    if any(row.get("broken") or row.get("results") == "BROKEN" for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
