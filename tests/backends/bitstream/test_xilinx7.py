"""Counts for Xilinx 7, from what yosys prints."""

from __future__ import annotations

import json

import pytest

from echoloom.backends.bitstream import tools
from echoloom.backends.bitstream.targets.xilinx7 import counts, read
from echoloom.backends.bitstream.toolrun import BuildFailed
from echoloom.backends.bitstream.tools import Tool
from echoloom.ir.contract import EngineConfig, Timing

CONFIG = EngineConfig(
    lanes=1, drains=1, weight_depth=64, vector_depth=64, gradient_depth=64, table_depth=64,
    mac_depth=64, drain_depth=64,
)  # fmt: skip
CELLS = {
    "LUT2": 383, "LUT6": 246, "SRL16E": 60, "RAM32M": 9, "RAM64X1D": 2, "CARRY4": 170,
    "FDRE": 2675, "FDSE": 9, "DSP48E1": 3, "RAMB18E1": 7, "RAMB36E1": 7, "BUFG": 1,
}  # fmt: skip


def test_every_kind_of_cell_is_counted_once():
    assert read({"design": {"num_cells_by_type": CELLS}}) == {
        "luts": 383 + 246 + 60 + 4 * 9 + 2 * 2,
        "registers": 2684,
        "dsps": 3,
        "brams": 10.5,
    }


def test_an_engine_goes_through(monkeypatch, tmp_path):
    def yosys(script: str) -> None:
        path = tmp_path / "yosys"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr(tools, "yosys", lambda: Tool("yosys", path, "0"))

    (tmp_path / "stat").write_text(json.dumps({"design": {"num_cells_by_type": CELLS}}))
    yosys(f"echo $2 > script; cp {tmp_path}/stat stat.json")
    assert counts(CONFIG, Timing(), tmp_path / "out")["dsps"] == 3
    assert "synth_xilinx -family xc7 -flatten -top top" in (tmp_path / "out" / "script").read_text()
    for rubbish in (
        "[]",
        "{",
        '{"design": {}}',
        '{"design": {"num_cells_by_type": {"LUT2": "x"}}}',
    ):
        yosys(f"echo '{rubbish}' > stat.json")
        with pytest.raises(BuildFailed, match="yosys gave no figures that can be read"):
            counts(CONFIG, Timing(), tmp_path / "out")
    (tmp_path / "out" / "stat.json").unlink()
    yosys("true")
    with pytest.raises(BuildFailed, match="yosys gave no figures"):
        counts(CONFIG, Timing(), tmp_path / "out")
