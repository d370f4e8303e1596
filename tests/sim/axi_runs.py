"""Runs passes on an exported engine, in Verilator under cocotb, by its AXI ports."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from echoloom.backends.engine.requests import COUNTERS, PassRequest, PassResult
from echoloom.backends.export.folder import MANIFEST
from echoloom.backends.link.image_writes import Write
from echoloom.ir.contract import Space
from echoloom.sim.builds import environment, last_lines, run_process
from echoloom.sim.script import JOB

HERE = Path(__file__).parent
MASK = (1 << 64) - 1
LIMIT = "20000"  # microseconds of simulated time
BUILD = ["-Wno-fatal", "-O3", "--no-public-flat-rw"]


def process(action: str, folder: Path, job: Path) -> None:
    """Build, or play, in this process: cocotb's runner works through environment and exit."""
    from cocotb_tools.check_results import get_results
    from cocotb_tools.runner import get_runner

    module = json.loads((folder / MANIFEST).read_text())["module"]
    runner, build = get_runner("verilator"), folder / "sim_build"
    if action == "build":
        ports = folder / "public.vlt"
        ports.write_text(f'`verilator_config\npublic_flat_rw -module "{module}" -port "*"\n')
        runner.build(
            sources=[ports, folder / f"{module}.v"], hdl_toplevel=module, build_dir=build,
            build_args=BUILD, timescale=("1ns", "1ps"), always=True,
        )  # fmt: skip
        return
    # The memory files are read from where the simulation runs.
    (job / "memory").symlink_to(folder.resolve() / "memory")
    report = runner.test(
        test_module="axi_player", hdl_toplevel=module, hdl_toplevel_lang="verilog",
        build_dir=build, test_dir=job, results_xml=str(job / "results.xml"),
        timescale=("1ns", "1ps"),
        extra_env={JOB: str(job), "ECHOLOOM_LIMIT_US": LIMIT, "COCOTB_TRUST_INERTIAL_WRITES": "1",
                   "COCOTB_LOG_LEVEL": "WARNING", "PYTHONPATH": f"{HERE}:{sys.path[0]}"},
    )  # fmt: skip
    tests, failed = get_results(report)
    sys.exit(0 if (tests, failed) == (1, 0) else f"{failed} of {tests} cocotb tests failed")


def run(action: str, folder: Path, job: Path) -> None:
    """`process` in a process of its own."""
    variables = environment()
    variables["PYTHONPATH"] = f"{HERE}:{variables['PYTHONPATH']}"
    log = job / f"{action}.log"
    command = [sys.executable, __file__, action, folder, job]
    code = run_process(command, variables, log, 1800, f"the AXI {action}")
    assert code == 0, last_lines(log, 40)


def plain(write: Write) -> Write:
    """As JSON takes it."""
    space, lane, address, word = write
    return int(space), lane, address, word & MASK


def run_axi(
    folder: Path,
    job: Path,
    passes: Sequence[PassRequest],
    *,
    stall_seed: int | None = None,
    load: Iterable[Write] = (),
    host: bool = True,
    output_words: int = 0,
) -> list[PassResult]:
    """Play `passes` on the export in `folder`. `load` is written first; without a `host` there are
    samples and outputs only. A pass's outputs are packets of `output_words`."""
    interface = json.loads((folder / MANIFEST).read_text())["interface"]
    counters = [(int(Space.REGISTER), 0, int(register)) for register in COUNTERS]
    told = {
        "interface": interface,
        "stall_seed": stall_seed,
        "load": [plain(write) for write in load],
        "host": host,
        "output_words": output_words,
        "passes": [
            {
                "writes": [plain(w) for w in one.accesses] if host else [],
                "samples": (one.frames.reshape(-1) & 0xFFFFFFFF).tolist(),
                "packets": int(one.outputs > 0),
                "reads": [*counters, *((int(s), lane, at) for s, lane, at in one.reads)],
            }
            for one in passes
        ],
    }
    job.mkdir(parents=True)
    (job / "job.json").write_text(json.dumps(told))
    run("play", folder, job)
    results = []
    for one, found in zip(passes, json.loads((job / "result.json").read_text()), strict=True):
        assert all(len(packet) == one.outputs for packet in found["packets"])
        words = np.array([w for packet in found["packets"] for w in packet], np.uint32)
        reads = np.array(found["reads"] or [0] * len(counters), np.uint64).view(np.int64)
        flags, cycles, stalls, busy = reads[: len(counters)].tolist()
        outputs, rest = words.view(np.int32).astype(np.int64), reads[len(counters) :]
        results.append(PassResult(outputs, rest, flags, cycles, stalls, busy))
    return results


if __name__ == "__main__":
    process(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
