"""The process that a reader is fuzzed in: started, listened to, made anew when it dies."""

from __future__ import annotations

import multiprocessing
import re
import tempfile
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

from fuzz_planted import PLANTED
from fuzz_worker import INPUT, Counts, Job, Place, Reader

STUCK = "is stuck"
DEATHS = 20  # of processes, after which a reader is given up
START_S = 600.0  # until the good files are read, on a machine with other work
PATIENCE = 4  # limits of one input, after which its process is stuck where no alarm is heard
REACHED = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)")  # as libFuzzer says with all news


def fuzz(job: Job) -> tuple[Counts, dict[str, int]]:
    """Feed a job's inputs to its reader; what kills the process is a find, and the next process
    goes on after it. Of a guided run, also the branches and features that libFuzzer counts and how
    many inputs it kept for them."""
    counts, spawn, reader = Counts(), multiprocessing.get_context("spawn"), reader_of(job.name)
    with tempfile.TemporaryDirectory() as made:
        place = Place(Path(made))
        for folder in (place.inputs, place.corpus):
            folder.mkdir()
        seeds = reader.seeds(Path(made))
        for _ in range(DEATHS):
            if job.begin >= job.end:
                break
            at, (told, teller) = spawn.Value("q", job.begin), spawn.Pipe(duplex=False)
            process = spawn.Process(target=work_on, args=(job, place, seeds, at, teller))
            process.start()
            teller.close()
            wrong = _listen(told, counts, PATIENCE * reader.limit_s + 60)
            if wrong == STUCK:
                process.kill()
            process.join()
            if not wrong:
                break
            if not counts.inputs and process.exitcode == 1:
                raise RuntimeError(f"{job.name}: a good file was not read")
            counts.found(f"the process {wrong}", at.value)
            counts.inputs += 1
            for left in place.inputs.iterdir():
                if left.stem == INPUT:
                    job.keep(at.value, left.read_bytes())
                left.unlink()
            job = replace(job, begin=at.value + 1)
        said = REACHED.findall(place.log.read_text(errors="replace")) if job.guided else ()
    names = ("branches", "features", "corpus")
    return counts, {name: int(n) for name, n in zip(names, said[-1], strict=True)} if said else {}


def reader_of(name: str) -> Reader:
    """That reader; the planted ones need none of what the others import."""
    if name in PLANTED:
        return PLANTED[name]
    from fuzz_readers import READERS

    return READERS[name]


def work_on(job: Job, *rest: object) -> None:
    """`work`, for a new process: a reader itself cannot be sent there."""
    if job.guided:
        from fuzz_guided import work
    else:
        from fuzz_worker import work
    work(reader_of(job.name), job, *rest)  # type: ignore[arg-type]


def _listen(told: Connection, total: Counts, patience_s: float) -> str:
    """Add what a process tells until it is done; what went wrong with it, if something did."""
    wait_s = START_S
    while True:
        try:
            if not told.poll(wait_s):
                return STUCK
            more = told.recv()
        except EOFError:
            return "died"
        if more is None:
            return ""
        total.add(more)
        wait_s = patience_s
