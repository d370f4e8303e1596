"""The tools' work on one design, in one folder: synthesis, a routing for each seed, packing."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from amaranth.lib.wiring import Component

from echoloom.backends.bitstream.routing import Routing, aims, overfull, parse_routing
from echoloom.backends.bitstream.targets.target import TOP, Target, Toolchain
from echoloom.backends.bitstream.toolrun import BuildFailed, run_tool
from echoloom.backends.bitstream.verilog import to_rtlil

NETLIST = "top.json"
# Of a placement's clock, what the router is told to reach; with more it may try 1,500 times in vain
OF_PROMISE = 0.95
PREPARE = (
    "read_rtlil top.il",
    # No memory is read in the cycle that writes the word, so nothing needs to be built for that.
    "setparam -set COLLISION_X_MASK 1'1 t:$memrd_v2 r:CLK_ENABLE=1 %i",
)
# Lanes and drains keep their own copies of what they share, close to where it is needed: yosys
# would make one register of equal ones.
APART = "setattr -mod -set keep_hierarchy 1 *.lane_* *.drain_*"
JOIN = (
    "setattr -mod -unset keep_hierarchy A:keep_hierarchy",
    "flatten",
    "opt_clean -purge",
    f"write_json {NETLIST}",
)


@dataclass(frozen=True)
class Placement:
    """What came of one seed: a routed design, or why there is none."""

    seed: int
    routing: Routing | None
    failure: str | None
    seconds: float


@dataclass(frozen=True)
class Flow:
    """`work` is where the tools run, `logs` where what they say is kept."""

    target: Target
    tools: Toolchain
    work: Path
    logs: Path

    def synthesise(self, top: Component, constraints: dict[str, str]) -> None:
        """Write the netlist and the constraints. Raises BuildFailed."""
        rtlil = to_rtlil(top, TOP)
        (self.work / "top.il").write_text(rtlil)
        for name, text in constraints.items():
            (self.work / name).write_text(text)
        apart = (APART,) if self.target.parts else ()
        synthesis = f"{self.target.synthesis} -top {TOP}"
        script = "; ".join((*PREPARE, *self.target.prepare(rtlil), *apart, synthesis, *JOIN))
        run_tool(self.tools.synthesiser, ["-p", script], self.work, self.logs / "yosys.log")
        try:
            self.target.finish(self.work / NETLIST)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BuildFailed(f"yosys' netlist has an unknown form ({error!r})") from error

    def place(self, seed: int, clock: str) -> Placement:
        """Place and route with one seed; `clock` names the engine's clock. Failing is a result."""
        begin = time.monotonic()
        routing, failure = None, None
        try:
            routing = self.route(seed, clock)
        except BuildFailed as error:
            failure = str(error)
        return Placement(seed, routing, failure, time.monotonic() - begin)

    def sweep(self, seeds: Sequence[int], jobs: int, clock: str) -> list[Placement]:
        """Place and route with each seed, `jobs` of them at a time.

        Raises BuildFailed, with the first reason, if none of them gives a routed design.
        """
        with ThreadPoolExecutor(jobs) as pool:
            placements = list(pool.map(lambda seed: self.place(seed, clock), seeds))
        if all(placement.routing is None for placement in placements):
            raise BuildFailed(str(placements[0].failure))
        return placements

    def route(self, seed: int, clock: str) -> Routing:
        """Place and route with one seed. Raises BuildFailed."""
        report = f"routing-{seed}.json"
        (self.work / report).unlink(missing_ok=True)
        netlist = self._placed(seed, clock)
        arguments = self.target.route_arguments(netlist, self._routed(seed), report, seed)
        self._run_router(arguments, self.log(seed))
        if not (self.work / report).is_file():
            raise BuildFailed("nextpnr gave no report although it did not fail")
        try:
            text = json.loads((self.work / report).read_text())
        except ValueError as error:
            raise BuildFailed(f"nextpnr's report is no JSON ({error})") from error
        return parse_routing(text, self.target.resources, clock)

    def _placed(self, seed: int, clock: str) -> str:
        """The netlist to route: placed, if the family does that in a run of its own, and then to
        be routed for a little less than what the placement promises of the clock."""
        placed = f"placed-{seed}.json"
        arguments = self.target.place_arguments(NETLIST, placed, seed)
        if arguments is None:
            return NETLIST
        log = self.logs / f"placing-{seed}.log"
        self._run_router(arguments, log)
        clocks = aims(log.read_text(errors="replace"), clock, OF_PROMISE)
        try:
            self.target.aim(self.work, seed, clocks)
        except (OSError, ValueError) as error:
            raise BuildFailed(f"the router cannot be told what to aim at: {error}") from error
        return placed

    def _run_router(self, arguments: list[str], log: Path) -> None:
        try:
            run_tool(self.tools.router, arguments, self.work, log)
        except BuildFailed as error:
            lacking = overfull(log.read_text(errors="replace"))
            if not lacking:
                raise
            raise BuildFailed(
                f"the design does not fit {self.target.name}: {', '.join(lacking)}; {error}"
            ) from error

    def retune(self, seed: int, clock_mhz: float) -> bool:
        """Set the PLL of a routed design; False if the family cannot. Raises BuildFailed."""
        try:
            return self.target.retune(self.work / self._routed(seed), clock_mhz)
        except (OSError, ValueError) as error:
            raise BuildFailed(f"the PLL cannot be set in nextpnr's file: {error}") from error

    def keep_report(self, seed: int, file: Path) -> None:
        """Move the router's report of a seed to where it stays."""
        os.replace(self.work / f"routing-{seed}.json", file)

    def pack(self, seed: int) -> bytes:
        """The bitstream of a routed design. Raises BuildFailed."""
        packer = self.tools.packer
        arguments = self.target.pack_arguments(self._routed(seed), "top.bit")
        run_tool(packer, arguments, self.work, self.logs / f"{packer.name}.log")
        made = self.work / "top.bit"
        if not made.is_file() or not made.stat().st_size:
            raise BuildFailed(f"{packer.name} gave no bitstream although it did not fail")
        return made.read_bytes()

    def log(self, seed: int) -> Path:
        """Where the router's words on a seed are."""
        return self.logs / f"nextpnr-{seed}.log"

    def _routed(self, seed: int) -> str:
        return f"top-{seed}.{self.target.routed}"
