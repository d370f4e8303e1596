"""Takes conversations over a port: sequences, time-outs, and asking again."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from echoloom.backends.link.conversation import Conversation, Replies, Request, T, reply_numbers
from echoloom.backends.link.errors import LinkError
from echoloom.hdl.commands import LinkSizes
from echoloom.hdl.numbers import encode_numbers
from echoloom.hdl.packets import FLUSH, SEQUENCES, PacketDecoder, encode

TRIES = 4  # of a request that may be repeated; each waits twice as long as the one before
LONGEST = 2**TRIES - 1 + 2 * TRIES  # time-outs that a request takes at most, writing it included
MOST_WAITING = 32  # requests on the way: far fewer than there are sequences, so none is mistaken


class Port(Protocol):
    """What carries bytes: a serial port with a time-out. Its methods raise PortLost, and `write`
    raises LinkError when the time-out ends before all bytes were taken."""

    @property
    def timeout_s(self) -> float:
        """For how long `read` waits at most, and `write`."""
        ...

    def write(self, data: bytes, /) -> None:
        """Send all of `data`."""
        ...

    def read(self, count: int, /) -> bytes:
        """`count` bytes; fewer after the time-out."""
        ...

    def drop(self) -> None:
        """Forget what has come and was not read."""
        ...


Heard = Callable[[Request], None]
"""Told of each request when it has been carried out."""


class Carrier:
    """A port with a board behind.

    `window`: bytes of packets that may be on the way, which a board tells; until it has, as many as
    every board takes. `bytes_out`, `bytes_in` and `packets` count what was carried, `repeated` the
    requests that had to be sent again.
    """

    def __init__(self, port: Port) -> None:
        self.port = port
        self.window = LinkSizes().window
        self.bytes_out = self.bytes_in = self.packets = self.repeated = 0
        # Whoever had the port before may have left replies on the way.
        self._sequence = time.monotonic_ns() % SEQUENCES

    def converse(self, conversation: Conversation[T], heard: Heard = lambda request: None) -> T:
        """Carry a conversation and return its result.

        Requests that are not answered, or not as they should be, are sent again where that has the
        same effect, TRIES times in all: a board that is slower than the time-out is waited for the
        longer. Raises LinkError after that, LONGEST time-outs of the port after the last reply at
        the latest, and PortLost.
        """
        try:
            requests = next(conversation)
            while True:
                requests = conversation.send(self._ask(requests, heard))
        except StopIteration as finished:
            return finished.value

    def resynchronise(self) -> None:
        """Bring the board's packet reader between two packets and drop what came before."""
        self._write(bytes(FLUSH))
        self.port.drop()

    def _ask(self, requests: Sequence[Request], heard: Heard) -> Replies:
        tries = TRIES if all(request.repeatable for request in requests) else 1
        replies: dict[int, Sequence[int]] = {}  # by their requests' places
        sent: set[int] = set()
        for number in range(1, tries + 1):
            try:
                if number > 1:
                    self.repeated += len(sent - replies.keys())
                    self.resynchronise()
                patience_s = self.port.timeout_s * 2 ** (number - 1)
                self._exchange(requests, replies, sent, patience_s, heard)
                break
            except LinkError:
                if number == tries:
                    raise
        return [replies[place] for place in range(len(requests))]

    def _exchange(
        self,
        requests: Sequence[Request],
        replies: dict[int, Sequence[int]],
        sent: set[int],
        patience_s: float,
        heard: Heard,
    ) -> None:
        """Send what is not among `replies` yet, a window at a time, and put its replies there."""
        todo = deque(place for place in range(len(requests)) if place not in replies)
        waiting: dict[int, tuple[int, int]] = {}  # by sequence: the request's place, and its bytes
        decoder, deadline = PacketDecoder(), time.monotonic() + patience_s
        while todo or waiting:
            packets = bytearray()
            while todo and len(waiting) < MOST_WAITING:
                request = requests[todo[0]]
                packet = encode(request.command, encode_numbers(request.numbers), self._next())
                on_the_way = sum(size for _, size in waiting.values())
                if waiting and on_the_way + len(packet) > self.window:
                    break
                self._sequence = self._next()
                waiting[self._sequence] = todo[0], len(packet)
                sent.add(todo.popleft())
                packets += packet
                self.packets += 1
            self._write(bytes(packets))
            first = requests[next(iter(waiting.values()))[0]].command.name
            if time.monotonic() > deadline:
                raise LinkError(f"the board's reply to {first} did not come")
            received = self.port.read(decoder.missing)
            self.bytes_in += len(received)
            for reply in decoder.feed(received):
                if not reply.intact:  # it might be anybody's
                    raise LinkError(f"the board's reply to {first} arrived damaged")
                if reply.sequence not in waiting:
                    continue  # it answers what was given up before
                while (oldest := next(iter(waiting))) != reply.sequence:
                    del waiting[oldest]  # lost: replies come in their requests' order
                place, _ = waiting.pop(reply.sequence)
                replies[place] = reply_numbers(requests[place].command, reply)
                deadline = time.monotonic() + patience_s
                heard(requests[place])
        for place, request in enumerate(requests):
            if place not in replies:
                raise LinkError(f"the board's reply to {request.command.name} did not come")

    def _next(self) -> int:
        return (self._sequence + 1) % SEQUENCES

    def _write(self, data: bytes) -> None:
        if data:
            self.port.write(data)
        self.bytes_out += len(data)
