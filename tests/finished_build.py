"""The report of a build that no tool made."""

from __future__ import annotations

from pathlib import Path

from echoloom.backends.bitstream.aim import Aim
from echoloom.backends.bitstream.route import BuildReport, SeedReport
from echoloom.backends.bitstream.routing import Usage


def finished_build(bitstream: Path, board: str, aim: Aim) -> BuildReport:
    return BuildReport(
        bitstream=bitstream,
        board=board,
        clock_mhz=aim.clock_mhz or 28.0,
        margin=0.1,
        target_mhz=110.0,
        fmax_mhz=31.0,
        median_fmax_mhz=30.0,
        seed=2,
        seeds=(SeedReport(1, 29.0, None, 1.5), SeedReport(2, 31.0, None, 1.0)),
        critical_path="a to b: 32 ns",
        usage=dict.fromkeys(("luts", "registers", "dsps", "brams"), Usage(1, 2)),
        tools={"yosys": "1"},
        seconds=9.0,
    )
