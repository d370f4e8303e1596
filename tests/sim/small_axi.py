"""A small engine behind AXI4-Lite in Amaranth's simulator, beside its twin."""

from __future__ import annotations

import random
from typing import Any

from echoloom.hdl.axi.lite import Response
from echoloom.hdl.axi.register_map import BUSY, RESET, Own
from echoloom.ir.contract import (
    Destination,
    DrainEntry,
    EngineConfig,
    Image,
    MacEntry,
    SectionEntry,
    XMode,
)
from echoloom.ir.fields import never
from echoloom.ir.sections import SWEPT, Section
from echoloom.sim.golden_axi import GoldenAxi

FRAME = 3


def image() -> Image:
    """Each step, word 1 becomes weight * (sum of the frame); forward steps emit it, too."""
    config = EngineConfig(
        lanes=2, drains=1, weight_depth=8, vector_depth=8, gradient_depth=8, table_depth=8,
        exponent_depth=8, mac_depth=16, drain_depth=16, frame_depth=4, output_depth=4,
    )  # fmt: skip
    end = never(config)
    total = MacEntry(start=0, inner=FRAME, x_mode=XMode.INPUT, x_step=1)
    emit = MacEntry(start=28, inner=2, destination=Destination.EMIT, x_mode=XMode.BROADCAST,
                    x_base=1, x_step=1)  # fmt: skip
    store = DrainEntry(start=13, slot=0, count=2, destination=1)
    nothing = SectionEntry(0, 0, 0, 0)
    sections = dict.fromkeys(SWEPT, nothing)
    sections[Section.FORWARD_STEP] = SectionEntry(0, 0, 32, 32)
    sections[Section.ECHO_STEP] = SectionEntry(3, 2, 28, 28)
    return Image(
        config,
        weight=((1,), (-2,)),
        vector=((5, 6), (7, 8)),
        table=((-1, -2), (3, 4)),
        exponent=((1, 2),),
        mac=(total, emit, MacEntry(end), total, MacEntry(end)),
        drain=(store, DrainEntry(end, 0, 0, 0), store, DrainEntry(end, 0, 0, 0)),
        sections=tuple(sections[section] for section in SWEPT),
        frame=FRAME,
    )


class Axi:
    """A manager whose every access is compared with the twin's answer."""

    def __init__(self, top: Any, twin: GoldenAxi, rng: random.Random) -> None:
        self.top, self.twin, self.rng = top, twin, rng
        self.taken: list[tuple[int, bool]] = []
        self.wanted: list[tuple[int, bool]] = []
        self.sweeps = 0

    async def begin(self, ctx: Any) -> None:
        self.ctx = ctx
        ctx.set(self.top.aresetn, 0)
        await ctx.tick().repeat(3)
        ctx.set(self.top.aresetn, 1)
        await ctx.tick().repeat(80)  # the reset of the engine

    async def outputs(self, ctx: Any) -> None:
        """The receiver: words that are offered stay as they are until they are taken."""
        top, rng, offered = self.top, random.Random(7), None
        while True:
            ready = rng.random() < 0.3
            ctx.set(top.m_axis_outputs_tready, ready)
            _, _, valid, word, last = await ctx.tick().sample(
                top.m_axis_outputs_tvalid, top.m_axis_outputs_tdata, top.m_axis_outputs_tlast
            )
            assert offered is None or (valid, word, last) == offered
            offered = (valid, word, last) if valid and not ready else None
            if ready and valid:
                signed = word - (1 << 32) if word >> 31 else word
                self.taken.append((signed, bool(last)))

    async def _wait(self) -> None:
        while self.rng.random() < 0.4:
            await self.ctx.tick()

    async def raw_read(self, offset: int) -> int:
        top, ctx = self.top, self.ctx
        ctx.set(top.s_axi_araddr, offset)
        ctx.set(top.s_axi_arvalid, 1)
        await ctx.tick().until(top.s_axi_arready)
        ctx.set(top.s_axi_arvalid, 0)
        ctx.set(top.s_axi_araddr, 0x55)
        await self._wait()
        ctx.set(top.s_axi_rready, 1)
        word, self.response = (
            await ctx.tick().sample(top.s_axi_rdata, top.s_axi_rresp).until(top.s_axi_rvalid)
        )
        ctx.set(top.s_axi_rready, 0)
        return word

    async def read(self, offset: int) -> int:
        """Read, and compare."""
        await self._wait()
        word = await self.raw_read(offset)
        expected, response = self.twin.read(offset)
        assert (word, Response(self.response)) == (expected, response), hex(offset)
        return word

    async def write(
        self, offset: int, data: int, strobes: int = 0xF, look: bool = True
    ) -> Response:
        """Write address and data in any order, and compare; then wait for what that started."""
        top, ctx = self.top, self.ctx
        await self._wait()
        channels = {"aw": {"addr": offset}, "w": {"data": data, "strb": strobes}}
        names = self.rng.sample(list(channels), 2)
        for name in names:
            for field, value in channels[name].items():
                ctx.set(getattr(top, f"s_axi_{name}{field}"), value)
            ctx.set(getattr(top, f"s_axi_{name}valid"), 1)
            if name == names[0]:
                await self._wait()
        await ctx.tick().until(top.s_axi_awready & top.s_axi_wready)
        ctx.set(top.s_axi_awvalid, 0)
        ctx.set(top.s_axi_wvalid, 0)
        await self._wait()
        ctx.set(top.s_axi_bready, 1)
        (response,) = await ctx.tick().sample(top.s_axi_bresp).until(top.s_axi_bvalid)
        ctx.set(top.s_axi_bready, 0)
        assert Response(response) == self.twin.write(offset, data, strobes), hex(offset)
        if look:
            await self._settle()
        return Response(response)

    async def samples(self, words: list[int]) -> None:
        """Send samples, as far as they are taken, and wait for what that started."""
        top, ctx = self.top, self.ctx
        for word in words:
            await self._wait()
            ctx.set(top.s_axis_samples_tdata, word & (1 << 32) - 1)
            ctx.set(top.s_axis_samples_tvalid, 1)
            for _ in range(80):
                if ctx.get(top.s_axis_samples_tready):
                    await ctx.tick()
                    self.twin.push(word)
                    break
                await ctx.tick()
            ctx.set(top.s_axis_samples_tvalid, 0)
        await self._settle()

    async def _settle(self) -> None:
        """Until the circuit is as far as the twin, which takes no time. While the twin waits for
        samples, the circuit may have given some of the sweep's outputs already."""
        if self.twin.busy:
            return
        while await self.raw_read(Own.CONTROL) & RESET.mask:
            pass
        while await self.raw_read(Own.STATUS) & BUSY.mask:
            pass
        outputs = self.twin.take()
        self.sweeps += bool(outputs)
        self.wanted += outputs
        for _ in range(200):
            if len(self.taken) >= len(self.wanted):
                break
            await self.ctx.tick()
        assert self.taken == self.wanted
