"""The list of an update beside its golden twin, and LEARN through the link's packets."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest
from amaranth.sim import Simulator
from link_bench import SimulatedPort

from echoloom.backends.link import conversation as host
from echoloom.backends.link.ends import Ends
from echoloom.backends.link.errors import LinkError
from echoloom.backends.link.updates import RowPass, run_update
from echoloom.hdl.commands import ERROR, Command, Fault, LinkSizes
from echoloom.hdl.link import Link
from echoloom.hdl.numbers import encode_numbers
from echoloom.hdl.packets import encode
from echoloom.hdl.update_list import CLAMPS, ENTRY_BITS, LIST, Entry, UpdateList
from echoloom.ir.contract import EngineConfig, Register, Space
from echoloom.sim.golden_list import GoldenList

CONFIG = EngineConfig(lanes=4, drains=1, word=28, learns=True)
DEPTH, PATIENCE, REGISTER = 16, 2000, Space.REGISTER
Row = tuple[int, int, int, int]


class Engine:
    """Memories, and passes that take `length` cycles of `ticks`, count 7 cycles and the place of
    the last vector word that was written, as clamped; a length of 0 never ends."""

    def __init__(self, length: int, seed: int | None = None) -> None:
        self.length, self.rng = length, None if seed is None else random.Random(seed)
        self.memory: dict[tuple[int, int, int], int] = {}
        self.written: list[Row] = []
        self.left = self.clamped = 0

    def write(self, space: int, lane: int, address: int, data: int) -> None:
        self.written.append((space, lane, address, data))
        self.memory[space, lane, address] = data
        if space == Space.VECTOR:
            self.clamped = address
        if (space, address) == (REGISTER, Register.COMMAND):
            self.left = self.length
            self.memory[REGISTER, 0, Register.STATUS] = 1

    def tick(self) -> None:
        self.left -= self.left > 0
        if self.length and not self.left and self.memory.get((REGISTER, 0, Register.STATUS)) == 1:
            counts = {Register.STATUS: 2, Register.CYCLES: 7, Register.CLAMPED: self.clamped}
            self.memory |= {(REGISTER, 0, at): value for at, value in counts.items()}

    def read(self, space: int, lane: int, address: int) -> int:
        return self.memory.get((space, lane, address), 0)

    async def serve(self, ctx: Any, ports: UpdateList | Link) -> None:
        async def tick(most: int) -> None:
            for _ in range(self.rng.randrange(most) if self.rng else 0):
                await ctx.tick()

        request, response = ports.request, ports.response
        while True:
            await tick(4)
            ctx.set(request.ready, 1)
            asked = await until(ctx, request.valid, request.payload)
            ctx.set(request.ready, 0)
            where = asked.space, asked.lane, asked.address
            if asked.write:
                self.write(*where, asked.data)
                continue
            await tick(4)
            ctx.set(response.payload, self.read(*where))
            ctx.set(response.valid, 1)
            await until(ctx, response.ready, response.ready)
            ctx.set(response.valid, 0)

    async def run(self, ctx: Any) -> None:
        while True:
            await ctx.tick()
            self.tick()


async def until(ctx: Any, condition: Any, value: Any) -> Any:
    """What the value is at the clock's edge when the condition is true."""
    while True:
        _, _, found, true = await ctx.tick().sample(value, condition)
        if true:
            return found


class Immediate(Engine):
    """An engine whose pass is over when it is asked."""

    def read(self, space: int, lane: int, address: int) -> int:
        for _ in range(self.length):
            self.tick()
        return super().read(space, lane, address)


def entries(count: int, seed: int) -> list[int]:
    """Words of a list: writes, passes, and places for what they clamped."""
    rng = random.Random(seed)
    kinds: list[Callable[[], Entry]] = [
        lambda: Entry(Space.VECTOR, rng.randrange(4), rng.randrange(99), rng.randrange(-9, 9)),
        lambda: Entry(Space.VECTOR, 255, 0xFFFF, rng.choice([-(1 << 31), (1 << 31) - 1])),
        lambda: Entry(REGISTER, 0, Register.LENGTH, rng.randrange(1 << 20)),
        lambda: Entry(REGISTER, 0, Register.COMMAND, 6),
        lambda: CLAMPS,
    ]
    return [rng.choice(kinds)().word for _ in range(count)]


@pytest.mark.parametrize("seed", range(3))
def test_the_twin(seed: int):
    golden, engine = GoldenList(DEPTH), Engine(20, seed)
    twin = Immediate(20)
    rng, updates = random.Random(seed), UpdateList(DEPTH)

    async def ask(ctx: Any, write: int, where: tuple[int, int, int], data: int = 0) -> int:
        payload = dict(zip(("space", "lane", "address"), where, strict=True))
        asked, answered = updates.asked, updates.answered
        ctx.set(asked.payload, {"write": write, "data": data % (1 << 64), **payload})
        ctx.set(asked.valid, 1)
        await ctx.tick().until(asked.ready)
        ctx.set(asked.valid, 0)
        if write:
            return 0
        ctx.set(answered.ready, 1)
        (found,) = await ctx.tick().sample(answered.payload).until(answered.valid)
        ctx.set(answered.ready, 0)
        return found

    async def learn(ctx: Any, *numbers: int) -> None:
        for at, number in enumerate(numbers):
            ctx.set(updates.asked.payload.data, number % (1 << ENTRY_BITS))
            ctx.set(updates.what, min(at, 3))
            ctx.set(updates.tell, 1)
            await ctx.tick()
        ctx.set(updates.tell, 0)
        ctx.set(updates.go, 1)
        for _ in range(3):  # as long as a link waits
            await ctx.tick()
        ctx.set(updates.go, 0)

    async def bench(ctx: Any) -> None:
        for at, word in enumerate(entries(DEPTH, seed)):
            await ask(ctx, 1, (LIST, 0, at), word)
            golden.write(at, word)
        others = 0
        for number in (0, 0, 1, 3, 2, 258, 3):
            begin, end = sorted(rng.sample(range(DEPTH + 1), 2))
            carried = entries(rng.randrange(end - begin), rng.randrange(99))
            await learn(ctx, number, begin, end, *carried)
            golden.learn(number, begin, end, *carried)
            golden.play(twin.write, twin.read)
            while ctx.get(updates.busy):  # the link's requests go between its own
                await ask(ctx, 0, (REGISTER, 0, Register.FLAGS))
                others += 1
            ports = (updates.made, updates.busy, updates.cycles, updates.clamped)
            assert tuple(map(ctx.get, ports)) == tuple(golden.answer)
            assert engine.written == twin.written
            found = [await ask(ctx, 0, (LIST, 0, at)) for at in range(DEPTH)]
            assert found == [word % (1 << ENTRY_BITS) for word in golden.words]
        assert golden.made == 4 and others > 5

    simulate(updates, engine, bench)


def test_a_write_in_four_cycles():
    updates, engine, times = UpdateList(DEPTH), Engine(1), list[int]()

    async def watch(ctx: Any) -> None:
        now = 0
        async for _, _, valid, ready in ctx.tick().sample(
            updates.request.valid, updates.request.ready
        ):
            now += 1
            if valid and ready:
                times.append(now)

    async def bench(ctx: Any) -> None:
        for what, value in enumerate((0, 0, 4)):
            ctx.set(updates.what, what)
            ctx.set(updates.asked.payload.data, value)
            ctx.set(updates.tell, 1)
            await ctx.tick()
        ctx.set(updates.tell, 0)
        ctx.set(updates.go, 1)
        await ctx.tick()
        ctx.set(updates.go, 0)
        await ctx.tick().until(~updates.busy)

    simulate(updates, engine, bench, watch, Entry(Space.VECTOR, 0, 0, 0).word)
    assert [after - before for before, after in pairwise(times)] == [4, 4, 4]


def simulate(
    updates: UpdateList,
    engine: Engine,
    bench: Callable[[Any], Awaitable[None]],
    watch: Callable[[Any], Awaitable[None]] | None = None,
    fill: int | None = None,
) -> None:
    async def filled(ctx: Any) -> None:
        for at in range(DEPTH if fill is not None else 0):
            ctx.set(updates.asked.payload, {"write": 1, "space": LIST, "address": at, "data": fill})
            ctx.set(updates.asked.valid, 1)
            await ctx.tick().until(updates.asked.ready)
        ctx.set(updates.asked.valid, 0)
        await bench(ctx)

    simulator = Simulator(updates)
    simulator.add_clock(1e-6)

    async def serve(ctx: Any) -> None:
        await engine.serve(ctx, updates)

    simulator.add_testbench(serve, background=True)
    simulator.add_testbench(engine.run, background=True)
    if watch is not None:
        simulator.add_testbench(watch, background=True)
    simulator.add_testbench(filled)
    simulator.run()


def with_link(
    scenario: Callable[[SimulatedPort, Engine], Awaitable[None]],
    length: int = 50,
    listed: int = DEPTH,
) -> Engine:
    """Run `scenario(port, engine)` against a link to an engine that learns."""
    link = Link(CONFIG, 0, LinkSizes(listed=listed), PATIENCE)
    engine, port = Engine(length, 0), SimulatedPort(link)

    async def serve(ctx: Any) -> None:
        await engine.serve(ctx, link)

    async def bench(ctx: Any) -> None:
        port.ctx = ctx
        await scenario(port, engine)
        assert not port.replies

    simulator = Simulator(link)
    simulator.add_clock(1e-6)
    for testbench in (port.collect, serve, engine.run):
        simulator.add_testbench(testbench, background=True)
    simulator.add_testbench(bench)
    simulator.run()
    return engine


def row_pass(step: int, rows: int, kind: int = 6) -> RowPass:
    """An update that writes a step and goes over rows, or (5) a scan."""
    registers = {Register.WEIGHT_ROW: 5, Register.LENGTH: rows, Register.COMMAND: kind}
    accesses = [(REGISTER, 0, at, value) for at, value in registers.items()]
    return RowPass([(Space.VECTOR, 0, step, -step), *accesses], 7, kind == 6)


PASSES = [row_pass(3, 4, 5), row_pass(4, 4), row_pass(9, 2)]
WRITES = [
    (Space.VECTOR, 0, 3, (1 << 64) - 3), (REGISTER, 0, Register.WEIGHT_ROW, 5),
    (REGISTER, 0, Register.LENGTH, 4), (REGISTER, 0, Register.COMMAND, 5),
    (Space.VECTOR, 0, 4, (1 << 64) - 4), (REGISTER, 0, Register.COMMAND, 6),
    (Space.VECTOR, 0, 9, (1 << 64) - 9), (REGISTER, 0, Register.LENGTH, 2),
    (REGISTER, 0, Register.COMMAND, 6),
]  # fmt: skip


@pytest.mark.parametrize("room", [DEPTH, 4])
def test_an_update_is_one_request(room: int):
    """And a list that is longer than the board's a few; what clamped is counted by tensor."""

    async def scenario(port: SimulatedPort, engine: Engine) -> None:
        assert (await port.converse(host.identify())).listed == DEPTH
        ends, turns = Ends(256, room), list[list[Command]]()
        for _ in range(2):
            conversation = run_update(ends, PASSES)
            requests = next(conversation)
            counts = None
            while counts is None:
                turns.append([request.command for request in requests])
                replies = [await port.converse(host.ask(one)) for one in requests]
                try:
                    requests = conversation.send(replies)
                except StopIteration as finished:
                    counts, _ = finished.value
            assert counts == [4, 9]
        learn, read = [Command.LEARN, Command.IDENTIFY], [Command.READ] * 2
        if room == DEPTH:
            assert turns == [learn, read] * 2
        else:
            assert turns.count(learn) == 6
        assert (ends.registers[Register.LENGTH], ends.updates) == (2, 2 if room == DEPTH else 6)

    assert with_link(scenario).written == WRITES * 2


def test_a_word_that_changes_comes_with_the_request():
    """A later one alone in a write before it, which is carried out for certain."""

    async def scenario(port: SimulatedPort, engine: Engine) -> None:
        ends = Ends(256, 128)
        many = [row_pass(at, at) for at in range(3, 23)]
        await port.converse(run_update(ends, many))
        for changed, commands in ((0, [Command.LEARN, Command.IDENTIFY]), (19, [Command.WRITE])):
            many[changed] = row_pass(2, 2)
            conversation = run_update(ends, many)
            requests = next(conversation)
            assert [request.command for request in requests] == commands
            conversation.close()
            await port.converse(run_update(ends, many))
        with pytest.raises(ValueError, match="carries 32 signed bits, got 2147483648"):
            await port.converse(run_update(ends, [row_pass(-(1 << 31), 1)]))

    with_link(scenario, listed=128)


def test_an_update_is_never_made_twice():
    """Whatever comes again: the same request, one of before, or one that is too early."""
    words = [Entry(REGISTER, 0, Register.COMMAND, 6).word, CLAMPS.word]

    async def scenario(port: SimulatedPort, engine: Engine) -> None:
        async def learn(number: int, *numbers: int) -> list[int]:
            request = host.Request(Command.LEARN, (number, *numbers))
            return list(await port.converse(host.ask(request, 4)))

        assert await learn(0, 0, 2, *words) == [1, 0, 7, 0]
        for number in (0, 2, 255, -1):
            assert await learn(number, 0, 1, words[0]) == [1, 0, 7, 0]
        assert await learn(1 + 256, 0, 1) == [2, 0, 7, 0]
        assert await learn(2, 1, 1) == [3, 0, 0, 0]
        engine.length = 0  # a pass that does not end
        assert (await learn(3, 0, 2))[:2] == [4, 1]
        assert (await learn(4, 0, 2))[:2] == [4, 1]
        assert await port.converse(host.read(REGISTER, 0, Register.STATUS, 1)) == [1]
        await port.converse(host.reset())
        engine.length = 50
        assert await learn(0, 0, 2) == [1, 0, 7, 0]

    written = with_link(scenario).written
    assert [row[3] for row in written if row[2] == Register.COMMAND] == [6] * 4


def test_what_is_wrong_is_said():
    async def scenario(port: SimulatedPort, engine: Engine) -> None:
        with pytest.raises(LinkError, match="took 21 cycles instead of 22"):
            await port.converse(run_update(Ends(256, DEPTH), [*PASSES[:2], RowPass(
                PASSES[2].accesses, 8, True)]))  # fmt: skip
        ends = Ends(256, DEPTH)
        ends.updates = 2
        with pytest.raises(LinkError, match="is at update 1 instead of 3: it was reset"):
            await port.converse(run_update(ends, PASSES))

    with_link(scenario)


@pytest.mark.parametrize(
    ("numbers", "learns", "fault"),
    [([0, 0], True, Fault.LENGTH), ([0, 0, 1], False, Fault.UNKNOWN)],
)
def test_refused(numbers: list[int], learns: bool, fault: Fault):
    config = EngineConfig(lanes=4, drains=1, learns=learns)
    board = Link(config, 0)
    port = SimulatedPort(board)

    async def bench(ctx: Any) -> None:
        port.ctx = ctx
        packet = encode(Command.LEARN, encode_numbers(numbers))
        assert await port.exchange(packet) == (ERROR, bytes([fault]))

    simulator = Simulator(board)
    simulator.add_clock(1e-6)
    simulator.add_testbench(port.collect, background=True)
    simulator.add_testbench(bench)
    simulator.run()


def test_a_list_that_cannot_be():
    with pytest.raises(ValueError, match=r"has 2, 4, 8 \.\.\. entries, not 12"):
        UpdateList(12)
