"""Run passes on the engine, as RTL in a simulator or as its golden twin: integers in and out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, get_args

from amaranth.lib import wiring

from echoloom.backends.engine.requests import PassRequest, PassResult
from echoloom.frontend.data.work_folders import work_folder
from echoloom.hdl.engine import Engine
from echoloom.ir.contract import EngineConfig, Image, Timing
from echoloom.sim import amaranth_player, golden_player
from echoloom.sim.bench import Bench
from echoloom.sim.builds import (
    COCOTB_PROCESS,
    MAINS,
    CannotStart,
    build,
    ended,
    environment,
    forget,
    last_lines,
    package_sources,
    run_process,
)
from echoloom.sim.compose import compose, results
from echoloom.sim.script import FAILURE, Recording, Script, load_recording, save
from echoloom.sim.simulation_error import SimulationError

Simulator = Literal["verilator", "verilator-cpp", "icarus", "amaranth", "golden"]
Wrapper = Callable[[EngineConfig, Timing], wiring.Component]


def run_rtl(
    image: Image,
    passes: Sequence[PassRequest],
    simulator: Simulator = "verilator",
    stall_seed: int | None = None,
    trace: bool = False,
    wrapper: Wrapper | None = None,
) -> list[PassResult]:
    """Load `image` and run `passes` back to back, without reset, in one simulation.

    simulator:   "verilator" and "icarus" run under cocotb; "verilator-cpp" plays the same words
                 from C++, many times faster; "amaranth" needs no build and suits tiny engines;
                 "golden" is no RTL but its twin in Python: no stalls, no wrapper.
    stall_seed:  hold every stream back at random, words offered and words taken alike; the same
                 seed gives the same stalls in every simulator.
    trace:       also record every write to vector memory.
    wrapper:     makes what is simulated in place of Engine(config, timing), with its ports.

    Clocks are limited by the image's schedule.

    Raises SimulationError for a simulation that fails, hangs or gives not exactly the words
    expected, ValueError for requests that do not fit the image, ToolMissing without the tools.
    """
    if simulator not in get_args(Simulator):
        raise ValueError(f"simulator must be one of {get_args(Simulator)}, got {simulator!r}")
    if not passes:
        raise ValueError("no passes to run: a simulation of nothing proves nothing")

    if simulator == "golden":
        if stall_seed is not None or wrapper is not None:
            raise ValueError(
                "the simulator golden runs no circuit: it has no streams to hold back, and nothing "
                "stands in its place; leave out stall_seed and wrapper, or take another simulator"
            )
        return golden_player.play(image, passes, trace)

    script = compose(image, passes, stall_seed=stall_seed, trace=trace)
    if simulator == "amaranth":
        recording = amaranth_player.play(_bench(image, wrapper), script)
    else:
        model = model_of(image, wrapper, simulator)
        with work_folder("simulation") as job:
            recording = play(script, model, simulator, job)
    return results(image, passes, recording)


def _bench(image: Image, wrapper: Wrapper | None) -> Bench:
    return Bench((wrapper or Engine)(image.config, image.timing), image.config)


def model_of(image: Image, wrapper: Wrapper | None, simulator: str) -> Path:
    """The build of the engine that plays `image`, or of what `wrapper` puts in its place."""
    # What the package's own engine is follows from its sources; a wrapper can be anything.
    identity = None if wrapper else f"{package_sources()} {image.config} {image.timing}"
    return build(lambda: _bench(image, wrapper), simulator, identity)


def play(script: Script, model: Path, simulator: str, job: Path) -> Recording:
    """Play the script in a process of its own, which finds and leaves everything in `job`."""
    save(script, job)
    if simulator in MAINS:
        command = [model / "player", job]
    else:
        command = [sys.executable, "-m", COCOTB_PROCESS, "play", simulator, model, job]
    what = f"the {simulator} simulation"
    log = job / "simulation.log"
    try:
        code = run_process(command, environment(), log, None, what)
    except CannotStart:
        forget(model)
        raise
    failure = job / FAILURE
    if failure.is_file():
        raise SimulationError(f"{what} gave up: {failure.read_text()}")
    if code:
        how = ended(code, job)
        raise SimulationError(f"{what} {how}; the end of its log:\n{last_lines(log)}")
    try:
        return load_recording(job, script)
    except (OSError, ValueError) as error:
        raise SimulationError(
            f"{what} ended without a complete recording ({error}); "
            f"the end of its log:\n{last_lines(log)}"
        ) from error
