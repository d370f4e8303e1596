"""A host at the byte streams of a simulated link."""

from __future__ import annotations

from collections import deque
from typing import Any

from amaranth.hdl import Module
from amaranth.lib.wiring import connect

from echoloom.backends.link import conversation as host
from echoloom.hdl.engine import Engine
from echoloom.hdl.link import Link
from echoloom.hdl.numbers import encode_numbers
from echoloom.hdl.packets import SEQUENCES, Packet, PacketDecoder, encode


def joined(link: Link, engine: Engine) -> Module:
    """Both on one clock."""
    top = Module()
    top.submodules.link, top.submodules.engine = link, engine
    top.d.comb += engine.clear.eq(link.reset)
    for name in ("request", "response", "samples", "outputs"):
        connect(top, getattr(link, name), getattr(engine, name))
    return top


class SimulatedPort:
    """Bytes to and from a simulated link; replies are collected as they come."""

    ctx: Any  # the running testbench's context

    def __init__(self, link: Link) -> None:
        self.link = link
        self.replies: deque[Packet] = deque()
        self.sequence = 0

    async def collect(self, ctx):
        decoder = PacketDecoder()
        ctx.set(self.link.tx.ready, 1)
        while True:
            if ctx.get(self.link.tx.valid):
                self.replies += decoder.feed(bytes([ctx.get(self.link.tx.payload)]))
            await ctx.tick()

    async def send(self, data: bytes) -> None:
        for byte in data:
            self.ctx.set(self.link.rx.payload, byte)
            self.ctx.set(self.link.rx.valid, 1)
            await self.ctx.tick().until(self.link.rx.ready)
            self.ctx.set(self.link.rx.valid, 0)

    async def reply(self) -> Packet:
        for _ in range(5000):
            if self.replies:
                return self.replies.popleft()
            await self.ctx.tick()
        raise AssertionError("the link did not answer")

    async def exchange(self, packet: bytes) -> tuple[int, bytes]:
        await self.send(packet)
        reply = await self.reply()
        assert reply.intact
        assert reply.sequence == packet[2]
        return reply.code, reply.payload

    async def converse(self, conversation):
        """All packets of a turn before any of its replies: the link keeps them in order."""
        try:
            requests = next(conversation)
            while True:
                sent = []
                for request in requests:
                    self.sequence = (self.sequence + 37) % SEQUENCES
                    sent.append(self.sequence)
                    numbers = encode_numbers(request.numbers)
                    await self.send(encode(request.command, numbers, self.sequence))
                replies = []
                for request, sequence in zip(requests, sent, strict=True):
                    reply = await self.reply()
                    assert reply.sequence == sequence
                    replies.append(host.reply_numbers(request.command, reply))
                requests = conversation.send(replies)
        except StopIteration as finished:
            return finished.value
