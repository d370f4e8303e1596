"""The engine with its host bus as two streams: the interface "stream"."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from echoloom.hdl.axi.core import COUNT_BITS, Core
from echoloom.hdl.axi.streams import connect_streams, stream_ports
from echoloom.hdl.contents import EMPTY, Contents
from echoloom.hdl.layouts import HOST_BITS, REQUEST
from echoloom.ir.contract import EngineConfig, Timing

FIELDS = ("write", "space", "lane", "address", "data")


class StreamTop(wiring.Component):
    """All ports are flat and documented in `docs/inside_other_systems.md`.

    `request_*` and `response_*` are the streams of `docs/engine.md`, a port a field. Latencies are
    those of `Core`; `aresetn` is registered once.
    """

    aclk: Any
    aresetn: Any

    def __init__(self, config: EngineConfig, timing: Timing, contents: Contents = EMPTY) -> None:
        self._core = Core(config, timing, contents)
        super().__init__(
            {
                **stream_ports(config),
                "clear": In(1),
                "self_start": In(1),
                "output_words": In(COUNT_BITS),
                "busy": Out(1),
                "done": Out(1),
                "request_valid": In(1),
                "request_ready": Out(1),
                **{f"request_{name}": In(REQUEST[name].width) for name in FIELDS},
                "response_valid": Out(1),
                "response_ready": In(1),
                "response_data": Out(HOST_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.core = core = self._core
        connect_streams(m, self, core)
        ports: Any = self
        m.d.comb += [
            core.clear.eq(ports.clear),
            core.self_start.eq(ports.self_start),
            core.output_words.eq(ports.output_words),
            ports.busy.eq(core.busy),
            ports.done.eq(core.done),
            core.request.valid.eq(ports.request_valid),
            ports.request_ready.eq(core.request.ready),
            *(core.request.payload[name].eq(getattr(ports, f"request_{name}")) for name in FIELDS),
            ports.response_valid.eq(core.response.valid),
            core.response.ready.eq(ports.response_ready),
            ports.response_data.eq(core.response.payload),
        ]
        return m
