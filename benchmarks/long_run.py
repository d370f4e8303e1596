"""A sequence of a million steps through the demo's engine, forward and back, in RTL and in JAX.

The signal is the test split of BasicMotions, one recording after the other, as often as it takes.
Every integer is compared: the states after the forward pass, the logits, the gradients, the states
after the echo, and the flags of both; and every pass's cycles with those predicted. Short runs are
made under NumPy as well.

The model has no damping: what is done to it for a million steps adds up, and at full size leaves
the words' range, which every level reports by its flags. So recordings and error are scaled.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from output import Row, arguments, progress, show

import echoloom as el
from echoloom.backends.engine.requests import SECTIONS, PassResult
from echoloom.backends.engine.sweeps import pass_request, swept
from echoloom.backends.run.integers import Floats, Words
from echoloom.backends.run.run_jax import JaxLevel, JaxRunner
from echoloom.backends.run.run_numpy import NumpyMachine
from echoloom.ir.flags import Flag
from echoloom.ir.host import RunResult, Sweep, run
from echoloom.ir.places import Copy
from echoloom.sim.first_difference import first_difference
from echoloom.sim.run_rtl import Simulator, run_rtl

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
import basic_motions

NUMPY_STEPS = 10_000  # up to so many steps are also run under NumPy


def demo_program(lanes: int) -> tuple[el.CompiledProgram, np.ndarray]:
    """What `make demo` compiles, and the test recordings [40, 100, 6]."""
    X, y, X_test, _ = basic_motions.load()
    model = el.load_model(basic_motions.CHECKPOINT)
    return el.compile(model, X, y, target="ecp5-85k", lanes=lanes), X_test.astype(np.float64)


def signal(recordings: np.ndarray, steps: int) -> np.ndarray:
    """[steps, 6]: the recordings one after the other, from the first on again at the end."""
    once = recordings.reshape(-1, recordings.shape[-1])
    return np.resize(once, (steps, once.shape[-1]))


def told_by_jax(program: el.CompiledProgram, x: Floats, nudge: float) -> dict[str, Any]:
    """The run's sweeps by name, and the result, of a label that the model finds unlikely."""
    runner, host = JaxRunner(program.artifact), program.artifact.host
    with jax.enable_x64(True):
        level = JaxLevel(runner, program.artifact.coefficients, runner.chunk)
        forward = host.forward(x)
        found = level.sweep(forward)
        outputs = host.outputs(found)
        echo = host.echo(forward, outputs, int(np.argmin(outputs)), nudge)
        after = level.sweep(echo)
    if level.doubtful.any():
        raise SystemExit("a sum may have left its range: take a smaller --scale or --nudge")
    sweeps = {"forward": forward, "echo": echo}
    return {"sweeps": sweeps, "result": host.result(found, after, echo)}


def told_by_rtl(
    program: el.CompiledProgram, sweeps: dict[str, Sweep], simulator: Simulator
) -> tuple[RunResult, dict[str, PassResult]]:
    """The same sweeps back to back in one simulation: the result, and each pass by name."""
    artifact, image = program.artifact, program.image
    asked = [pass_request(artifact, image, sweep) for sweep in sweeps.values()]
    passes = dict(zip(sweeps, run_rtl(image, asked, simulator), strict=True))
    forward, echo = (swept(artifact, sweeps[name], found) for name, found in passes.items())
    return artifact.host.result(forward, echo, sweeps["echo"]), passes


def measure(
    program: el.CompiledProgram, x: Floats, nudge: float, simulator: Simulator
) -> list[Row]:
    began = time.perf_counter()
    expected = told_by_jax(program, x, nudge)
    jax_result = expected["result"]
    progress.print(f"JAX: {time.perf_counter() - began:.1f} s, outputs {jax_result.outputs}")
    if len(x) <= NUMPY_STEPS:
        machine = NumpyMachine(program.artifact.program, program.artifact.coefficients,
                               program.artifact.tables)  # fmt: skip
        label = int(np.argmin(jax_result.outputs))
        by_numpy = run(program.artifact.host, machine.sweep, x, label, nudge=nudge)
        compared = compare(by_numpy.named(), jax_result.named())
        progress.print(f"NumPy: {compared:,} integers equal to JAX's")
    began = time.perf_counter()
    rtl_result, passes = told_by_rtl(program, expected["sweeps"], simulator)
    seconds = time.perf_counter() - began
    compared = compare(jax_result.named(), rtl_result.named())
    clocks = sum(found.cycles for found in passes.values())
    progress.print(
        f"RTL: {compared:,} integers equal to JAX's; free copy "
        f"{off_start(program, rtl_result)} "
        f"LSB off its start; {seconds:,.0f} s, {clocks / seconds:,.0f} cycles a second"
    )
    return [
        {
            "pass": name,
            "steps": len(x),
            "cycles": found.cycles,
            "predicted": program.artifact.mapped.cycles_of(SECTIONS[name], len(x)),
            "flags": str(Flag(found.flags)) if found.flags else "none",
            **moved(program, rtl_result, name),
        }
        for name, found in passes.items()
    ]


def moved(program: el.CompiledProgram, result: RunResult, name: str) -> dict[str, str]:
    """Of the words that are compared, those that are not zero: a run at rest would prove little."""
    words = result.states if name == "forward" else result.gradients
    count = sum(int(np.size(one)) for one in words.values())
    busy = sum(int(np.count_nonzero(one)) for one in words.values())
    return {"not zero": f"{busy:,} of {count:,} {'states' if name == 'forward' else 'gradients'}"}


def compare(expected: Mapping[str, Words], found: Mapping[str, Words]) -> int:
    """How many integers are equal; SystemExit naming what is not."""
    difference = first_difference(expected, found, level="rtl")
    if difference is not None:
        raise SystemExit(f"not equal: {difference}")
    return sum(int(np.size(words)) for words in expected.values())


def off_start(program: el.CompiledProgram, result: RunResult) -> int:
    """LSB between where the forward pass began, which is rest, and where the echo's free copy
    ended."""
    free = [n for at, n in program.ir.coordinates().items() if at.copy is Copy.FREE]
    return max(int(np.max(np.abs(result.echo_states[name]))) for name in free)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--lanes", type=int, default=4)
    parser.add_argument("--scale", type=float, default=0.01, help="of the recordings")
    parser.add_argument("--nudge", type=int, default=14, help="the error is told times 2**-NUDGE")
    parser.add_argument("--simulator", default="verilator-cpp")
    given = parser.parse_args()
    program, recordings = demo_program(given.lanes)
    x = given.scale * signal(recordings, given.steps)
    rows = measure(program, x, 2.0**-given.nudge, given.simulator)
    title = f"BasicMotions, {given.steps:,} steps, {given.lanes} lanes, {given.simulator}"
    show(title, rows, ["jax", "amaranth", "verilator"], given.json)


if __name__ == "__main__":
    main()
