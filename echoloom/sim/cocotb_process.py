"""The process that drives cocotb's runner; started by `builds` and `run_rtl`.

The runner works through the process environment, the current test's name and SystemExit, so it
gets a process of its own: `python -m echoloom.sim.cocotb_process build|play SIMULATOR BUILD [JOB]`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner

from echoloom.sim.script import JOB

TOP = "engine"
TIMESCALE = ("1ns", "1ps")
BUILD_ARGUMENTS = {
    # Amaranth's Verilog leaves widths to the language; only the ports need to be seen from
    # outside, and a model with every signal public is several times slower.
    "verilator": ["-Wno-fatal", "-O3", "--no-public-flat-rw"],
    # With the runner's -g2012 Icarus 11 never evaluates constant `always @*` blocks.
    "icarus": ["-g2005"],
}
PORTS = f"""`verilator_config
public_flat_rw -module "{TOP}" -port "*"
"""


def build(simulator: str, directory: Path) -> None:
    """Build `directory`/engine.v in place."""
    sources = [directory / "engine.v"]
    if simulator == "verilator":
        ports = directory / "ports.vlt"
        ports.write_text(PORTS)
        sources.insert(0, ports)
    get_runner(simulator).build(
        sources=sources,
        hdl_toplevel=TOP,
        build_dir=directory,
        build_args=BUILD_ARGUMENTS[simulator],
        timescale=TIMESCALE,
        always=True,
    )


def play(simulator: str, directory: Path, job: Path) -> None:
    """Play the script in `job` on the model in `directory`; the recording goes to `job`."""
    report = get_runner(simulator).test(
        test_module="echoloom.sim.cocotb_player",
        hdl_toplevel=TOP,
        hdl_toplevel_lang="verilog",
        build_dir=directory,
        test_dir=job,
        results_xml=str(job / "results.xml"),
        timescale=TIMESCALE,
        extra_env={
            JOB: str(job),
            # Both simulators write at the end of the time step, as cocotb's own clock needs.
            "COCOTB_TRUST_INERTIAL_WRITES": "1",
            "COCOTB_LOG_LEVEL": "WARNING",
        },
    )
    tests, failed = get_results(report)
    if failed or tests != 1:
        sys.exit(f"{failed} of {tests} cocotb tests failed, of 1 expected")


if __name__ == "__main__":
    action, simulator, *paths = sys.argv[1:]
    {"build": build, "play": play}[action](simulator, *map(Path, paths))
