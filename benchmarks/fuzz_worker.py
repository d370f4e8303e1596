"""One reader under hostile input, in a process that watches time, memory and what is touched.

An input is wrong if the reader does anything but return or refuse in one sentence: another
exception, longer than `LIMIT_S`, more than `MEMORY` bytes beyond what the process had, a file
opened for writing, a process started, a pickle's class looked up.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import echoloom
from echoloom.cli.outcome import LONGEST, sentence

LIMIT_S = 5.0
MEMORY = 1 << 30
TOLD_S = 1.0
INPUT = "input"  # its file's name
PACKAGE = Path(echoloom.__file__).parent
TOUCHES = (
    "os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork", "socket.connect",
    "pickle.find_class", "os.remove", "os.rename", "os.mkdir", "shutil.rmtree",
)  # fmt: skip


@dataclass(frozen=True)
class Reader:
    """What is fuzzed: `read` is given a path of the input, `refusals` are what it may raise, and
    `mutate` makes an input of the seeds. Branches of the modules `led_by` lead guided runs."""

    seeds: Callable[[Path], list[bytes]]
    mutate: Callable[[Random, list[bytes]], bytes]
    read: Callable[[Path], object]
    refusals: tuple[type[BaseException], ...] = (ValueError, OSError)
    suffix: str = ""
    limit_s: float = LIMIT_S
    led_by: tuple[str, ...] = ("echoloom.", "aeon.datasets.", "numpy.lib.", "tomllib.", "zipfile")


@dataclass
class Counts:
    """What became of the inputs. `finds`: the first input of each kind, by what went wrong."""

    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    finds: dict[str, tuple[int, int]] = field(default_factory=dict)  # first input, how many
    slowest_s: float = 0.0
    memory: int = 0  # bytes beyond what the process had at first

    def found(self, what: str, number: int) -> None:
        first, times = self.finds.get(what, (number, 0))
        self.finds[what] = first, times + 1

    def add(self, more: Counts) -> None:
        self.inputs += more.inputs
        self.accepted += more.accepted
        self.refused += more.refused
        self.memory = max(self.memory, more.memory)
        self.slowest_s = max(self.slowest_s, more.slowest_s)
        for what, (first, times) in more.finds.items():
            before = self.finds.get(what, (first, 0))
            self.finds[what] = before[0], before[1] + times


@dataclass(frozen=True)
class Job:
    """Inputs `begin` to `end` for a reader: those of these numbers, or these of the files; or as
    many as a guided run makes, from the files too. What is found first is kept in `finds`."""

    name: str
    seed: int
    begin: int
    end: int
    finds: Path
    guided: bool = False
    files: tuple[Path, ...] = ()

    def kept(self, number: int) -> Path:
        return self.finds / f"{self.name}-{number}"

    def keep(self, number: int, data: bytes) -> None:
        self.finds.mkdir(parents=True, exist_ok=True)
        self.kept(number).write_bytes(data)


@dataclass(frozen=True)
class Place:
    """What a job's processes share: a folder."""

    folder: Path

    @property
    def inputs(self) -> Path:
        """The folder of nothing but the input that is read."""
        return self.folder / "inputs"

    @property
    def corpus(self) -> Path:
        """The inputs that a guided run goes on from."""
        return self.folder / "corpus"

    @property
    def log(self) -> Path:
        """What libFuzzer says."""
        return self.folder / "log"


class TooLong(BaseException):
    """The time-out; nothing that catches Exception catches it."""


class Watch:
    """Sees what a reader touches."""

    def __init__(self) -> None:
        self.on, self.seen = False, ""
        sys.addaudithook(self._audit)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event == "open":
            flags = arguments[2]
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                self.seen = f"writes {arguments[0]}"
        elif event in TOUCHES:
            self.seen = f"{event} {arguments[:1]}"


def input_of(reader: Reader, name: str, seeds: list[bytes], seed: int, number: int) -> bytes:
    """The input of that number; number 0 is a good file."""
    rng = Random(f"{seed} {name} {number}")
    if number == 0:
        return seeds[0]
    try:
        return reader.mutate(rng, seeds)
    except RecursionError:  # a hostile value that is too deep to be written
        return rng.choice(seeds)[: rng.randrange(1000)]


class Feeding:
    """A reader in a process of its own, which tells what becomes of its inputs: `at` which number
    it is, and `told` Counts now and then, and None at the end."""

    def __init__(
        self, reader: Reader, place: Place, seeds: list[bytes], job: Job, at: Any, told: Any
    ) -> None:
        self._reader, self._job, self._at, self._told = reader, job, at, told
        self._path, self._resident = place.inputs / f"{INPUT}{reader.suffix}", 0
        self._counts, self._watch, self._said = Counts(), Watch(), time.monotonic()
        self._known: set[str] = set()
        sys.dont_write_bytecode = True
        signal.signal(signal.SIGALRM, too_long)
        for data in seeds:  # whatever is imported for good files is not an input's fault
            self._path.write_bytes(data)
            reader.read(self._path)

    def begin(self) -> None:
        """All is read that is not an input; from now on the process may have `MEMORY` more."""
        self._resident = _most_resident()
        allowed = _virtual_bytes() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
        self._tell()

    def input(self, number: int, data: bytes) -> None:
        self._at.value = number
        self._path.write_bytes(data)
        feed(self._reader, self._path, number, self._counts, self._watch)
        self._counts.memory = _most_resident() - self._resident
        if self._counts.finds.keys() - self._known:
            self._known |= self._counts.finds.keys()
            self._job.keep(number, data)
        if time.monotonic() > self._said + TOLD_S or self._counts.finds:
            self._tell()

    def end(self) -> None:
        self._tell()
        self._told.send(None)

    def _tell(self) -> None:
        self._told.send(self._counts)
        self._counts, self._said = Counts(memory=self._counts.memory), time.monotonic()


def work(reader: Reader, job: Job, place: Place, seeds: list[bytes], at: Any, told: Any) -> None:
    """Feed the inputs of a job's numbers, or of its files."""
    feeding = Feeding(reader, place, seeds, job, at, told)
    for number in range(10):
        input_of(reader, job.name, seeds, job.seed, number)
    feeding.begin()
    for number in range(job.begin, job.end):
        feeding.input(
            number,
            job.files[number].read_bytes()
            if job.files
            else input_of(reader, job.name, seeds, job.seed, number),
        )
    feeding.end()


def feed(reader: Reader, path: Path, number: int, counts: Counts, watch: Watch) -> None:
    """Have the file at `path`, the only one in its folder, read, and count what became of it."""
    counts.inputs += 1
    began = time.perf_counter()
    watch.seen = ""
    try:
        with _within(reader.limit_s):
            watch.on = True
            reader.read(path)
            counts.accepted += 1
    except reader.refusals as error:
        watch.on = False
        if wrong := _no_sentence(error):
            counts.found(wrong, number)
        else:
            counts.refused += 1
    except TooLong:
        watch.on = False
        counts.found(f"longer than {reader.limit_s:g} s", number)
    except BaseException as error:
        watch.on = False
        counts.found(_where(error), number)
    watch.on = False
    counts.slowest_s = max(counts.slowest_s, time.perf_counter() - began)
    if watch.seen:
        counts.found(watch.seen, number)
    if len(os.listdir(path.parent)) > 1:
        counts.found("left a file behind", number)


@contextmanager
def _within(seconds: float) -> Any:
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def too_long(*_: object) -> None:
    """What SIGALRM does."""
    raise TooLong


def _no_sentence(error: BaseException) -> str:
    text = sentence(error)
    if not text.strip() or not text.isprintable() or len(text) > LONGEST + 10:
        return f"{type(error).__name__} without one sentence"
    return ""


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if PACKAGE in Path(frame.filename).parents]
    at = f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else "?"
    return f"{type(error).__name__} at {at}"


def _most_resident() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _virtual_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
