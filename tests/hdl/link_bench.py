"""A host at the byte streams of a simulated link."""

from __future__ import annotations

from collections import deque
from typing import Any

from echoloom.backends.link import conversation as host
from echoloom.hdl.link import Link
from echoloom.hdl.packets import PacketDecoder


class SimulatedPort:
    """Bytes to and from a simulated link; replies are collected as they come."""

    ctx: Any  # the running testbench's context

    def __init__(self, link: Link) -> None:
        self.link = link
        self.replies: deque[tuple[int, bytes, bool]] = deque()

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

    async def reply(self) -> tuple[int, bytes, bool]:
        for _ in range(5000):
            if self.replies:
                return self.replies.popleft()
            await self.ctx.tick()
        raise AssertionError("the link did not answer")

    async def exchange(self, packet: bytes) -> tuple[int, bytes]:
        await self.send(packet)
        code, payload, intact = await self.reply()
        assert intact
        return code, payload

    async def converse(self, conversation):
        try:
            packet = next(conversation)
            while True:
                code, payload = await self.exchange(packet)
                packet = conversation.send(host.reply_payload(packet[1], code, payload, True))
        except StopIteration as finished:
            return finished.value
