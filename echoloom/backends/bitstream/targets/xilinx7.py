"""Xilinx 7: what synthesis counts. No open router for it is among the tools."""

from __future__ import annotations

import json
import re
from pathlib import Path

from echoloom.backends.bitstream import tools
from echoloom.backends.bitstream.targets.target import TOP
from echoloom.backends.bitstream.toolrun import BuildFailed, run_tool
from echoloom.backends.bitstream.verilog import to_rtlil
from echoloom.hdl.board import Board, BoardTop
from echoloom.ir.contract import EngineConfig, Timing

SYNTHESIS = "synth_xilinx -family xc7 -flatten"
# How much of a resource a cell takes. A block RAM has 36 Kibit; a distributed RAM is LUTs.
CELLS: dict[str, dict[str, float]] = {
    "luts": {r"LUT[1-6]|SRL16E|SRLC32E": 1, r"RAM(32|64)X1D": 2, r"RAM(32|64)M": 4},
    "registers": {r"FD[RSCP]E": 1},
    "dsps": {r"DSP48E1": 1},
    "brams": {r"RAMB36E1": 1, r"RAMB18E1": 0.5},
}
ANY_BOARD = Board(
    name="xilinx7", clock_mhz=100.0, pins=dict.fromkeys(("clock", "rx", "tx"), ("", ""))
)


def counts(config: EngineConfig, timing: Timing, directory: Path) -> dict[str, float]:
    """LUTs, registers, DSPs and block RAMs of an engine behind its host link, as yosys maps them.

    `directory` gets the tool's log and its figures. Raises BuildFailed, ToolMissing and OSError.
    """
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "top.il").write_text(to_rtlil(BoardTop(ANY_BOARD, config, timing), TOP))
    script = f"read_rtlil top.il; {SYNTHESIS} -top {TOP}; tee -q -o stat.json stat -json"
    run_tool(tools.yosys(), ["-p", script], directory, directory / "yosys.log")
    try:
        return read(json.loads((directory / "stat.json").read_text()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BuildFailed(f"yosys gave no figures that can be read ({error!r})") from error


def read(report: dict) -> dict[str, float]:
    """The figures of yosys's `stat -json`, by resource."""
    cells: dict[str, int] = report["design"]["num_cells_by_type"]
    return {
        name: sum(
            share * count
            for kind, count in cells.items()
            for pattern, share in shares.items()
            if re.fullmatch(pattern, kind)
        )
        for name, shares in CELLS.items()
    }
