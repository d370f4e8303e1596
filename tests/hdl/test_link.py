"""The link between the host's packets and a stand-in engine that obeys the engine's contract."""

from __future__ import annotations

import random
from collections import deque

import pytest
from amaranth.sim import Simulator
from link_bench import SimulatedPort

from echoloom.backends.link import conversation as host
from echoloom.backends.link.errors import LinkError
from echoloom.hdl.link import ERROR, MOST_SAMPLES, Command, Fault, Link, identity
from echoloom.hdl.packets import FLUSH, encode
from echoloom.hdl.pipeline import RESET_CYCLES
from echoloom.ir.contract import EngineConfig, Register, Space, Timing

CONFIG = EngineConfig(lanes=4, drains=1, word=28)
IDENTITY = identity(CONFIG, Timing())


class StandIn:
    """Memories, and a pass that negates LENGTH samples through a buffer of `room` outputs."""

    def __init__(self, link: Link, room: int = 5, seed: int = 0) -> None:
        self.link, self.room, self.rng = link, room, random.Random(seed)
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
            takes = self.left > 0 and len(self.outputs) < self.room and self.rng.random() < 0.7
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


def with_link(scenario, **stand_in):
    """Run `scenario(port, engine)` against a link and a stand-in engine."""
    link = Link(CONFIG, IDENTITY)
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
    assert len(list(_packets(host.write_all(rows)))) == 4


def test_pass_moves_all_samples_and_outputs():
    """More of both than all buffers hold, so that neither may wait for the other."""
    rng = random.Random(3)
    extreme = [(1 << 27) - 1, -(1 << 27) + 1, 0, -1]
    samples = extreme + [rng.randrange(-(1 << 27), 1 << 27) for _ in range(250)]

    async def scenario(port, engine):
        for _ in range(2):
            outputs = await port.converse(
                host.run_pass(1, samples, {Register.LENGTH: len(samples)})
            )
            assert outputs == [-sample for sample in samples]

    with_link(scenario)


def test_pass_that_wants_more_samples_is_reported():
    async def scenario(port, engine):
        with pytest.raises(LinkError, match="did not end: 10 of 10 samples"):
            await port.converse(host.run_pass(1, range(10), {Register.LENGTH: 11}, polls=3))

    with_link(scenario)


def test_pass_that_wants_fewer_samples_is_reported():
    async def scenario(port, engine):
        with pytest.raises(LinkError, match="samples left over"):
            await port.converse(host.run_pass(1, range(200), {Register.LENGTH: 3}, polls=3))

    with_link(scenario)


def test_reset_forgets_samples_and_outputs():
    async def scenario(port, engine):
        assert await port.converse(host.push(range(40))) == 40
        await port.converse(host.reset())
        outputs = await port.converse(host.run_pass(1, [7, 8, 9], {Register.LENGTH: 3}))
        assert outputs == [-7, -8, -9]

    assert with_link(scenario).resets == RESET_CYCLES


def test_push_accepts_as_much_as_there_is_room():
    async def scenario(port, engine):
        accepted = [await port.converse(host.push(range(MOST_SAMPLES))) for _ in range(3)]
        assert accepted[0] == MOST_SAMPLES
        assert accepted[2] == 0

    with_link(scenario)


def test_identity():
    async def scenario(port, engine):
        found = await port.converse(host.identify())
        assert found[:2] == (IDENTITY, 0)
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
        (8, b"\x00" * 40, Fault.UNKNOWN),
        (Command.IDENTIFY, b"\x00", Fault.LENGTH),
        (Command.RESET, b"\x00", Fault.LENGTH),
        (Command.WRITE, bytes(4), Fault.LENGTH),
        (Command.WRITE, bytes(13), Fault.LENGTH),
        (Command.READ, bytes(4), Fault.LENGTH),
        (Command.READ, bytes(5), Fault.LENGTH),
        (Command.READ, b"\x20" + bytes(4), Fault.LENGTH),
        (Command.PUSH, b"", Fault.LENGTH),
        (Command.PUSH, bytes(5), Fault.LENGTH),
        (Command.FETCH, b"", Fault.LENGTH),
        (Command.MARK, bytes(7), Fault.LENGTH),
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


def _packets(conversation):
    """The packets of a conversation whose replies are all empty."""
    try:
        packet = next(conversation)
        while True:
            yield packet
            packet = conversation.send(b"")
    except StopIteration:
        pass
