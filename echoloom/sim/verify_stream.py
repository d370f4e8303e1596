"""`el.verify_stream`: a sequence pushed in chunks gives the integers of one run, at every level.

The host's half of a stream is the same at every level. So the NumPy level runs the stream, and what
it was given, sweep by sweep, is given to the other levels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from echoloom.backends.board.board import open_board
from echoloom.backends.compile.program import CompiledProgram
from echoloom.backends.compile.stream import Stream
from echoloom.backends.engine.requests import PassResult
from echoloom.backends.engine.sweeps import Held, held_after, pass_request, swept
from echoloom.backends.run.beginnings import begun_at
from echoloom.backends.run.integers import Floats, Words
from echoloom.backends.run.run_jax import JaxRunner
from echoloom.backends.run.stream_levels import stream_level
from echoloom.frontend.data.samples import host_sequence
from echoloom.ir.host import RunResult, Sweep, Swept
from echoloom.sim.first_difference import Difference, Mismatch, first_difference
from echoloom.sim.level import Progress
from echoloom.sim.level_board import NO_PORT
from echoloom.sim.run_rtl import Simulator, run_rtl

REFERENCE = "numpy"
DEFAULT = (REFERENCE, "jax", "rtl")


@dataclass(frozen=True, eq=False)
class Given:
    """A sweep, what the NumPy level made of it, and what it is in the stream."""

    what: str
    sweep: Sweep
    expected: Swept


@dataclass(frozen=True, eq=False)
class StreamJob:
    """What a level is to run, in this order: the whole sequence and every sweep of its stream."""

    program: CompiledProgram
    sweeps: tuple[Given, ...]
    simulator: Simulator
    stall_seed: int | None
    port: str | None


@dataclass(frozen=True)
class StreamReport:
    """What was compared. `compared`: integers by level, all equal; cycles: of all passes, predicted
    and counted by the RTL, None where it did not run; overflowed: sweeps that raised its flag."""

    steps: int
    pushes: int
    gradients: int
    compared: Mapping[str, int]
    predicted: int | None
    cycles: int | None


def verify_stream(
    program: CompiledProgram,
    x: Any,
    sizes: Sequence[int],
    gradients: Mapping[int, Any] | None = None,
    *,
    window: int = 0,
    initial: Any = None,
    levels: Sequence[str] = DEFAULT,
    simulator: Simulator = "verilator",
    stall_seed: int | None = None,
    port: str | None = None,
    progress: Progress = lambda message: None,
) -> StreamReport:
    """Push x [T, inputs] in chunks of `sizes`, which make up T, and run it in one go too, at every
    level; compare all integers and clock cycles.

    gradients[i], a label or the window's targets, asks for an echo over the last `window` samples
    after push i. `initial` is where the sequence begins, as in `program.run`; the other arguments
    are those of `el.verify`.

    Raises Mismatch, which names the push and the first word that differs, and what `el.verify`
    raises.
    """
    unknown = [level for level in levels if level not in (REFERENCE, *LEVELS)]
    if unknown:
        raise ValueError(f"unknown level {unknown[0]!r}; levels are numpy, {', '.join(LEVELS)}")
    x, _ = host_sequence(program.model, x)
    if min(sizes, default=0) < 0 or sum(sizes) != len(x):
        raise ValueError(
            f"the chunks' sizes must be 0 or more and make up the sequence of {len(x)} samples, "
            f"got {sum(sizes)}"
        )
    progress(f"numpy: {len(sizes)} pushes")
    given = _numpy(program, x, sizes, dict(gradients or {}), window, initial)
    job = StreamJob(program, given, simulator, stall_seed, port)
    compared, cycles = {}, dict[str, tuple[int, int]]()
    for name, level in LEVELS.items():
        if name not in levels:
            continue
        progress(f"{name}: {len(given)} sweeps")
        compared[name] = 0
        for one, (found, counted) in zip(given, level(job), strict=True):
            compared[name] += _compare(name, one, found)
            if counted is not None:
                predicted = _predicted(program, one)
                if counted.cycles != predicted:
                    what = f"cycles of {one.what}"
                    raise Mismatch(
                        Difference(name, None, "", what, (), None, predicted, counted.cycles)
                    )
                before = cycles.get(name, (0, 0))
                cycles[name] = before[0] + predicted, before[1] + counted.cycles
    predicted, counted = cycles.get("rtl", (None, None))
    return StreamReport(
        len(x), len(sizes), len(gradients or {}), compared, predicted, counted
    )  # fmt: skip


def _numpy(
    program: CompiledProgram,
    x: Floats,
    sizes: Sequence[int],
    gradients: dict[int, Any],
    window: int,
    initial: Any,
) -> tuple[Given, ...]:
    """The whole sequence and its stream at the NumPy level, held against each other."""
    artifact, found = program.artifact, list[Given]()
    level, place = stream_level(artifact, REFERENCE), "the whole sequence"

    def recorded(sweep: Sweep) -> Swept:
        found.append(Given(place, sweep, level(sweep)))
        return found[-1].expected

    host = artifact.host
    rest = initial is None
    whole = recorded(host.forward(x) if rest else host.resumed(x, begun_at(artifact, initial)))
    stream, start, results = Stream(program, recorded, window, initial), 0, list[RunResult]()
    for number, size in enumerate(sizes):
        if size or stream.steps:
            place = f"push {number}, steps {start} to {start + size}"
            results.append(stream.run(x[start : start + size]))
        start += size
        if number in gradients:
            place = f"the gradient after push {number}"
            stream.echo(gradients[number])
    outputs = [result.outputs for result in results]
    last = outputs[-1] if program.ir.is_classification else np.concatenate(outputs)
    wanted = program.run(x, initial=initial)
    _same("numpy", {"outputs": wanted.outputs, **wanted.states},
          {"outputs": last, **results[-1].states})  # fmt: skip
    _same("numpy", {"outputs": wanted.outputs}, {"outputs": host.outputs(whole)})
    return tuple(found)


def _same(level: str, expected: Mapping[str, Words], actual: Mapping[str, Words]) -> None:
    difference = first_difference(expected, actual, level=level)
    if difference is not None:
        raise Mismatch(difference)


def _compare(level: str, given: Given, found: Swept) -> int:
    """Number of integers compared; raises Mismatch at the first that differs."""
    expected = _words(given.expected)
    _same(f"{level}, {given.what}", expected, _words(found))
    return sum(int(np.size(words)) for words in expected.values())


def _words(found: Swept) -> dict[str, Words]:
    words = {**found.states, **found.sums, "flags": found.flags}
    return words if found.outputs is None else {"outputs": found.outputs, **words}


def _predicted(program: CompiledProgram, given: Given) -> int:
    return program.artifact.mapped.cycles_of(given.sweep.sections, given.sweep.length)


Found = Iterator[tuple[Swept, PassResult | None]]


def _jax(job: StreamJob) -> Found:
    runner = JaxRunner(job.program.artifact)
    for given in job.sweeps:
        yield runner.sweep(given.sweep), None


def _rtl(job: StreamJob) -> Found:
    """All passes in one simulation: the state stays in the engine, and is written only where an
    echo has moved it."""
    artifact, image, held = job.program.artifact, job.program.image, dict[str, Words]()
    requests = []
    for given in job.sweeps:
        requests.append(pass_request(artifact, image, given.sweep, held))
        held: Held = held_after(held, given.sweep, given.expected)
    found = run_rtl(image, requests, job.simulator, job.stall_seed)
    for given, one in zip(job.sweeps, found, strict=True):
        yield swept(artifact, given.sweep, one), one


def _board(job: StreamJob) -> Found:
    if job.port is None:
        raise ValueError(NO_PORT)
    with open_board(job.port) as board:
        board.load(job.program, anew=True)
        for given in job.sweeps:
            yield board.swept(given.sweep), None


LEVELS: Mapping[str, Callable[[StreamJob], Found]] = {"jax": _jax, "rtl": _rtl, "board": _board}
