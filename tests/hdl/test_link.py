"""The link between the host's packets and a stand-in engine that obeys the engine's contract."""

from __future__ import annotations

import random
from collections import deque

import numpy as np
import pytest
from amaranth.sim import Simulator
from link_bench import SimulatedPort

from echoloom.backends.link import conversation as host
from echoloom.backends.link.ends import Ends
from echoloom.backends.link.errors import LinkError
from echoloom.backends.link.passes import run_pass
from echoloom.hdl.commands import ERROR, MOST_OUTPUTS, Command, Fault, LinkSizes, identity
from echoloom.hdl.link import OUTPUTS, Link
from echoloom.hdl.numbers import encode_numbers
from echoloom.hdl.packets import FLUSH, encode
from echoloom.hdl.pipeline import RESET_CYCLES
from echoloom.ir.contract import EngineConfig, Register, Space, Timing

CONFIG = EngineConfig(lanes=4, drains=1, word=28)
IDENTITY = identity(CONFIG, Timing())
PATIENCE = 2000  # far fewer cycles than a real link's


class StandIn:
    """Memories, and a pass that negates LENGTH samples through a buffer of `room` outputs, taking
    one in a cycle with probability `speed`. It is done when the last output is in the buffer."""

    def __init__(self, link: Link, room: int = 5, seed: int = 0, speed: float = 0.7) -> None:
        self.link, self.room, self.rng, self.speed = link, room, random.Random(seed), speed
        self.memory: dict[tuple[int, int, int], int] = {}
        self.outputs: deque[int] = deque()
        self.resets = 0

    def answer(self, request) -> int:
        return self.memory.get((request.space, request.lane, request.address), 0)

    def accept(self, request) -> None:
        self.memory[request.space, request.lane, request.address] = request.data
        if (request.space, request.address) == (Space.REGISTER, Register.COMMAND):
            self.memory[Space.REGISTER, 0, Register.STATUS] = 1
            self.left = self.memory[Space.REGISTER, 0, Register.LENGTH]

    async def requests(self, ctx):
        port, answer = self.link.request, self.link.response
        while True:
            for _ in range(self.rng.randrange(3)):
                await ctx.tick()
            ctx.set(port.ready, 1)
            while not ctx.get(port.valid):
                await ctx.tick()
            request = ctx.get(port.payload)
            await ctx.tick()
            ctx.set(port.ready, 0)
            if request.write:
                self.accept(request)
                continue
            await ctx.tick()
            ctx.set(answer.payload, self.answer(request))
            ctx.set(answer.valid, 1)
            while not ctx.get(answer.ready):
                await ctx.tick()
            await ctx.tick()
            ctx.set(answer.valid, 0)

    async def run_pass(self, ctx):
        self.left = 0
        samples, outputs = self.link.samples, self.link.outputs
        while True:
            takes = (
                self.left > 0 and len(self.outputs) < self.room and self.rng.random() < self.speed
            )
            ctx.set(samples.ready, takes)
            ctx.set(outputs.valid, bool(self.outputs))
            ctx.set(outputs.payload, self.outputs[0] if self.outputs else 0)
            if self.outputs and ctx.get(outputs.ready):
                self.outputs.popleft()
            if takes and ctx.get(samples.valid):
                self.outputs.append(-ctx.get(samples.payload))
                self.left -= 1
                if not self.left:
                    self.memory[Space.REGISTER, 0, Register.STATUS] = 2
            if ctx.get(self.link.reset):
                self.resets += 1
                self.left = 0
            await ctx.tick()


def with_link(scenario, samples=256, **stand_in):
    """Run `scenario(port, engine)` against a link and a stand-in engine."""
    link = Link(CONFIG, IDENTITY, LinkSizes(samples=samples), PATIENCE)
    engine = StandIn(link, **stand_in)

    port = SimulatedPort(link)

    async def bench(ctx):
        port.ctx = ctx
        await scenario(port, engine)
        assert not port.replies

    simulator = Simulator(link)
    simulator.add_clock(1e-6)
    simulator.add_testbench(port.collect, background=True)
    simulator.add_testbench(engine.requests, background=True)
    simulator.add_testbench(engine.run_pass, background=True)
    simulator.add_testbench(bench)
    simulator.run()
    return engine


def start(length):
    """The writes that start a pass on so many samples."""
    return [(Space.REGISTER, 0, Register.LENGTH, length), (Space.REGISTER, 0, Register.COMMAND, 1)]


def frames(samples, frame=1):
    return np.array(samples, np.int64).reshape(-1, frame)


def push(position, samples):
    return host.ask(host.Request(Command.PUSH, (position, *samples)), 2)


def collect(had, wait=0):
    return host.ask(host.Request(Command.COLLECT, (had, wait)))


def test_words_written_are_read_back():
    words = [0, 1, -1, 1 << 63, (1 << 64) - 2, *range(100, 140)]

    async def scenario(port, engine):
        await port.converse(host.write(Space.WEIGHT, 3, 0x01FE, words))
        assert engine.memory[Space.WEIGHT, 3, 0x01FE + 44] == 139
        read = await port.converse(host.read(Space.WEIGHT, 3, 0x01FE, len(words)))
        assert read == [word - (1 << 64) if word >= 1 << 63 else word for word in words]

    with_link(scenario)


def test_rows_are_written_in_order_and_in_bursts():
    rows = [
        (Space.MAC, 0, 0, 10), (Space.MAC, 1, 0, 11), (Space.MAC, 0, 1, 12),
        (Space.VECTOR, 2, 5, 1), (Space.VECTOR, 2, 6, 2), (Space.VECTOR, 2, 7, 3),
    ]  # fmt: skip

    async def scenario(port, engine):
        await port.converse(host.write_all(rows))
        await port.converse(host.write_all([]))

    engine = with_link(scenario)
    assert [(*where, word) for where, word in engine.memory.items()] == rows
    assert len(list(host.all_writes(rows))) == 4


@pytest.mark.parametrize(
    ("samples", "known"), [(64, True), (64, False), (256, True)], ids=["streamed", "slow", "kept"]
)
def test_pass_moves_all_samples_and_outputs(samples, known):
    """More of both than all buffers hold, so that neither may wait for the other."""
    rng = random.Random(3)
    extreme = [(1 << 27) - 1, -(1 << 27) + 1, 0, -1]
    words = extreme + [rng.randrange(-(1 << 27), 1 << 27) for _ in range(131)]

    async def scenario(port, engine):
        ends = Ends(samples)
        for number in range(2):
            outputs = len(words) if known else None
            passed = await port.converse(
                run_pass(ends, start(len(words)), frames(words, 5), outputs=outputs)
            )
            assert passed.outputs == [-word for word in words]
            assert passed.identity.engine == IDENTITY
            assert ends.samples == len(words) * (1 if samples > len(words) else number + 1)

    with_link(scenario, samples)


def test_short_pass_is_one_turn_of_the_line():
    """Whatever it is: from the writes to the reads, and the second time without its samples."""

    async def scenario(port, engine):
        ends, sent = Ends(256), []
        for words in ([1, 2, 3, 4, 5, 6], [5, 6, 3, 4, 1, 2], [1, 2, 3, 4, 5, 6]):
            conversation = run_pass(
                ends, start(6), frames(words, 2), [(Space.WEIGHT, 0, 7)], len(words), cycles=50
            )
            requests = next(conversation)
            sent.append([request.command for request in requests])
            replies = [await port.converse(host.ask(request)) for request in requests]
            with pytest.raises(StopIteration) as finished:
                conversation.send(replies)
            passed = finished.value.value
            assert (passed.outputs, passed.words) == ([-word for word in words], [99])
        engine_commands = [Command.PLAY, Command.WRITE]
        rest = [Command.COLLECT, Command.COLLECT, Command.READ, Command.IDENTIFY]
        assert sent[0] == [Command.WRITE, *engine_commands, Command.PUSH, *rest]
        assert sent[1] == sent[2] == [*engine_commands, *rest[1:]]  # and one COLLECT was enough

    async def with_a_word(port, engine):
        await port.converse(host.write(Space.WEIGHT, 0, 7, [99]))
        await scenario(port, engine)

    with_link(with_a_word)


def test_pass_that_wants_more_samples_is_reported():
    async def scenario(port, engine):
        with pytest.raises(LinkError, match="did not end, though it was given all of its samples"):
            await port.converse(run_pass(Ends(64), start(11), frames(range(10)), polls=0))

    with_link(scenario)


def test_pass_that_wants_fewer_samples_is_reported():
    async def scenario(port, engine):
        with pytest.raises(LinkError, match="134 of 200 samples were sent"):
            await port.converse(run_pass(Ends(64), start(70), frames(range(200)), polls=3))

    with_link(scenario, 64)


def test_engine_that_was_reset_in_between_is_reported():
    async def scenario(port, engine):
        engine.accept = lambda request: None
        with pytest.raises(LinkError, match="not under way any more: the board was reset"):
            await port.converse(run_pass(Ends(64), start(6), frames(range(6))))

    with_link(scenario)


def test_reset_forgets_samples_and_outputs():
    async def scenario(port, engine):
        assert list(await port.converse(push(0, range(40)))) == [40, 0]
        await port.converse(host.reset())
        passed = await port.converse(run_pass(Ends(256), start(3), frames([7, 8, 9])))
        assert passed.outputs == [-7, -8, -9]

    assert with_link(scenario).resets == RESET_CYCLES


def test_only_the_samples_that_are_the_next_ones_are_kept():
    """So a packet that is lost, or comes twice, never shifts the ones after it."""

    async def scenario(port, engine):
        for position, filled in ((0, 5), (5, 10), (5, 10), (0, 10), (11, 10), (10, 15)):
            assert list(await port.converse(push(position, range(5)))) == [filled, 0]
        assert list(await port.converse(push(15, []))) == [15, 0]

    with_link(scenario)


def test_outputs_are_there_until_the_host_has_them():
    words = list(range(1, 2 * OUTPUTS))

    async def scenario(port, engine):
        for request in (*_start(len(words)), *_pushes(words)):
            await port.converse(host.ask(request))
        had = status = made = 0
        while had < len(words):
            status, made, *outputs = await port.converse(collect(had, 1))
            again = await port.converse(collect(had, 0))
            assert list(again)[2:][: len(outputs)] == outputs
            assert outputs == [-word for word in words[had : had + len(outputs)]]
            assert len(outputs) == min(MOST_OUTPUTS, made - had)
            had += len(outputs)
        assert (status, made) == (2, len(words))
        assert list(await port.converse(collect(had))) == [2, had]

    with_link(scenario)


@pytest.mark.parametrize("wait", [0, 1])
def test_collect_waits_for_the_pass_but_not_for_ever(wait):
    """A pass of three samples that take a few hundred cycles each, and one that starves."""

    async def scenario(port, engine):
        for request in (*_start(3), *_pushes([1, 2, 3])):
            await port.converse(host.ask(request))
        status, _, *outputs = await port.converse(collect(0, wait))
        assert (status, len(outputs) == 3) == ((2, True) if wait else (1, False))

    async def starved(port, engine):
        for request in (*_start(3), *_pushes([1, 2])):
            await port.converse(host.ask(request))
        before = (await port.converse(host.identify())).cycles
        assert list(await port.converse(collect(0, wait))) == [1, 2, -1, -2]
        waited = (await port.converse(host.identify())).cycles - before
        assert PATIENCE * wait < waited < PATIENCE * wait + 1000

    with_link(scenario, speed=0.004, seed=1)
    with_link(starved)


def test_identity():
    async def scenario(port, engine):
        found = await port.converse(host.identify())
        assert (found.engine, found.mark) == (IDENTITY, 0)
        assert (found.window, found.samples) == (512, 256)
        assert identity(EngineConfig(lanes=8, drains=1), Timing()) != IDENTITY
        assert (await port.converse(host.identify())).cycles > found.cycles

    with_link(scenario)


def test_mark_outlasts_a_reset_of_the_engine():
    word = 0xFEDC_BA98_7654_3210

    async def scenario(port, engine):
        await port.converse(host.mark(word))
        await port.converse(host.reset())
        assert (await port.converse(host.identify())).mark == word
        await port.converse(host.mark(0))
        assert (await port.converse(host.identify())).mark == 0

    with_link(scenario)


@pytest.mark.parametrize(
    ("code", "payload", "fault"),
    [
        (0, b"", Fault.UNKNOWN),
        (9, b"\x00" * 40, Fault.UNKNOWN),
        (Command.IDENTIFY, b"\x00", Fault.LENGTH),
        (Command.RESET, b"\x00", Fault.LENGTH),
        (Command.WRITE, bytes(3), Fault.LENGTH),
        (Command.WRITE, bytes(4) + b"\x80", Fault.LENGTH),  # the last number is not complete
        (Command.WRITE, bytes(4) + bytes([0x80] * 10) + b"\x00", Fault.LENGTH),  # nor is this one
        (Command.READ, bytes(3), Fault.LENGTH),
        (Command.READ, bytes(4), Fault.LENGTH),
        (Command.READ, bytes(3) + b"\x1a", Fault.LENGTH),
        (Command.READ, bytes(3) + encode_numbers([-2]), Fault.LENGTH),
        (Command.PUSH, b"", Fault.LENGTH),
        (Command.COLLECT, bytes(1), Fault.LENGTH),
        (Command.COLLECT, bytes(3), Fault.LENGTH),
        (Command.PLAY, bytes(5), Fault.LENGTH),
        (Command.MARK, bytes(2), Fault.LENGTH),
    ],
)
def test_refused(code, payload, fault):
    async def scenario(port, engine):
        assert await port.exchange(encode(code, payload, 0xC3)) == (ERROR, bytes([fault]))
        await port.converse(host.identify())

    engine = with_link(scenario)
    assert engine.memory == {}
    assert engine.resets == 0


def test_damaged_packet_is_refused_and_changes_nothing():
    packet = encode(Command.WRITE, bytes(4) + bytes(range(8)))

    async def scenario(port, engine):
        for bit in range(8, 8 * len(packet)):  # sync and length stay
            damaged = bytearray(packet)
            damaged[bit // 8] ^= 1 << bit % 8
            if damaged[3] == packet[3]:
                assert await port.exchange(damaged) == (ERROR, bytes([Fault.CHECK]))

    assert with_link(scenario).memory == {}


@pytest.mark.parametrize("seed", range(4))
def test_garbage_never_locks_the_link(seed):
    rng = random.Random(seed)

    async def scenario(port, engine):
        for _ in range(8):
            garbage = rng.randbytes(rng.randrange(1, 60)) + rng.choice(
                [b"", b"\xa5", b"\xa5\x02\x02"]
            )
            await port.send(garbage + bytes(FLUSH))
            for _ in range(400):
                await port.ctx.tick()
            port.replies.clear()
            await port.converse(host.identify())

    with_link(scenario)


def test_word_must_fit():
    config = EngineConfig(lanes=1, drains=1, word=33)
    with pytest.raises(ValueError, match="32 bits at most, the engine has word=33"):
        Link(config, 0)


def _start(length):
    play = host.Request(Command.PLAY, (0, 1, 1, length))
    return [play, *host.all_writes(start(length))]


def _pushes(samples):
    return [
        host.Request(Command.PUSH, (at, *samples[at : at + 40]))
        for at in range(0, len(samples), 40)
    ]
