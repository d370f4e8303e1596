"""The router's report, read: figures and words, and nothing made up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from echoloom.backends.bitstream.routing import Usage, describe, overfull, parse_routing
from echoloom.backends.bitstream.targets.ecp5 import Ecp5
from echoloom.backends.bitstream.toolrun import BuildFailed
from echoloom.hdl.board import BOARD_CLOCK, ENGINE_CLOCK

CAPTURED = json.loads((Path(__file__).parent / "nextpnr_report.json").read_text())
NAMES = Ecp5.resources


def clock(achieved, constraint=25.0):
    return {"achieved": achieved, "constraint": constraint}


def part(kind, delay, start, end, net=None):
    return {"type": kind, "delay": delay, "from": {"cell": start}, "to": {"cell": end}, "net": net}


def test_captured_report():
    routed = parse_routing(CAPTURED, NAMES, BOARD_CLOCK)
    assert routed.fmax_mhz == pytest.approx(74.79991149902344)
    assert list(routed.usage)[:4] == ["luts", "registers", "dsps", "brams"]
    assert routed.usage["luts"] == Usage(9499, 83640)
    assert routed.usage["registers"] == Usage(6456, 83640)
    assert routed.usage["dsps"] == Usage(10, 156)
    assert routed.usage["brams"] == Usage(45, 208)
    assert routed.usage["DCCA"] == Usage(1, 56)
    assert "DCSC" not in routed.usage and "TRELLIS_FF" not in routed.usage
    assert routed.missed is None
    assert routed.critical_path == "the router tells none"


@pytest.mark.parametrize(
    "report",
    [
        {},
        [],
        None,
        {"fmax": {}, "utilization": CAPTURED["utilization"]},
        {"fmax": {"$glbnet$other": clock(80.0)}, "utilization": CAPTURED["utilization"]},
        {"fmax": {"clock": clock("fast")}, "utilization": CAPTURED["utilization"]},
        {"fmax": {"clock": clock(None)}, "utilization": CAPTURED["utilization"]},
        {"fmax": CAPTURED["fmax"], "utilization": {}},
        {"fmax": CAPTURED["fmax"], "utilization": {"TRELLIS_COMB": 5}},
        CAPTURED | {"critical_paths": [{"from": "clock", "to": "clock"}]},
        CAPTURED | {"critical_paths": {"from": 1}},
    ],
)
def test_report_of_another_form_gives_no_figures(report):
    with pytest.raises(BuildFailed, match="nextpnr's report has"):
        parse_routing(report, NAMES, BOARD_CLOCK)


def test_engines_clock_counts_and_the_boards_has_to_be_met():
    two = {"$glbnet$clock$IN": clock(30.0), "$glbnet$clk": clock(80.0, 110.0)}
    routed = parse_routing(CAPTURED | {"fmax": two}, NAMES, ENGINE_CLOCK)
    assert (routed.fmax_mhz, routed.missed) == (80.0, None)
    two["$glbnet$clock$IN"] = clock(24.0)
    routed = parse_routing(CAPTURED | {"fmax": two}, NAMES, ENGINE_CLOCK)
    assert routed.missed == "the clock $glbnet$clock$IN reaches 24.0 MHz of 25"


def test_longest_path_of_the_engines_clock_in_words():
    slow = [
        part("clk-to-q", 0.5, "link.level_TRELLIS_FF_Q_3", "link.level_TRELLIS_FF_Q_3"),
        part("routing", 2.25, "x", "y", "link.level[2]"),
        part("logic", 0.25, "y", "y"),
        part("routing", 1.0, "y", "z", "link.full_LUT4_Z_1_D"),
        part("setup", 0.0, "lane_0.sum_CCU2C_S0$CCU2_COMB0", "lane_0.sum_CCU2C_S0$CCU2_COMB0"),
    ]
    quick = [part("clk-to-q", 1.0, "a", "b")]
    paths = [
        {"from": "posedge clock", "to": "posedge clock", "path": [part("logic", 9.0, "a", "b")]},
        {"from": "posedge clk", "to": "posedge clk", "path": quick},
        {"from": "posedge clk", "to": "posedge clk", "path": slow},
    ]
    report = CAPTURED | {"fmax": {"clk": clock(250.0)}, "critical_paths": paths}
    assert parse_routing(report, NAMES, ENGINE_CLOCK).critical_path == (
        "link.level to lane_0.sum: 4.00 ns, 0.75 in 3 cells and 3.25 in wires, "
        "the longest 2.25 for link.level[2]"
    )
    assert describe(quick) == "a to b: 1.00 ns, 1.00 in 1 cells and 0.00 in wires"


@pytest.mark.parametrize(
    ("net", "engine"),
    [
        ("$glbnet$clk", True),
        ("clk", True),
        ("clk_$glb_clk", True),
        ("$glbnet$clock$TRELLIS_IO_IN", False),
        ("clock_$glb_clk", False),
        ("beat.clk", False),
    ],
)
def test_names_of_clocks(net, engine):
    found = CAPTURED | {"fmax": {net: clock(80.0), "$glbnet$clk": clock(90.0)}}
    assert parse_routing(found, NAMES, ENGINE_CLOCK).fmax_mhz == (
        80.0 if engine and net != "$glbnet$clk" else 90.0
    )


def test_what_a_device_has_too_little_of():
    log = """Info: Device utilisation:
Info: \t         ICESTORM_LC:    9120/   5280   172%
Info: \t        ICESTORM_RAM:      30/     30   100%
Info: \t        ICESTORM_DSP:       7/      8    87%
ERROR: Unable to place cell 'x'
"""
    assert overfull(log) == ["9120 ICESTORM_LC of 5280"]
    assert overfull("ERROR: no room") == overfull("") == []
