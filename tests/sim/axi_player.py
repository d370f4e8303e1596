"""Imported by cocotb inside the simulator: plays passes on an exported engine with cocotbext-axi.

What to play lies in the job's folder; what came out goes there. With a seed every channel is held
back at random, by its pause generator.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge
from cocotbext.axi import (
    AxiLiteBus,
    AxiLiteMaster,
    AxiStreamBus,
    AxiStreamFrame,
    AxiStreamSink,
    AxiStreamSource,
)
from cocotbext.axi.stream import define_stream

from echoloom.hdl.axi.register_map import (
    DONE,
    INTERRUPT,
    LANE,
    SPACE,
    Own,
    engine_offset,
)
from echoloom.ir.contract import Register, Space

JOB = "ECHOLOOM_JOB"
LIMIT = "ECHOLOOM_LIMIT_US"
FIELDS = ("write", "space", "lane", "address", "data")
HIGH = 4  # bytes from the lower half of a word to the upper one

RequestBus, RequestTransaction, RequestSource, _, _ = define_stream(
    "Request", signals=["valid", "ready", *FIELDS]
)
ResponseBus, _, _, ResponseSink, _ = define_stream("Response", signals=["valid", "ready", "data"])


def pauses(rng: random.Random, longest: int) -> Iterator[bool]:
    """Whether a channel is held back, cycle by cycle: mostly short waits, some long ones."""
    while True:
        kind = rng.random()
        if kind < 0.5:
            yield from [False] * rng.randint(1, 8)
        elif kind < 0.97:
            yield from [True] * rng.randint(1, 4)
        else:
            yield from [True] * rng.randint(1, longest)


class AxiHost:
    """Accesses through AXI4-Lite."""

    def __init__(self, dut: Any) -> None:
        bus = AxiLiteBus.from_prefix(dut, "s_axi")
        self.interrupt = dut.interrupt
        self.lite = AxiLiteMaster(bus, dut.aclk, dut.aresetn, reset_active_level=False)
        write: Any = self.lite.write_if
        read: Any = self.lite.read_if
        self.channels = [write.aw_channel, write.w_channel, write.b_channel, read.ar_channel,
                         read.r_channel]  # fmt: skip
        self.target: tuple[int, int, int] | None = None

    async def _put(self, offset: int, word: int) -> None:
        if word >> 32:
            await self.lite.write_dword(offset + HIGH, word >> 32)
        await self.lite.write_dword(offset, word & 0xFFFFFFFF)

    async def _get(self, offset: int) -> int:
        low = await self.lite.read_dword(offset)
        return await self.lite.read_dword(offset + HIGH) << 32 | low

    async def _aim(self, space: int, lane: int, address: int) -> int:
        if self.target != (space, lane, address):
            word = space << SPACE.low | lane << LANE.low | address
            await self.lite.write_dword(int(Own.TARGET), word)
        self.target = (space, lane, address + 1)
        return int(Own.DATA_LOW)

    async def write(self, space: int, lane: int, address: int, word: int) -> None:
        if space == Space.REGISTER:
            await self._put(engine_offset(Register(address)), word)
        else:
            await self._put(await self._aim(space, lane, address), word)

    async def read(self, space: int, lane: int, address: int) -> int:
        if space == Space.REGISTER:
            return await self._get(engine_offset(Register(address)))
        return await self._get(await self._aim(space, lane, address))

    async def done(self) -> None:
        """Wait until the sweep is over."""
        if not int(self.interrupt.value):
            await RisingEdge(self.interrupt)
        assert await self.lite.read_dword(int(Own.STATUS)) == DONE.mask

    async def begin(self) -> None:
        """Sweeps are this host's to start."""
        await self.lite.write_dword(int(Own.CONTROL), INTERRUPT.mask)


class StreamHost:
    """Accesses through the streams `request` and `response`."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        named = (RequestBus.from_prefix(dut, "request"), ResponseBus.from_prefix(dut, "response"))
        dut.clear.value, dut.self_start.value = 0, 1
        self.requests = RequestSource(named[0], dut.aclk, dut.aresetn, False)
        self.responses = ResponseSink(named[1], dut.aclk, dut.aresetn, False)
        self.channels = [self.requests, self.responses]

    async def _ask(self, *fields: int) -> None:
        await self.requests.send(RequestTransaction(**dict(zip(FIELDS, fields, strict=True))))

    async def write(self, space: int, lane: int, address: int, word: int) -> None:
        await self._ask(1, space, lane, address, word)

    async def read(self, space: int, lane: int, address: int) -> int:
        await self._ask(0, space, lane, address, 0)
        return int((await self.responses.recv()).data)

    async def done(self) -> None:
        """Wait until the sweep is over."""
        await self.requests.wait()
        await ClockCycles(self.dut.aclk, 8)
        while not int(self.dut.done.value):
            await RisingEdge(self.dut.done)

    async def begin(self) -> None:
        """Sweeps are this host's to start."""
        self.dut.self_start.value = 0


@cocotb.test(timeout_time=int(os.environ[LIMIT]), timeout_unit="us")
async def play(dut: Any) -> None:
    """Reset, load what is to be loaded, play the passes one after the other."""
    job = Path(os.environ[JOB])
    told = json.loads((job / "job.json").read_text())
    host = AxiHost(dut) if told["interface"] == "axi" else StreamHost(dut)
    source = AxiStreamSource(
        AxiStreamBus.from_prefix(dut, "s_axis_samples"), dut.aclk, dut.aresetn, False, byte_lanes=1
    )
    sink = AxiStreamSink(
        AxiStreamBus.from_prefix(dut, "m_axis_outputs"), dut.aclk, dut.aresetn, False, byte_lanes=1
    )
    if told["stall_seed"] is not None:
        for number, channel in enumerate((*host.channels, source, sink)):
            rng = random.Random(f"{told['stall_seed']} {number}")
            channel.set_pause_generator(pauses(rng, 12 if channel in host.channels else 600))
    if told["interface"] == "stream":
        dut.output_words.value = told["output_words"]
    dut.aresetn.value = 0
    Clock(dut.aclk, 4, "ns").start()
    await ClockCycles(dut.aclk, 4)
    dut.aresetn.value = 1
    await ClockCycles(dut.aclk, 80)

    if told["host"]:
        await host.begin()
    for space, lane, address, word in told["load"]:
        await host.write(space, lane, address, word)
    results = []
    for one in told["passes"]:
        for space, lane, address, word in one["writes"]:
            await host.write(space, lane, address, word)
        await source.send(AxiStreamFrame(one["samples"]))
        packets = [list((await sink.recv()).tdata) for _ in range(one["packets"])]
        reads = []
        if told["host"]:
            await host.done()
            reads = [await host.read(*place) for place in one["reads"]]
        results.append({"packets": packets, "reads": reads})
    await ClockCycles(dut.aclk, 64)
    assert sink.empty() and sink.idle(), "outputs that nobody expected"
    assert not int(dut.m_axis_outputs_tvalid.value)
    (job / "result.json").write_text(json.dumps(results))
