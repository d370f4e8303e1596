"""The engine behind AXI4-Lite: the interface "axi"."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from echoloom.hdl.axi.core import Core
from echoloom.hdl.axi.lite import WORD, Lite
from echoloom.hdl.axi.register_map import ADDRESS_WIDTH, WORD_BYTES
from echoloom.hdl.axi.registers import Presets, Registers
from echoloom.hdl.axi.streams import connect_streams, stream_ports
from echoloom.hdl.contents import EMPTY, Contents
from echoloom.hdl.engine import Engine
from echoloom.ir.contract import EngineConfig, Timing

LITE_PORTS = {
    "s_axi_awaddr": In(ADDRESS_WIDTH),
    "s_axi_awprot": In(3),
    "s_axi_awvalid": In(1),
    "s_axi_awready": Out(1),
    "s_axi_wdata": In(WORD),
    "s_axi_wstrb": In(WORD_BYTES),
    "s_axi_wvalid": In(1),
    "s_axi_wready": Out(1),
    "s_axi_bresp": Out(2),
    "s_axi_bvalid": Out(1),
    "s_axi_bready": In(1),
    "s_axi_araddr": In(ADDRESS_WIDTH),
    "s_axi_arprot": In(3),
    "s_axi_arvalid": In(1),
    "s_axi_arready": Out(1),
    "s_axi_rdata": Out(WORD),
    "s_axi_rresp": Out(2),
    "s_axi_rvalid": Out(1),
    "s_axi_rready": In(1),
}


class AxiTop(wiring.Component):
    """All ports are flat and documented in `docs/inside_other_systems.md`.

    Latencies are those of `Core`, `Lite` and `Registers`: from ARVALID (or AWVALID and WVALID) to
    RVALID (BVALID) `latency` cycles for a register that answers at once. `aresetn` is registered
    once.
    """

    latency = 4

    aclk: Any
    aresetn: Any

    @property
    def engine(self) -> Engine:
        """The engine inside, for who simulates it."""
        return self._core.engine

    def __init__(
        self,
        config: EngineConfig,
        timing: Timing,
        contents: Contents = EMPTY,
        presets: Presets | None = None,
    ) -> None:
        self._core = Core(config, timing, contents)
        self._registers = Registers(config, timing, presets or Presets())
        super().__init__({**stream_ports(config), **LITE_PORTS, "interrupt": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        core, registers, lite = self._core, self._registers, Lite()
        connect_streams(m, self, core)
        held = Signal(init=1)
        m.d.sync += held.eq(~self.aresetn)
        m.submodules.core = core
        m.submodules.registers = ResetInserter(held)(registers)
        m.submodules.lite = ResetInserter(held)(lite)
        connect(m, lite.access, registers.access)
        connect(m, registers.answer, lite.answer)
        connect(m, registers.request, core.request)
        connect(m, core.response, registers.response)
        ports: Any = self
        m.d.comb += [
            core.clear.eq(registers.clear),
            core.self_start.eq(registers.self_start),
            core.output_words.eq(registers.output_words),
            registers.clearing.eq(~core.ready),
            registers.busy.eq(core.busy),
            registers.done.eq(core.done),
            registers.frame_waits.eq(core.frame_waits),
            registers.output_waits.eq(core.outputs.valid),
            ports.interrupt.eq(registers.interrupt),
            lite.aw.payload.eq(ports.s_axi_awaddr),
            lite.w.payload.data.eq(ports.s_axi_wdata),
            lite.w.payload.strobes.eq(ports.s_axi_wstrb),
            lite.ar.payload.eq(ports.s_axi_araddr),
            ports.s_axi_bresp.eq(lite.b.payload),
            ports.s_axi_rdata.eq(lite.r.payload.data),
            ports.s_axi_rresp.eq(lite.r.payload.response),
        ]
        for name in ("aw", "w", "ar"):
            channel = getattr(lite, name)
            m.d.comb += channel.valid.eq(getattr(ports, f"s_axi_{name}valid"))
            m.d.comb += getattr(ports, f"s_axi_{name}ready").eq(channel.ready)
        for name in ("b", "r"):
            channel = getattr(lite, name)
            m.d.comb += getattr(ports, f"s_axi_{name}valid").eq(channel.valid)
            m.d.comb += channel.ready.eq(getattr(ports, f"s_axi_{name}ready"))
        return m
