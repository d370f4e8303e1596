"""What both interfaces have: clock, reset, and AXI4-Stream for samples and outputs."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import ClockDomain, Module
from amaranth.lib.wiring import In, Out

from echoloom.hdl.axi.core import Core
from echoloom.ir.contract import EngineConfig

BYTE = 8


def padded(bits: int) -> int:
    """`bits` as whole bytes, as TDATA is."""
    return -(-bits // BYTE) * BYTE


def stream_ports(config: EngineConfig) -> dict[str, Any]:
    """Ports by the names from which tools infer interfaces."""
    bits = padded(config.word)
    return {
        "aclk": In(1),
        "aresetn": In(1, init=1),
        "s_axis_samples_tdata": In(bits),
        "s_axis_samples_tvalid": In(1),
        "s_axis_samples_tready": Out(1),
        "m_axis_outputs_tdata": Out(bits),
        "m_axis_outputs_tvalid": Out(1),
        "m_axis_outputs_tready": In(1),
        "m_axis_outputs_tlast": Out(1),
    }


def connect_streams(m: Module, top: Any, core: Core) -> None:
    """Clock, reset and sample streams of a top level that has the ports of `stream_ports`."""
    domain = ClockDomain("sync", reset_less=True)
    domain.clk = top.aclk
    m.domains.sync = domain
    m.d.sync += core.reset.eq(~top.aresetn)
    word = core.outputs.payload.data
    m.d.comb += [
        core.samples.payload.eq(top.s_axis_samples_tdata[: len(word)]),
        core.samples.valid.eq(top.s_axis_samples_tvalid),
        top.s_axis_samples_tready.eq(core.samples.ready),
        top.m_axis_outputs_tdata.eq(word),
        top.m_axis_outputs_tlast.eq(core.outputs.payload.last),
        top.m_axis_outputs_tvalid.eq(core.outputs.valid),
        core.outputs.ready.eq(top.m_axis_outputs_tready),
    ]
