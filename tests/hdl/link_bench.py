"""A host at the byte streams of a simulated link."""

from __future__ import annotations

from collections import deque
from typing import Any

from echoloom.backends.link import conversation as host
from echoloom.hdl.link import Link
from echoloom.hdl.packets import SEQUENCES, Packet, PacketDecoder, encode


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
        try:
            request = next(conversation)
            while True:
                self.sequence = (self.sequence + 37) % SEQUENCES
                await self.send(encode(request.command, request.payload, self.sequence))
                reply = await self.reply()
                assert reply.sequence == self.sequence
                request = conversation.send(host.reply_payload(request.command, reply))
        except StopIteration as finished:
            return finished.value
