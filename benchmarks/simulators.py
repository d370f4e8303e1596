"""Clock cycles a second of the RTL under every simulator: python benchmarks/simulators.py

The demo's engine plays forward passes over one sequence, a short and a long one; the rate is the
difference of cycles over the difference of processor seconds, so that starting a simulator and
loading the engine do not count. Those are given as "start". Processor seconds (this process and
what it starts) change less than wall-clock ones on a machine that does other things too.
"""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import numpy as np
import output

import echoloom as el
from echoloom.backends.bitstream.tools import ToolMissing, compiler, iverilog
from echoloom.backends.engine.sweeps import pass_request
from echoloom.cli.data import load_data
from echoloom.frontend.models.checkpoint import load_model
from echoloom.sim.run_rtl import Simulator, run_rtl

CHECKPOINT = Path(__file__).parents[1] / "examples" / "basic_motions.eqx"
# Time steps of the short and of the long sequence: seconds under each simulator.
STEPS: dict[Simulator, tuple[int, int]] = {
    "amaranth": (1, 3),
    "icarus": (2, 42),
    "verilator": (2, 1_002),
    "verilator-cpp": (2, 40_002),
}


def processor_seconds() -> float:
    """User and system time of this process and of all that have ended below it."""
    both = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(sum(resource.getrusage(who)[:2]) for who in both)


def simulate(program: el.CompiledProgram, x: np.ndarray, simulator: Simulator) -> tuple[int, float]:
    """Cycles that the engine counted in a forward pass over x, and processor seconds spent."""
    began = processor_seconds()
    forward = program.artifact.host.forward(x)
    request = pass_request(program.artifact, program.image, forward)
    (result,) = run_rtl(program.image, [request], simulator)
    return result.cycles, processor_seconds() - began


def measure(program: el.CompiledProgram, x: np.ndarray, simulator: Simulator) -> dict[str, Any]:
    """One line of the table. Raises ToolMissing."""
    long = np.tile(x, (-(-max(STEPS[simulator]) // len(x)), 1))
    short = long[: min(STEPS[simulator])]
    simulate(program, short, simulator)  # builds what is not in the cache
    (few, start), (many, whole) = (
        simulate(program, long[:steps], simulator) for steps in STEPS[simulator]
    )
    rate = (many - few) / (whole - start)
    return {
        "simulator": simulator,
        "cycles": many - few,
        "processor s": f"{whole - start:.1f}",
        "cycles a second": int(float(f"{rate:.2g}")),
        "start, s": f"{start - few / rate:.1f}",
    }


def main() -> None:
    parser = output.arguments((__doc__ or "").splitlines()[0])
    parser.add_argument("--lanes", type=int, default=4, help="multipliers of the engine")
    parser.add_argument("--only", choices=tuple(STEPS), help="measure this simulator alone")
    options = parser.parse_args()
    data = load_data("BasicMotions", normalise=True)
    program = el.compile(load_model(CHECKPOINT), data.X, data.y, lanes=options.lanes)
    rows = []
    for simulator in STEPS:
        if options.only in (None, simulator):
            output.progress.print(f"{simulator}: building and running")
            try:
                rows.append(measure(program, data.X[0], simulator))
            except ToolMissing as missing:
                output.progress.print(f"{simulator} left out: {missing}")
    tools = [compiler(), *([iverilog()] if any(r["simulator"] == "icarus" for r in rows) else [])]
    title = f"forward passes of the demo's model on {options.lanes} lanes"
    packages = ("echoloom", "amaranth", "cocotb", "verilator")
    output.show(title, rows, packages, options.json)
    output.progress.print(", ".join(f"{tool.name} {tool.version}" for tool in tools))


if __name__ == "__main__":
    main()
