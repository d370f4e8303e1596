"""Lattice ECP5: its PLL, its tools, its boards."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from amaranth.hdl import Const, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import Component

from echoloom.backends.bitstream import tools
from echoloom.backends.bitstream.targets.ecp5_pass_through import pass_through
from echoloom.backends.bitstream.targets.ecp5_registers import absorb_registers
from echoloom.backends.bitstream.targets.target import TOP, Target, Toolchain, ports
from echoloom.hdl.board import BOARD_CLOCK
from echoloom.hdl.pll import PLL_PORTS, chosen, exact, highest, whole_hz

# Limits from the data sheet, in MHz; the tools check none of them.
PHASE_DETECTOR = 10, 400
VCO = 400, 800
VCO_BEST = 600
OUTPUT = 3.125, 400

# Look-up tables of each die, of which registers may take what others leave of this share.
TABLES = {"--12k": 24_288, "--25k": 24_288, "--45k": 43_848, "--85k": 83_640}
SHARE = 0.75


@dataclass(frozen=True)
class Dividers:
    """The oscillator runs at input / reference * feedback * loop, the output at that / post.

    The loop goes through an output of its own, which the engine does not use: so the engine's
    clock may be any whole part of the oscillator's, and not only a multiple of the detector's.
    """

    reference: int
    feedback: int
    loop: int
    post: int


@cache
def clocks(input_mhz: float) -> dict[Fraction, Dividers]:
    """Every clock of a whole number of Hz that the PLL makes, with the dividers for it: the
    quickest phase detector, then the oscillator near its middle, then the shortest loop."""
    found: dict[Fraction, tuple[Any, Dividers]] = {}
    for reference in range(1, 129):
        detector = exact(input_mhz) / reference
        if not PHASE_DETECTOR[0] <= detector <= PHASE_DETECTOR[1]:
            continue
        for feedback in range(1, 81):
            for loop in range(1, 129):
                oscillator = detector * feedback * loop
                if not (VCO[0] <= oscillator <= VCO[1] and detector * feedback <= OUTPUT[1]):
                    continue
                for post in range(1, 129):
                    clock = oscillator / post
                    if not OUTPUT[0] <= clock <= OUTPUT[1] or not whole_hz(clock):
                        continue
                    order = (reference, abs(oscillator - VCO_BEST), feedback, loop)
                    if clock not in found or order < found[clock][0]:
                        found[clock] = order, Dividers(reference, feedback, loop, post)
    return {clock: dividers for clock, (_, dividers) in found.items()}


def dividers(input_mhz: float, output_mhz: float) -> Dividers:
    """The dividers that make exactly `output_mhz`. Raises ValueError if there are none."""
    return chosen(clocks(input_mhz), input_mhz, output_mhz)


class Pll(wiring.Component):
    """EHXPLLL: `output` of `output_mhz` from `input` of `input_mhz`; `locked` when stable."""

    input: Any
    output: Any
    locked: Any
    passed: Any

    def __init__(self, input_mhz: float, output_mhz: float) -> None:
        self._frequencies = input_mhz, output_mhz
        self._dividers = dividers(input_mhz, output_mhz)
        super().__init__(PLL_PORTS)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        input_mhz, output_mhz = self._frequencies
        low, high = Const(0), Const(1)
        loop = Signal()
        m.d.comb += self.passed.eq(self.input)
        m.submodules.primitive = Instance(
            "EHXPLLL",
            ("a", "FREQUENCY_PIN_CLKI", f"{input_mhz:.10g}"),
            ("a", "FREQUENCY_PIN_CLKOS", f"{output_mhz:.10g}"),
            ("a", "ICP_CURRENT", "12"),
            ("a", "LPF_RESISTOR", "8"),
            ("a", "MFG_ENABLE_FILTEROPAMP", "1"),
            ("a", "MFG_GMCREF_SEL", "2"),
            *(("p", name, value) for name, value in settings(self._dividers).items()),
            ("p", "FEEDBK_PATH", "CLKOP"),
            ("p", "CLKOP_ENABLE", "ENABLED"),
            ("p", "CLKOP_FPHASE", 0),
            ("p", "CLKOS_ENABLE", "ENABLED"),
            ("p", "CLKOS_FPHASE", 0),
            ("p", "OUTDIVIDER_MUXA", "DIVA"),
            ("p", "OUTDIVIDER_MUXB", "DIVB"),
            ("p", "PLLRST_ENA", "DISABLED"),
            ("p", "INTFB_WAKE", "DISABLED"),
            ("p", "STDBY_ENABLE", "DISABLED"),
            ("p", "DPHASE_SOURCE", "DISABLED"),
            ("i", "CLKI", self.input),
            ("i", "CLKFB", loop),
            ("i", "RST", low),
            ("i", "STDBY", low),
            ("i", "PHASESEL0", low),
            ("i", "PHASESEL1", low),
            ("i", "PHASEDIR", high),
            ("i", "PHASESTEP", high),
            ("i", "PHASELOADREG", high),
            ("i", "PLLWAKESYNC", low),
            ("i", "ENCLKOP", low),
            ("i", "ENCLKOS", low),
            ("o", "CLKOP", loop),
            ("o", "CLKOS", self.output),
            ("o", "LOCK", self.locked),
        )
        return m


def settings(dividers: Dividers) -> dict[str, int]:
    """The primitive's parameters that depend on the clock."""
    return {
        "CLKI_DIV": dividers.reference,
        "CLKFB_DIV": dividers.feedback,
        "CLKOP_DIV": dividers.loop,
        "CLKOP_CPHASE": dividers.loop // 2,
        "CLKOS_DIV": dividers.post,
        "CLKOS_CPHASE": dividers.post // 2,
    }


@dataclass(frozen=True, kw_only=True)
class Ecp5(Target):
    """A board with an ECP5. nextpnr's default placer spreads the engine so that router2 does not
    find routes for all of it at 8 lanes and more; the static placer does not. Nor does that one
    unless registers have look-up tables before them (`ecp5_pass_through`).

    Placing and routing are two runs. Told to, router2 takes up again what came out too slow, but
    goes on for 1,500 rounds where the placement is too slow for what it aims at. So it aims at what
    the placement promises.
    """

    package: str
    speed: int
    placer: str = "static"
    router: str = "router2"

    synthesis: str = "synth_ecp5"
    routed: ClassVar = "config"
    resources: ClassVar = {
        "luts": "TRELLIS_COMB",
        "registers": "TRELLIS_FF",
        "dsps": "MULT18X18D",
        "brams": "DP16KD",
    }

    def toolchain(self) -> Toolchain:
        return Toolchain(tools.yosys(), tools.nextpnr_ecp5(), tools.ecppack())

    def pll(self, output_mhz: float) -> Component:
        return Pll(self.clock_mhz, output_mhz)

    def clock_below(self, limit_mhz: float) -> float | None:
        return highest(clocks(self.clock_mhz), limit_mhz)

    def constraints(self, top: Component, clocks: Mapping[str, float]) -> dict[str, str]:
        lines = [
            f'FREQUENCY {"PORT" if name == BOARD_CLOCK else "NET"} "{name}" {mhz:.10g} MHZ;'
            for name, mhz in clocks.items()
        ]
        for bit, site, attributes in ports(self, top):
            lines += [f'LOCATE COMP "{bit}" SITE "{site}";', f'IOBUF PORT "{bit}" {attributes};']
        return {"top.lpf": "\n".join(lines) + "\n"}

    def finish(self, netlist: Path) -> None:
        design = json.loads(netlist.read_text())
        absorb_registers(design, TOP)
        pass_through(design, TOP, int(SHARE * TABLES[self.device]))
        netlist.write_text(json.dumps(design))

    def place_arguments(self, netlist: str, placed: str, seed: int) -> list[str]:
        return [
            *self._arguments(netlist, "top.lpf", seed),
            *("--placer", self.placer, "--no-route", "--write", placed),
        ]

    def aim(self, work: Path, seed: int, clocks: Mapping[str, float]) -> None:
        """A placed design's clocks are on nets of other names, so none of the old lines holds."""
        kept = re.sub(r"(?m)^FREQUENCY .*\n", "", (work / "top.lpf").read_text())
        lines = [f'FREQUENCY NET "{net}" {mhz:.10g} MHZ;\n' for net, mhz in clocks.items()]
        (work / f"top-{seed}.lpf").write_text("".join([*lines, kept]))

    def route_arguments(self, netlist: str, routed: str, report: str, seed: int) -> list[str]:
        return [
            *self._arguments(netlist, f"top-{seed}.lpf", seed),
            *("--no-pack", "--no-place", "--textcfg", routed, "--report", report),
        ]

    def _arguments(self, netlist: str, constraints: str, seed: int) -> list[str]:
        """A placed design keeps the settings of its placing, the router among them."""
        return [
            *(self.device, "--package", self.package, "--speed", str(self.speed)),
            *("--json", netlist, "--lpf", constraints, "--timing-allow-fail"),
            *("--router", self.router, "--tmg-ripup", "--seed", str(seed)),
        ]

    def pack_arguments(self, routed: str, bitstream: str) -> list[str]:
        return ["--compress", "--input", routed, "--bit", bitstream]

    def retune(self, routed: Path, clock_mhz: float) -> bool:
        """Each divider stands in the file as a word of 7 bits: its value less one; phases as
        they are."""
        text = routed.read_text()
        for name, value in settings(dividers(self.clock_mhz, clock_mhz)).items():
            bits = f"{value - name.endswith('_DIV'):07b}"
            text, count = re.subn(rf"(?m)^word: {name} [01]{{7}}$", f"word: {name} {bits}", text)
            if count != 1:
                raise ValueError(f"{routed.name} has {count} words {name}, not one")
        routed.write_text(text)
        return True
