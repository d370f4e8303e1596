"""Amaranth components as RTLIL, which Yosys reads fastest, and as Verilog."""

from __future__ import annotations

from amaranth.back import rtlil, verilog
from amaranth.lib.wiring import Component


def to_rtlil(component: Component, name: str) -> str:
    """The component as RTLIL text with the top module `name`."""
    return rtlil.convert(component, name=name, emit_src=False)


def to_verilog(component: Component, name: str) -> str:
    """The component as Verilog-2001 text with the top module `name`.

    Ports are the signature's members, joined by two underscores: `request__payload`, and
    `clk` and `rst` of the default clock domain. The same component gives the same text.
    """
    return verilog.convert(component, name=name, emit_src=False, strip_internal_attrs=True)
