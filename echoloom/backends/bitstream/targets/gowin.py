"""Gowin GW2A: its PLL, its tools, its boards."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from amaranth.hdl import Const, Instance, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Component

from echoloom.backends.bitstream import tools
from echoloom.backends.bitstream.targets.target import TOP, Target, Toolchain, ports
from echoloom.hdl.board import BOARD_CLOCK
from echoloom.hdl.pll import PLL_PORTS, chosen, exact, highest, whole_hz

# Limits from the data sheet of speed grade C8/I7, in MHz.
PHASE_DETECTOR = 3, 500
VCO = 500, 1250
OUTPUT = Fraction("3.90625"), 625
BEHIND_PAD = "board_clk"
POSTS = (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128)


@dataclass(frozen=True)
class Dividers:
    """The output is input / reference * feedback, the oscillator runs at the output * post."""

    reference: int
    feedback: int
    post: int


@cache
def clocks(input_mhz: float) -> dict[Fraction, Dividers]:
    """Every clock of a whole number of Hz that the PLL makes, with the dividers for it: the
    quickest phase detector, then the slowest oscillator."""
    found: dict[Fraction, Dividers] = {}
    for reference in range(1, 65):
        detector = exact(input_mhz) / reference
        if not PHASE_DETECTOR[0] <= detector <= PHASE_DETECTOR[1]:
            continue
        for feedback in range(1, 65):
            clock = detector * feedback
            if not OUTPUT[0] <= clock <= OUTPUT[1] or not whole_hz(clock):
                continue
            posts = [post for post in POSTS if VCO[0] <= clock * post <= VCO[1]]
            if posts:
                found.setdefault(clock, Dividers(reference, feedback, posts[0]))
    return found


def dividers(input_mhz: float, output_mhz: float) -> Dividers:
    """The dividers that make exactly `output_mhz`. Raises ValueError if there are none."""
    return chosen(clocks(input_mhz), input_mhz, output_mhz)


def settings(dividers: Dividers) -> dict[str, int]:
    """The primitive's parameters that depend on the clock."""
    return {
        "IDIV_SEL": dividers.reference - 1,
        "FBDIV_SEL": dividers.feedback - 1,
        "ODIV_SEL": dividers.post,
    }


class Pll(wiring.Component):
    """rPLL: `output` of `output_mhz` from `input` of `input_mhz`; `locked` when stable."""

    input: Any
    passed: Any
    output: Any
    locked: Any

    def __init__(self, input_mhz: float, output_mhz: float, device: str) -> None:
        self._input_mhz, self._device = input_mhz, device
        self._dividers = dividers(input_mhz, output_mhz)
        super().__init__(PLL_PORTS)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.passed.eq(self.input)
        m.submodules.primitive = Instance(
            "rPLL",
            ("p", "DEVICE", self._device),
            ("p", "FCLKIN", f"{self._input_mhz:g}"),
            *(("p", name, value) for name, value in settings(self._dividers).items()),
            ("p", "DYN_IDIV_SEL", "false"),
            ("p", "DYN_FBDIV_SEL", "false"),
            ("p", "DYN_ODIV_SEL", "false"),
            ("p", "DYN_DA_EN", "false"),
            ("p", "PSDA_SEL", "0000"),
            ("p", "DUTYDA_SEL", "1000"),
            ("p", "CLKFB_SEL", "internal"),
            ("p", "CLKOUT_BYPASS", "false"),
            ("p", "CLKOUTP_BYPASS", "false"),
            ("p", "CLKOUTD_BYPASS", "false"),
            ("p", "CLKOUTD_SRC", "CLKOUT"),
            ("p", "CLKOUTD3_SRC", "CLKOUT"),
            ("p", "DYN_SDIV_SEL", 2),
            ("i", "CLKIN", self.input),
            ("i", "CLKFB", Const(0)),
            ("i", "RESET", Const(0)),
            ("i", "RESET_P", Const(0)),
            ("i", "IDSEL", Const(0, 6)),
            ("i", "FBDSEL", Const(0, 6)),
            ("i", "ODSEL", Const(0, 6)),
            ("i", "PSDA", Const(0, 4)),
            ("i", "DUTYDA", Const(0, 4)),
            ("i", "FDLY", Const(0, 4)),
            ("o", "CLKOUT", self.output),
            ("o", "LOCK", self.locked),
        )
        return m


@dataclass(frozen=True, kw_only=True)
class Gowin(Target):
    """A board with a GW2A."""

    family: str

    synthesis: str = "synth_gowin -family gw2a"
    parts: ClassVar = False  # it would put pads at the ports of every module
    routed: ClassVar = "json"
    resources: ClassVar = {
        "luts": "LUT4",
        "registers": "DFF",
        "dsps": "MULT18X18",
        "brams": "BSRAM",
    }

    def toolchain(self) -> Toolchain:
        return Toolchain(tools.yosys(), tools.nextpnr_gowin(), tools.gowin_pack())

    def pll(self, output_mhz: float) -> Component:
        return Pll(self.clock_mhz, output_mhz, self.family)

    def clock_below(self, limit_mhz: float) -> float | None:
        return highest(clocks(self.clock_mhz), limit_mhz)

    def constraints(self, top: Component, clocks: Mapping[str, float]) -> dict[str, str]:
        lines = []
        for bit, site, attributes in ports(self, top):
            lines += [f'IO_LOC "{bit}" {site};', f'IO_PORT "{bit}" {attributes};']
        # Behind its pad the board's clock is the net of its domain.
        nets = list(clocks.items())
        if BOARD_CLOCK in clocks:
            nets.append((BEHIND_PAD, clocks[BOARD_CLOCK]))
        periods = [f"create_clock -period {1000 / mhz:.6f} [get_nets {net}]" for net, mhz in nets]
        return {"top.cst": "\n".join(lines) + "\n", "top.sdc": "\n".join(periods) + "\n"}

    def route_arguments(self, netlist: str, routed: str, report: str, seed: int) -> list[str]:
        return [
            *("--device", self.device, "--vopt", f"family={self.family}"),
            *("--vopt", "cst=top.cst", "--sdc", "top.sdc", "--json", netlist, "--write", routed),
            *("--report", report, "--seed", str(seed), "--timing-allow-fail"),
        ]

    def pack_arguments(self, routed: str, bitstream: str) -> list[str]:
        return ["-d", self.family, "-o", bitstream, routed]

    def retune(self, routed: Path, clock_mhz: float) -> bool:
        """The file is a netlist; the PLL's parameters stand in it as in the one that was read."""
        design = json.loads(routed.read_text())
        cells = design["modules"][TOP]["cells"].values()
        plls = [cell for cell in cells if cell["type"] == "rPLL"]
        if len(plls) != 1:
            raise ValueError(f"{routed.name} has {len(plls)} PLLs, not one")
        for name, value in settings(dividers(self.clock_mhz, clock_mhz)).items():
            plls[0]["parameters"][name] = f"{value:032b}"
        routed.write_text(json.dumps(design))
        return True
