"""From an engine to a bitstream: Yosys, nextpnr and ecppack, with a report of what came out.

A build either gives a bitstream that met its clock, or raises; it removes the directory's older
bitstream before it starts and puts the new one in place as its last act, so that a bitstream
that is there is always the result of the last build.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from amaranth.lib.wiring import Component

from echoloom.backends.bitstream import tools
from echoloom.backends.bitstream.toolrun import BuildFailed, run_tool
from echoloom.backends.bitstream.verilog import to_rtlil
from echoloom.hdl.board import BOARDS, Board, BoardTop
from echoloom.ir.contract import EngineConfig, Timing

TOP = "top"


class TimingMissed(BuildFailed):
    """The design is routed, but too slow for its clock."""


@dataclass(frozen=True)
class Usage:
    """How much of one kind of resource a design takes of what the device has."""

    used: int
    available: int


@dataclass(frozen=True)
class RoutingReport:
    """What nextpnr says of a routed design. Frequencies in MHz."""

    fmax_mhz: float
    luts: Usage
    registers: Usage
    dsps: Usage
    brams: Usage


@dataclass(frozen=True)
class BuildReport:
    """A finished build: `bitstream` met `target_mhz`, the engine's clock.

    `fmax_mhz` is what static timing analysis found possible after routing for `target_mhz`; a
    higher target often gives a higher figure. `tools` maps names to versions.
    """

    bitstream: Path
    board: str
    target_mhz: float
    fmax_mhz: float
    luts: Usage
    registers: Usage
    dsps: Usage
    brams: Usage
    tools: dict[str, str]
    seconds: float


def to_bitstream(
    config: EngineConfig,
    timing: Timing,
    board: str = "ulx3s-85f",
    directory: Path | str = "build/bitstream",
    *,
    clock_mhz: float | None = None,
    seed: int = 1,
) -> BuildReport:
    """Build the bitstream of an engine behind its host link; minutes.

    `directory` gets `<board>.bit`, the routing report and the tools' logs. `clock_mhz` is the
    engine's clock, the board's own unless given. `seed` starts the placer; the same seed and
    tools give the same bitstream.

    Raises ValueError for an unknown board or a clock that it cannot make, OSError if `directory`
    cannot be written, BuildFailed if a tool is missing or fails, TimingMissed (a BuildFailed) if
    the clock is not met.
    """
    target = find_board(board)
    top = BoardTop(target, config, timing, clock_mhz)
    return build(top, target, Path(directory), clock_mhz=top.clock_mhz, seed=seed)


def find_board(name: str) -> Board:
    """The board of that name. Raises ValueError with the names that there are."""
    if name not in BOARDS:
        raise ValueError(f"there is no board {name!r}; known: {', '.join(sorted(BOARDS))}")
    return BOARDS[name]


def build(
    top: Component, board: Board, directory: Path, *, clock_mhz: float, seed: int = 1
) -> BuildReport:
    """Build the bitstream of any component whose ports are (some of) the board's pins.

    Raises OSError and BuildFailed like `to_bitstream`.
    """
    begin = time.monotonic()
    with _work_directory(directory) as work:
        bitstream = directory / f"{board.name}.bit"
        for stale in (bitstream, directory / "routing.json", *directory.glob("*.log")):
            stale.unlink(missing_ok=True)
        try:
            yosys, nextpnr, ecppack = tools.yosys(), tools.nextpnr_ecp5(), tools.ecppack()
        except tools.ToolMissing as missing:
            raise BuildFailed(str(missing)) from missing

        (work / "top.il").write_text(to_rtlil(top, TOP))
        (work / "top.lpf").write_text(constraints(board, top))
        script = f"read_rtlil top.il; synth_ecp5 -top {TOP} -json top.json"
        run_tool(yosys, ["-p", script], work, directory / "yosys.log")
        arguments = [
            *(board.device, "--package", board.package, "--speed", str(board.speed)),
            *("--json", "top.json", "--lpf", "top.lpf", "--textcfg", "top.config"),
            *("--report", "routing.json", "--seed", str(seed), "--timing-allow-fail"),
        ]
        run_tool(nextpnr, arguments, work, directory / "nextpnr.log")
        if not (work / "routing.json").is_file():
            raise BuildFailed("nextpnr gave no report although it did not fail")
        os.replace(work / "routing.json", directory / "routing.json")
        routed = parse_routing(json.loads((directory / "routing.json").read_text()))
        if routed.fmax_mhz < clock_mhz:
            raise TimingMissed(
                f"timing missed: the design reaches {routed.fmax_mhz:.1f} MHz of "
                f"{clock_mhz:g} MHz; see {directory / 'nextpnr.log'} for the longest path"
            )
        pack = ["--compress", "--input", "top.config", "--bit", "top.bit"]
        run_tool(ecppack, pack, work, directory / "ecppack.log")
        if not (work / "top.bit").is_file():
            raise BuildFailed("ecppack gave no bitstream although it did not fail")
        os.replace(work / "top.bit", bitstream)
    return BuildReport(
        bitstream=bitstream,
        board=board.name,
        target_mhz=clock_mhz,
        fmax_mhz=routed.fmax_mhz,
        luts=routed.luts,
        registers=routed.registers,
        dsps=routed.dsps,
        brams=routed.brams,
        tools={tool.name: tool.version for tool in (yosys, nextpnr, ecppack)},
        seconds=time.monotonic() - begin,
    )


def constraints(board: Board, top: Component) -> str:
    """The pin and clock constraints (LPF) of the component's ports.

    Raises ValueError for a port that the board has no pin for.
    """
    lines = [f'FREQUENCY PORT "clock" {board.clock_mhz:g} MHZ;']
    for path, _, port in top.signature.flatten(top):
        name = "__".join(map(str, path))
        bits = [name] if len(port) == 1 else [f"{name}[{i}]" for i in range(len(port))]
        for bit in bits:
            if bit not in board.pins:
                raise ValueError(f"{board.name} has no pin for the port {bit}")
            site, attributes = board.pins[bit]
            lines += [f'LOCATE COMP "{bit}" SITE "{site}";', f'IOBUF PORT "{bit}" {attributes};']
    return "\n".join(lines) + "\n"


def parse_routing(report: dict) -> RoutingReport:
    """Read nextpnr's JSON report; the slowest of its clocks counts.

    Raises BuildFailed if the report has no clock or lacks a resource: no figure is made up.
    """
    try:
        clocks = [clock["achieved"] for clock in report["fmax"].values()]
        usage = {
            name: Usage(entry["used"], entry["available"])
            for name, entry in report["utilization"].items()
        }
        if not clocks:
            raise BuildFailed("nextpnr's report has no clock: the design has no register")
        return RoutingReport(
            fmax_mhz=min(clocks),
            luts=usage["TRELLIS_COMB"],
            registers=usage["TRELLIS_FF"],
            dsps=usage["MULT18X18D"],
            brams=usage["DP16KD"],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise BuildFailed(f"nextpnr's report has an unknown form ({error!r})") from error


@contextlib.contextmanager
def _work_directory(directory: Path) -> Iterator[Path]:
    """A temporary directory inside `directory`: proves that it can be written, and lets finished
    files move within one file system.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(prefix="work-", dir=directory)
    except OSError as error:
        reason = error.strerror or error
        raise OSError(
            error.errno, f"cannot write a bitstream into {directory}: {reason}"
        ) from error
    with temporary as work:
        yield Path(work)
