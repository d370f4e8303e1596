"""The ECP5's phase-locked loop as a clock source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Const, Instance, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

# Limits from the data sheet; the tools check none of them.
VCO_MHZ = 400.0, 800.0
VCO_BEST_MHZ = 600.0
PHASE_DETECTOR_MHZ = 10.0, 400.0


@dataclass(frozen=True)
class Dividers:
    """output = input / reference * feedback; the oscillator runs at output * post."""

    reference: int
    feedback: int
    post: int


def dividers(input_mhz: float, output_mhz: float) -> Dividers:
    """The dividers that make exactly `output_mhz`, with the oscillator near its middle.

    Raises ValueError if there are none.
    """
    fits = [
        Dividers(reference, feedback, post)
        for reference in range(1, 17)
        if PHASE_DETECTOR_MHZ[0] <= input_mhz / reference <= PHASE_DETECTOR_MHZ[1]
        for feedback in range(1, 81)
        if abs(input_mhz / reference * feedback - output_mhz) < 1e-6 * output_mhz
        for post in range(1, 129)
        if VCO_MHZ[0] <= output_mhz * post <= VCO_MHZ[1]
    ]
    if not fits:
        raise ValueError(f"the PLL cannot make {output_mhz:g} MHz from {input_mhz:g} MHz")
    return min(fits, key=lambda fit: (fit.reference, abs(output_mhz * fit.post - VCO_BEST_MHZ)))


class Pll(wiring.Component):
    """Makes `output` of `output_mhz` from `input` of `input_mhz`; `locked` when it is stable."""

    input: Any
    output: Any
    locked: Any

    def __init__(self, input_mhz: float, output_mhz: float) -> None:
        self._frequencies = input_mhz, output_mhz
        self._dividers = dividers(input_mhz, output_mhz)
        super().__init__({"input": In(1), "output": Out(1), "locked": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        input_mhz, output_mhz = self._frequencies
        low, high = Const(0), Const(1)
        m.submodules.primitive = Instance(
            "EHXPLLL",
            ("a", "FREQUENCY_PIN_CLKI", f"{input_mhz:g}"),
            ("a", "FREQUENCY_PIN_CLKOP", f"{output_mhz:g}"),
            ("a", "ICP_CURRENT", "12"),
            ("a", "LPF_RESISTOR", "8"),
            ("a", "MFG_ENABLE_FILTEROPAMP", "1"),
            ("a", "MFG_GMCREF_SEL", "2"),
            ("p", "CLKI_DIV", self._dividers.reference),
            ("p", "CLKFB_DIV", self._dividers.feedback),
            ("p", "FEEDBK_PATH", "CLKOP"),
            ("p", "CLKOP_ENABLE", "ENABLED"),
            ("p", "CLKOP_DIV", self._dividers.post),
            ("p", "CLKOP_CPHASE", self._dividers.post // 2),
            ("p", "CLKOP_FPHASE", 0),
            ("p", "OUTDIVIDER_MUXA", "DIVA"),
            ("p", "PLLRST_ENA", "DISABLED"),
            ("p", "INTFB_WAKE", "DISABLED"),
            ("p", "STDBY_ENABLE", "DISABLED"),
            ("p", "DPHASE_SOURCE", "DISABLED"),
            ("i", "CLKI", self.input),
            ("i", "CLKFB", self.output),
            ("i", "RST", low),
            ("i", "STDBY", low),
            ("i", "PHASESEL0", low),
            ("i", "PHASESEL1", low),
            ("i", "PHASEDIR", high),
            ("i", "PHASESTEP", high),
            ("i", "PHASELOADREG", high),
            ("i", "PLLWAKESYNC", low),
            ("i", "ENCLKOP", low),
            ("o", "CLKOP", self.output),
            ("o", "LOCK", self.locked),
        )
        return m
