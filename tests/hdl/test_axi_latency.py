"""Latencies of the AXI parts, in cycles, and what AXI asks of their handshakes."""

from __future__ import annotations

from typing import Any

import pytest
from amaranth.sim import Simulator
from test_engine_host import sums

from echoloom.hdl.axi.axi_top import LITE_PORTS, AxiTop
from echoloom.hdl.axi.lite import Lite
from echoloom.hdl.axi.register_map import Own, engine_offset
from echoloom.hdl.axi.registers import Presets, Registers
from echoloom.hdl.axi.stream_top import StreamTop
from echoloom.hdl.contents import contents_of
from echoloom.hdl.engine import Engine
from echoloom.hdl.pipeline import RESET_CYCLES
from echoloom.ir.contract import Register

IMAGE = sums(emit=True)
START = {Register.LENGTH: 1, Register.OUTPUT_STEP: 1}


def axi_top(**presets: Any) -> AxiTop:
    contents = contents_of(IMAGE, START)
    return AxiTop(IMAGE.config, IMAGE.timing, contents, Presets(**presets))


def simulate(top: Any, body: Any) -> None:
    simulator = Simulator(top)
    simulator.add_clock(1e-6)
    simulator.add_testbench(body)
    simulator.run()


async def until(ctx: Any, signal: Any) -> int:
    """Clock edges until a signal is high."""
    edges = 0
    while not ctx.get(signal):
        await ctx.tick()
        edges += 1
        assert edges < 500
    return edges


async def read(ctx: Any, top: Any, offset: int) -> tuple[int, int]:
    """What a register holds, and the cycles from ARVALID to RVALID."""
    ctx.set(top.s_axi_araddr, offset)
    ctx.set(top.s_axi_arvalid, 1)
    ctx.set(top.s_axi_rready, 1)
    edges = await until(ctx, top.s_axi_arready)
    await ctx.tick()
    ctx.set(top.s_axi_arvalid, 0)
    edges += 1 + await until(ctx, top.s_axi_rvalid)
    word = ctx.get(top.s_axi_rdata)
    await ctx.tick()
    ctx.set(top.s_axi_rready, 0)
    return word, edges


async def write(ctx: Any, top: Any, offset: int, word: int) -> int:
    """The cycles from AWVALID and WVALID to BVALID."""
    ctx.set(top.s_axi_awaddr, offset)
    ctx.set(top.s_axi_wdata, word)
    ctx.set(top.s_axi_wstrb, 0xF)
    for name in ("awvalid", "wvalid", "bready"):
        ctx.set(getattr(top, f"s_axi_{name}"), 1)
    edges = await until(ctx, top.s_axi_awready)
    await ctx.tick()
    ctx.set(top.s_axi_awvalid, 0)
    ctx.set(top.s_axi_wvalid, 0)
    edges += 1 + await until(ctx, top.s_axi_bvalid)
    await ctx.tick()
    ctx.set(top.s_axi_bready, 0)
    return edges


def test_registers_answer_when_they_are_said_to() -> None:
    top = axi_top()
    own = Lite.before + Registers.latency + Lite.after
    engine_read = Engine.read_latency(IMAGE.config) + 2  # as `Host` says

    async def body(ctx: Any) -> None:
        await ctx.tick().repeat(2 * RESET_CYCLES)
        assert own == AxiTop.latency == 4
        assert (await read(ctx, top, Own.VERSION))[1] == own
        assert await write(ctx, top, Own.OUTPUT_WORDS, 7) == own
        assert (await read(ctx, top, 0x7FC))[1] == own
        assert await write(ctx, top, engine_offset(Register.LENGTH), 3) == own + Registers.engine
        word, edges = await read(ctx, top, engine_offset(Register.LENGTH))
        assert (word, edges) == (3, own + Registers.engine + engine_read)
        assert edges == own + IMAGE.config.lanes + 21  # as the page says

    simulate(top, body)


def test_no_output_depends_on_an_input_of_the_same_cycle() -> None:
    """AXI forbids such ways through a component, whatever state it is in."""
    for top in (axi_top(), StreamTop(IMAGE.config, IMAGE.timing, contents_of(IMAGE, START))):
        members = top.signature.members
        ins = [n for n, m in members.items() if m.flow.name == "In" and n != "aclk"]
        outs = [n for n, m in members.items() if m.flow.name == "Out"]

        async def body(ctx: Any, top: Any = top, ins: Any = ins, outs: Any = outs) -> None:
            for cycle in range(400):
                before = [ctx.get(getattr(top, name)) for name in outs]
                for number, name in enumerate(ins):
                    if name != "aresetn" and name != "clear":
                        ctx.set(getattr(top, name), (cycle * 2654435761 >> number) & 1)
                assert before == [ctx.get(getattr(top, name)) for name in outs], cycle
                await ctx.tick()

        simulate(top, body)


def test_streams_and_the_start_of_a_sweep() -> None:
    """An output is at the port a cycle after the engine gave it; `interrupt`; TLAST; reset."""
    top = axi_top(self_start=True, output_words=3)
    engine = top.engine

    async def body(ctx: Any) -> None:
        assert not ctx.get(top.s_axis_samples_tready)
        edges = await until(ctx, top.s_axis_samples_tready)
        assert RESET_CYCLES < edges <= RESET_CYCLES + 2
        for value in (10, 20, (1 << 32) - 30):
            ctx.set(top.s_axis_samples_tdata, value)
            ctx.set(top.s_axis_samples_tvalid, 1)
            assert ctx.get(engine.samples.valid)
            await ctx.tick().until(top.s_axis_samples_tready)
        ctx.set(top.s_axis_samples_tvalid, 0)
        await until(ctx, engine.busy)
        await until(ctx, engine.outputs.valid)
        assert not ctx.get(top.m_axis_outputs_tvalid)
        await ctx.tick()
        words = []
        for _ in range(3):
            await until(ctx, top.m_axis_outputs_tvalid)
            offered = [await _offered(ctx, top) for _ in range(3)]
            assert len(set(offered)) == 1  # it stays until it is taken
            words.append(offered[0])
            ctx.set(top.m_axis_outputs_tready, 1)
            await ctx.tick()
            ctx.set(top.m_axis_outputs_tready, 0)
        assert words == [(0, 0), (0, 0), (0, 1)]

    simulate(top, body)


async def _offered(ctx: Any, top: Any) -> tuple[int, int]:
    """The word at the output, and whether it is a packet's last; then a cycle goes by."""
    assert ctx.get(top.m_axis_outputs_tvalid)
    offered = ctx.get(top.m_axis_outputs_tdata), ctx.get(top.m_axis_outputs_tlast)
    await ctx.tick()
    return offered


@pytest.mark.parametrize("hard", [False, True])
def test_an_offered_output_outlasts_a_clear_but_no_reset(hard: bool) -> None:
    top = axi_top(self_start=True)

    async def body(ctx: Any) -> None:
        await until(ctx, top.s_axis_samples_tready)
        ctx.set(top.s_axis_samples_tvalid, 1)
        ctx.set(top.s_axis_samples_tdata, 5)
        await until(ctx, top.m_axis_outputs_tvalid)
        ctx.set(top.s_axis_samples_tvalid, 0)
        word = ctx.get(top.m_axis_outputs_tdata)
        if hard:
            ctx.set(top.aresetn, 0)
            await ctx.tick().repeat(2)
            assert not ctx.get(top.m_axis_outputs_tvalid)
            ctx.set(top.aresetn, 1)
        else:
            await write(ctx, top, Own.CONTROL, 1)
            assert (await read(ctx, top, Own.CONTROL))[0] == 1
            assert ctx.get(top.m_axis_outputs_tvalid)
            assert ctx.get(top.m_axis_outputs_tdata) == word
        await ctx.tick().repeat(RESET_CYCLES + 3)
        assert (await read(ctx, top, Own.CONTROL))[0] == (2 if hard else 0)
        assert (await read(ctx, top, Own.STATUS))[0] == (0 if hard else 8)
        ctx.set(top.m_axis_outputs_tready, 1)
        await ctx.tick().repeat(200)
        assert not ctx.get(top.m_axis_outputs_tvalid)

    simulate(top, body)


def test_the_ports_of_axi4_lite_are_all_there() -> None:
    """As AMBA names them, so that tools infer the interface."""
    channels = {
        "aw": ("addr", "prot", "valid", "ready"), "w": ("data", "strb", "valid", "ready"),
        "b": ("resp", "valid", "ready"), "ar": ("addr", "prot", "valid", "ready"),
        "r": ("data", "resp", "valid", "ready"),
    }  # fmt: skip
    assert LITE_PORTS.keys() == {f"s_axi_{c}{s}" for c, own in channels.items() for s in own}
