"""The host's side of the engine, and its streams: what may and may not disturb a pass."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from amaranth.sim import Simulator
from engine_bench import Bench, Pass, check, image_of, load

from echoloom.ir.contract import (
    Destination,
    DrainEntry,
    EngineConfig,
    Image,
    MacEntry,
    Register,
    Space,
    XMode,
)
from echoloom.ir.engine_passes import EnginePass
from echoloom.ir.entry_layouts import COLUMN_BITS
from echoloom.ir.fields import drain_fields, mac_fields, pack, section_fields
from echoloom.ir.sections import Section


def sums(*, emit: bool = False, **changes: Any) -> Image:
    """Each step: vector word 1 becomes weight * (sum of the frame); optionally emits it too."""
    sizes = {
        "weight_depth": 8, "vector_depth": 8, "gradient_depth": 8, "table_depth": 8,
        "exponent_depth": 8, "mac_depth": 16, "drain_depth": 16, "frame_depth": 5,
        "output_depth": 4,
    }  # fmt: skip
    macs = [MacEntry(start=0, inner=3, x_mode=XMode.INPUT, x_step=1)]
    if emit:
        macs.append(MacEntry(start=28, inner=3, destination=Destination.EMIT,
                             x_mode=XMode.BROADCAST, x_base=1, x_step=1))  # fmt: skip
    return image_of(
        EngineConfig(lanes=3, drains=2, **{**sizes, **changes}),
        {Section.FORWARD_STEP: (macs, [DrainEntry(start=13, slot=0, count=3, destination=1)], 32)},
        weight=[[1], [2], [-3]],
        vector=[[5, 6], [7, 8], [9, 10]],
        exponent=[[1, 2], [3, 4]],
        table=[(-1, -2), (3, 4)],
        frame=3,
    )


def simulate(bench: Bench, body: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
    simulator = Simulator(bench.engine)
    simulator.add_clock(1e-6)
    simulator.add_testbench(body)
    simulator.run()


def test_a_command_shows_at_once() -> None:
    """The status that a host reads right after a command is that of the new pass."""
    image = sums()
    bench = Bench(image)

    async def body(ctx: Any) -> None:
        for request in load(image):
            await bench.request(ctx, request)
        for _ in range(2):
            await bench.request(ctx, (1, Space.REGISTER, 0, Register.LENGTH, 0))
            await bench.request(ctx, (1, Space.REGISTER, 0, Register.COMMAND, 1))
            assert await bench.register(ctx, Register.STATUS) == 1
            while await bench.register(ctx, Register.STATUS) != 2:
                pass

    simulate(bench, body)


def test_every_memory_reads_back() -> None:
    image = sums()
    bench = Bench(image)

    async def body(ctx: Any) -> None:
        for request in load(image):
            await bench.request(ctx, request)
        for space, banks in (
            (Space.WEIGHT, image.weight),
            (Space.VECTOR, image.vector),
            (Space.EXPONENT, image.exponent),
        ):
            for lane, bank in enumerate(banks):
                for address, word in enumerate(bank):
                    assert await bench.read(ctx, space, lane, address) == word, (space, lane)
        table = [await bench.read(ctx, Space.TABLE, 0, address) for address in range(2)]
        bits = image.config.word
        limit = 1 << image.config.narrow
        assert table == [slope % limit << bits | base % (1 << bits) for base, slope in image.table]
        for space, layout, entries in (
            (Space.MAC, mac_fields(image.config), image.mac),
            (Space.DRAIN, drain_fields(image.config), image.drain),
            (Space.SECTION, section_fields(image.config), image.sections),
        ):
            for address, entry in enumerate(entries):
                columns = -(-sum(layout.values()) // COLUMN_BITS)
                words = [await bench.read(ctx, space, c, address) for c in range(columns)]
                assert columns > 1 and max(words) < 1 << COLUMN_BITS
                found = sum(word << COLUMN_BITS * c for c, word in enumerate(words))
                assert found == pack(layout, entry), (space, address)
        assert await bench.register(ctx, Register.FRAME) == image.frame

    simulate(bench, body)


def test_gradient_words_are_written_and_read() -> None:
    image = sums(gradient_depth=16, weight_depth=4)
    bench, top = Bench(image), 1 << image.config.gradient_bits - 1
    words = {
        (lane, at): word
        for lane, at, word in [
            (0, 0, 1),
            (1, 0, -top),
            (2, 0, top - 1),
            (2, 15, -12345),
            (0, 9, 3),
            (0, 0, -7),
        ]
    }

    async def body(ctx: Any) -> None:
        for request in load(image):
            await bench.request(ctx, request)
        for (lane, address), word in words.items():
            await bench.request(ctx, (1, Space.GRADIENT, lane, address, word))
        for (lane, address), word in words.items():
            assert await bench.read(ctx, Space.GRADIENT, lane, address) == word
        assert await bench.register(ctx, Register.FLAGS) == 0
        assert await bench.read(ctx, Space.WEIGHT, 0, 0) == 1

    simulate(bench, body)


def test_a_busy_engine_ignores_commands_and_memory_requests() -> None:
    image = sums()
    bench = Bench(image)

    async def body(ctx: Any) -> None:
        for request in load(image):
            await bench.request(ctx, request)
        await bench.request(ctx, (1, Space.REGISTER, 0, Register.LENGTH, 1))
        await bench.request(ctx, (1, Space.REGISTER, 0, Register.COMMAND, 1))
        await bench.request(ctx, (1, Space.WEIGHT, 0, 0, 99))
        await bench.request(ctx, (1, Space.VECTOR, 0, 0, 99))
        await bench.request(ctx, (1, Space.SECTION, 0, Section.FORWARD_STEP, 0))
        await ctx.tick().repeat(5)
        stalls = await bench.register(ctx, Register.STALLS)
        await bench.request(ctx, (1, Space.REGISTER, 0, Register.COMMAND, 2))
        assert await bench.register(ctx, Register.STALLS) > stalls > 0
        # Reads are answered, with nothing, and the pass goes on waiting for its frame.
        for space in (Space.WEIGHT, Space.GRADIENT, Space.MAC):
            await bench.read(ctx, space, 0, 0)
        assert await bench.register(ctx, Register.STATUS) == 1
        for value in (10, 20, 30):
            ctx.set(bench.engine.samples.payload, value)
            ctx.set(bench.engine.samples.valid, 1)
            await ctx.tick().until(bench.engine.samples.ready)
        ctx.set(bench.engine.samples.valid, 0)
        while await bench.register(ctx, Register.STATUS) != 2:
            pass
        words = [await bench.read(ctx, Space.VECTOR, lane, 1) for lane in range(3)]
        assert words == [60, 120, -180]
        assert await bench.read(ctx, Space.WEIGHT, 0, 0) == 1
        assert await bench.read(ctx, Space.VECTOR, 0, 0) == 5
        assert await bench.register(ctx, Register.CYCLES) == 34

    simulate(bench, body)


def test_a_pass_of_nothing_ends() -> None:
    (forward, echo) = check(sums(), [Pass(), Pass(kind=EnginePass.ECHO)])
    assert forward.cycles == echo.cycles == 0


def test_frames_beyond_the_pass_wait_for_the_next_one() -> None:
    """The feeder runs ahead as far as the ring lets it."""
    first, second = ((1, 2, 3), (4, 5, 6)), ((7, 8, 9),)
    for frames in (1, 2, 4):
        results = check(sums(frames=frames), [Pass(first), Pass(second)])
        assert [result.vector[0][1] for result in results] == [15, 24]


def test_waiting_changes_nothing_but_the_stall_counter() -> None:
    frames = tuple((i, 10 * i, -3 * i) for i in range(6))
    image = sums(emit=True)
    quick, slow = (check(image, [Pass(frames)], seed=seed)[0] for seed in (None, 5))
    assert slow.stalls > quick.stalls
    assert slow.writes == quick.writes
    assert len(slow.outputs) == 3 * len(frames)


def test_empty_frames_need_no_samples() -> None:
    image = image_of(
        EngineConfig(lanes=1, drains=1, frame_depth=4),
        {Section.ECHO_STEP: ([MacEntry(start=0)],
                             [DrainEntry(start=11, slot=0, count=1, destination=0)], 25)},
        weight=[[2]],
        vector=[[1]],
        frame=0,
    )  # fmt: skip
    (result,) = check(image, [Pass(((),) * 5, kind=EnginePass.ECHO)])
    assert result.vector[0][0] == 32
    assert result.stalls == 0
