"""Lattice iCE40, UltraPlus and HX: their PLL, their tools."""

from __future__ import annotations

import json
import re
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
from echoloom.backends.bitstream.targets.ice40_registers import move_registers
from echoloom.backends.bitstream.targets.target import TOP, Target, Toolchain, ports
from echoloom.hdl.pll import PLL_PORTS, chosen, exact, highest, whole_hz
from echoloom.ir.blocks import CHIPS

# Limits from the data sheet, in MHz.
PHASE_DETECTOR = 10, 133
VCO = 533, 1066
OUTPUT = 16, 275
# Below which frequency of the phase detector which filter does.
FILTERS = (17, 1), (26, 2), (44, 3), (66, 4), (101, 5), (133, 6)

_TABLES = re.compile(r"(?ms)^module \\(\S*\.table_\d+)$(.*?)^end$")  # modules: name and text


@dataclass(frozen=True)
class Dividers:
    """The oscillator runs at input / reference * feedback, the output at that / 2**halvings."""

    reference: int
    feedback: int
    halvings: int


@cache
def clocks(input_mhz: float) -> dict[Fraction, Dividers]:
    """Every clock of a whole number of Hz that the PLL makes, with the dividers for it: the
    quickest phase detector first."""
    found: dict[Fraction, Dividers] = {}
    for reference in range(1, 17):
        detector = exact(input_mhz) / reference
        for feedback in range(1, 129):
            oscillator = detector * feedback
            if not (
                PHASE_DETECTOR[0] <= detector <= PHASE_DETECTOR[1]
                and VCO[0] <= oscillator <= VCO[1]
            ):
                continue
            for halvings in range(1, 7):
                clock = oscillator / 2**halvings
                if OUTPUT[0] <= clock <= OUTPUT[1] and whole_hz(clock):
                    found.setdefault(clock, Dividers(reference, feedback, halvings))
    return found


def dividers(input_mhz: float, output_mhz: float) -> Dividers:
    """The dividers that make exactly `output_mhz`. Raises ValueError if there are none."""
    return chosen(clocks(input_mhz), input_mhz, output_mhz)


class Pll(wiring.Component):
    """The PLL. Where the clock's pin is the PLL's own (`own_pin`), SB_PLL40_2_PAD: the pin feeds
    the PLL alone, which hands its clock on; else SB_PLL40_CORE."""

    input: Any
    passed: Any
    output: Any
    locked: Any

    def __init__(self, input_mhz: float, output_mhz: float, own_pin: bool = True) -> None:
        self._own_pin = own_pin
        self._dividers = dividers(input_mhz, output_mhz)
        detector = input_mhz / self._dividers.reference
        self._filter = next(number for limit, number in FILTERS if detector <= limit)
        super().__init__(PLL_PORTS)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        settings = (
            ("p", "FEEDBACK_PATH", "SIMPLE"),
            ("p", "DIVR", Const(self._dividers.reference - 1, 4)),
            ("p", "DIVF", Const(self._dividers.feedback - 1, 7)),
            ("p", "DIVQ", Const(self._dividers.halvings, 3)),
            ("p", "FILTER_RANGE", Const(self._filter, 3)),
            ("i", "RESETB", Const(1)),
            ("i", "BYPASS", Const(0)),
            ("o", "LOCK", self.locked),
        )
        if self._own_pin:
            m.submodules.primitive = Instance(
                "SB_PLL40_2_PAD",
                *settings,
                ("p", "PLLOUT_SELECT_PORTB", "GENCLK"),
                ("i", "PACKAGEPIN", self.input),
                ("o", "PLLOUTGLOBALA", self.passed),
                ("o", "PLLOUTGLOBALB", self.output),
            )
        else:
            m.d.comb += self.passed.eq(self.input)
            m.submodules.primitive = Instance(
                "SB_PLL40_CORE",
                *settings,
                ("p", "PLLOUT_SELECT", "GENCLK"),
                ("i", "REFERENCECLK", self.input),
                ("o", "PLLOUTGLOBAL", self.output),
            )
        return m


@dataclass(frozen=True, kw_only=True)
class Ice40(Target):
    """A board with an iCE40 UltraPlus, which has no LUT RAM; a weight is 16 bits wide, as its
    multiplier. Its router's file keeps the PLL's settings among the pins', so that a design is
    routed anew for the clock that was chosen."""

    package: str
    synthesis: str = "synth_ice40 -dsp -spram -device u"

    own_pin: ClassVar = True  # whether the boards' clocks come by the PLL's pin
    parts: ClassVar = False  # logic cells are scarce: what lanes have in common is there once
    routed: ClassVar = "asc"
    resources: ClassVar = {
        "luts": "ICESTORM_LC",  # each has a carry and a register too
        "dsps": "ICESTORM_DSP",
        "brams": "ICESTORM_RAM",
        "single port RAMs": "ICESTORM_SPRAM",
    }

    def toolchain(self) -> Toolchain:
        return Toolchain(tools.yosys(), tools.nextpnr_ice40(), tools.icepack())

    def pll(self, output_mhz: float) -> Component:
        return Pll(self.clock_mhz, output_mhz, self.own_pin)

    def clock_below(self, limit_mhz: float) -> float | None:
        return highest(clocks(self.clock_mhz), limit_mhz)

    def constraints(self, top: Component, clocks: Mapping[str, float]) -> dict[str, str]:
        lines = [f"set_io {bit} {site}" for bit, site, _ in ports(self, top)]
        lines += [f"set_frequency {name} {mhz:.10g}" for name, mhz in clocks.items()]
        return {"top.pcf": "\n".join(lines) + "\n"}

    def prepare(self, rtlil: str) -> tuple[str, ...]:
        """A table that one drain reads has one address for reading and writing: it goes into single
        port RAM, which holds nothing at first, and leaves its blocks to others."""
        return tuple(
            command
            for name, text in _TABLES.findall(rtlil)
            if text.count("cell $memrd") == 1
            for command in (
                f"delete {name}/t:$meminit*",
                f'setattr -set ram_style "huge" {name}/m:*',
            )
        )

    def finish(self, netlist: Path) -> None:
        design = json.loads(netlist.read_text())
        move_registers(design, TOP, CHIPS[self.chip].blocks)
        netlist.write_text(json.dumps(design))

    def route_arguments(self, netlist: str, routed: str, report: str, seed: int) -> list[str]:
        return [
            *(self.device, "--package", self.package, "--json", netlist, "--pcf", "top.pcf"),
            *("--asc", routed, "--report", report, "--seed", str(seed), "--timing-allow-fail"),
        ]

    def pack_arguments(self, routed: str, bitstream: str) -> list[str]:
        return [routed, bitstream]


@dataclass(frozen=True, kw_only=True)
class Ice40Hx(Ice40):
    """A board with an iCE40 HX, which has no multipliers, products are made of logic cells, and no
    single port RAM."""

    synthesis: str = "synth_ice40 -device hx"

    own_pin: ClassVar = False
    resources: ClassVar = {"luts": "ICESTORM_LC", "brams": "ICESTORM_RAM"}

    def prepare(self, rtlil: str) -> tuple[str, ...]:
        return ()
