"""Runs passes on the RTL engine in Amaranth's simulator and on its golden twin."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from amaranth.sim import Simulator

from echoloom.hdl.contents import EMPTY, contents_of
from echoloom.hdl.engine import Engine
from echoloom.hdl.golden import GoldenEngine
from echoloom.hdl.pass_results import PassResult, Write, neutral
from echoloom.ir.arithmetic import Rounding
from echoloom.ir.contract import (
    DrainEntry,
    EngineConfig,
    Image,
    MacEntry,
    Register,
    SectionEntry,
    Space,
    Timing,
)
from echoloom.ir.engine_passes import EnginePass
from echoloom.ir.entry_layouts import COLUMN_BITS
from echoloom.ir.fields import drain_fields, mac_fields, never, pack, section_fields
from echoloom.ir.flags import Flag
from echoloom.ir.sections import Section, sections_of

Request = tuple[int, Space, int, int, int]  # write, space, lane, address, data
FRAME = 4


@dataclass(frozen=True)
class Pass:
    frames: tuple[tuple[int, ...], ...] = ()
    kind: EnginePass = EnginePass.FORWARD
    registers: Mapping[Register, int] = field(default_factory=dict)
    writes: tuple[tuple[Space, int, int, int], ...] = ()  # before it: space, lane, address, word


@dataclass
class Observed(PassResult):
    """A pass of the RTL, and the memories after it."""

    stalls: int = 0
    weight: list[list[int]] = field(default_factory=list)
    vector: list[list[int]] = field(default_factory=list)
    gradient: list[list[int]] = field(default_factory=list)


def small(lanes: int, drains: int, **changes: Any) -> EngineConfig:
    """A configuration that simulates quickly."""
    sizes = {
        "weight_depth": 64, "vector_depth": 16, "gradient_depth": 16, "table_depth": 64,
        "exponent_depth": 8, "mac_depth": 32, "drain_depth": 32, "frame_depth": 8,
        "output_depth": 8,
    }  # fmt: skip
    return EngineConfig(lanes=lanes, drains=drains, **{**sizes, **changes})


def numbers(shape: tuple[int, ...], limit: int = 1000, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-limit, limit, shape)


def after_tree(config: EngineConfig) -> int:
    return Timing().tree_to_slot + config.tree_latency


def image_of(
    config: EngineConfig,
    sections: Mapping[Section, tuple[Sequence[MacEntry], Sequence[DrainEntry], int]],
    *,
    weight: Sequence[Sequence[int]] | np.ndarray = (),
    vector: Sequence[Sequence[int]] | np.ndarray = (),
    table: Sequence[tuple[int, int]] = (),
    exponent: Sequence[Sequence[int]] | np.ndarray = (),
    frame: int = FRAME,
) -> Image:
    """An image of hand-written sections: (MAC entries, drain entries, length)."""
    mac: list[MacEntry] = []
    drain: list[DrainEntry] = []
    entries = []
    end = never(config)
    for section in sections_of(config.learns):
        macs, drains, length = sections.get(section, ((), (), 0))
        entries.append(SectionEntry(len(mac), len(drain), length, length))
        mac += [*macs, MacEntry(start=end)]
        drain += [*drains, DrainEntry(start=end, slot=0, count=0, destination=0)]
    return Image(
        config=config,
        weight=_integers(weight),
        vector=_integers(vector),
        table=tuple(table),
        exponent=_integers(exponent),
        mac=tuple(mac),
        drain=tuple(drain),
        sections=tuple(entries),
        frame=frame,
    )


def _integers(banks: Sequence[Sequence[int]] | np.ndarray) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(int(word) for word in bank) for bank in banks)


def load(image: Image) -> Iterator[Request]:
    """The requests that fill a fresh engine's memories, which are zero."""
    config = image.config
    for space, banks in (
        (Space.WEIGHT, image.weight),
        (Space.VECTOR, image.vector),
        (Space.EXPONENT, image.exponent),
    ):
        for lane, bank in enumerate(banks):
            yield from ((1, space, lane, at, word) for at, word in enumerate(bank) if word)
    for address, (base, slope) in enumerate(image.table):
        word = config.word
        if base or slope:
            yield 1, Space.TABLE, 0, address, slope << word | base & (1 << word) - 1
    for space, layout, entries in (
        (Space.MAC, mac_fields(config), image.mac),
        (Space.DRAIN, drain_fields(config), image.drain),
        (Space.SECTION, section_fields(config), image.sections),
    ):
        for address, entry in enumerate(entries):
            packed = pack(layout, entry)
            for column in range(-(-sum(layout.values()) // COLUMN_BITS)):
                yield 1, space, column, address, packed >> COLUMN_BITS * column
    yield 1, Space.REGISTER, 0, Register.FRAME, image.frame


class Bench:
    """One engine under simulation; `run` may be called once. `built_in`: its memories hold the
    image from the start."""

    def __init__(
        self,
        image: Image,
        *,
        rounding: Rounding = Rounding.HALF_EVEN,
        seed: int | None = None,
        built_in: bool = False,
    ) -> None:
        self.image = image
        self._built_in = built_in
        contents = contents_of(image, {}) if built_in else EMPTY
        self.engine = Engine(image.config, image.timing, rounding, contents)
        self._random = random.Random(seed)
        self._stalling = seed is not None
        self._outputs: list[int] = []
        self._writes: list[Write] = []
        self.observed: list[Observed] = []

    def _pause(self) -> bool:
        return self._stalling and self._random.random() < 0.93

    async def request(self, ctx: Any, request: Request) -> int | None:
        write, space, lane, address, data = request
        port = self.engine.request
        ctx.set(port.payload, {"write": write, "space": space, "lane": lane,
                               "address": address, "data": data & (1 << 64) - 1})  # fmt: skip
        ctx.set(port.valid, 1)
        await ctx.tick().until(port.ready)
        ctx.set(port.valid, 0)
        if write:
            return None
        ctx.set(self.engine.response.ready, 1)
        (word,) = (
            await ctx.tick().sample(self.engine.response.payload).until(self.engine.response.valid)
        )
        ctx.set(self.engine.response.ready, 0)
        return word

    async def read(self, ctx: Any, space: Space, lane: int, address: int) -> int:
        word = await self.request(ctx, (0, space, lane, address, 0))
        assert word is not None
        return word - (1 << 64) if word >> 63 else word

    async def register(self, ctx: Any, register: Register) -> int:
        return await self.read(ctx, Space.REGISTER, 0, register)

    async def _pass(self, ctx: Any, one: Pass, words: Mapping[Space, int]) -> None:
        for space, lane, address, word in one.writes:
            await self.request(ctx, (1, space, lane, address, word))
        for register, value in (
            (Register.LENGTH, len(one.frames)),
            *{**neutral(one.kind), **one.registers}.items(),
            (Register.COMMAND, one.kind),
        ):
            await self.request(ctx, (1, Space.REGISTER, 0, register, value))
        while await self.register(ctx, Register.STATUS) != 2:
            pass
        # Outputs still in the buffer belong to this pass.
        await ctx.tick().repeat(1500 if self._stalling else 100)
        learns = self.image.config.learns
        memories = {
            space: [
                [await self.read(ctx, space, lane, address) for address in range(count)]
                for lane in range(self.image.config.lanes)
            ]
            for space, count in words.items()
        }
        result = Observed(
            outputs=self._outputs,
            writes=self._writes,
            flags=Flag(await self.register(ctx, Register.FLAGS)),
            cycles=await self.register(ctx, Register.CYCLES),
            busy=await self.register(ctx, Register.BUSY),
            stalls=await self.register(ctx, Register.STALLS),
            clamped=await self.register(ctx, Register.CLAMPED) if learns else 0,
            peak=await self.register(ctx, Register.PEAK) if learns else 0,
            vector=memories.get(Space.VECTOR, []),
            gradient=memories.get(Space.GRADIENT, []),
            weight=memories.get(Space.WEIGHT, []),
        )
        self._outputs, self._writes = [], []
        self.observed.append(result)

    def run(
        self,
        passes: Sequence[Pass],
        *,
        vector_words: int = 8,
        gradient_words: int = 4,
        weight_words: int = 0,
    ) -> list[Observed]:
        words = {
            Space.VECTOR: vector_words,
            Space.GRADIENT: gradient_words,
            Space.WEIGHT: weight_words,
        }
        simulator = Simulator(self.engine)
        simulator.add_clock(1e-6)

        async def host(ctx: Any) -> None:
            for request in () if self._built_in else load(self.image):
                await self.request(ctx, request)
            for number, one in enumerate(passes, start=1):
                # An engine that learns is read as a whole, and only at the end.
                seen = words if number == len(passes) or not self.image.config.learns else {}
                await self._pass(ctx, one, seen)

        async def samples(ctx: Any) -> None:
            port = self.engine.samples
            # All passes' frames in a row: what a pass does not need must wait for the next.
            for value in [value for one in passes for frame in one.frames for value in frame]:
                while self._pause():
                    await ctx.tick()
                ctx.set(port.payload, value)
                ctx.set(port.valid, 1)
                await ctx.tick().until(port.ready)
                ctx.set(port.valid, 0)

        async def outputs(ctx: Any) -> None:
            port = self.engine.outputs
            while True:
                ready = not self._pause()
                ctx.set(port.ready, ready)
                _, _, valid, value = await ctx.tick().sample(port.valid, port.payload)
                if ready and valid:
                    self._outputs.append(value)

        async def watch(ctx: Any) -> None:
            trace = self.engine.trace
            ports = [p for d in trace.drains for p in (d.valid, d.lane, d.address, d.value)]
            async for _, _, section, iteration, *values in ctx.tick().sample(
                trace.section, trace.iteration, *ports
            ):
                for valid, lane, address, value in zip(*[iter(values)] * 4, strict=True):
                    if valid:
                        self._writes.append(
                            Write(Section(section), iteration, lane, address, value)
                        )

        simulator.add_testbench(host)
        simulator.add_testbench(samples, background=True)
        simulator.add_testbench(outputs, background=True)
        simulator.add_testbench(watch, background=True)
        simulator.run()
        return self.observed


def check(
    image: Image,
    passes: Sequence[Pass],
    *,
    seed: int | None = None,
    rounding: Rounding = Rounding.HALF_EVEN,
    golden_rounding: Rounding = Rounding.HALF_EVEN,
    built_in: bool = False,
) -> list[Observed]:
    """Run on RTL and golden twin; everything a host can see must be equal."""
    golden = GoldenEngine(image, golden_rounding)
    bench = Bench(image, rounding=rounding, seed=seed, built_in=built_in)
    config = image.config
    observed = bench.run(
        passes,
        gradient_words=config.gradient_depth if config.learns else 4,
        weight_words=config.weight_depth if config.learns else 0,
    )
    for number, (one, result) in enumerate(zip(passes, observed, strict=True)):
        for space, lane, address, word in one.writes:
            memories = {Space.VECTOR: golden.vector, Space.GRADIENT: golden.gradient}
            memories[space][lane][address] = word
        expected = golden.run(one.kind, frames=one.frames, registers=one.registers)
        where = f"pass {number}"
        assert result.outputs == expected.outputs, where
        assert result.writes == expected.writes, where
        assert result.flags == expected.flags, where
        assert result.cycles == expected.cycles, where
        assert result.busy == expected.busy, where
        assert (result.clamped, result.peak) == (expected.clamped, expected.peak), where
        if number == len(passes) - 1:
            assert result.vector == [bank[: len(result.vector[0])] for bank in golden.vector]
            assert result.gradient == [bank[: len(result.gradient[0])] for bank in golden.gradient]
            assert result.weight == [bank[: len(result.weight[0])] for bank in golden.weight]
    return observed
