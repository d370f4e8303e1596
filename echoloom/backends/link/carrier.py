"""Takes conversations over a port: sequences, time-outs, and asking again."""

from __future__ import annotations

import time
from typing import Protocol

from echoloom.backends.link.conversation import Conversation, Request, T, reply_payload
from echoloom.backends.link.errors import LinkError
from echoloom.hdl.packets import FLUSH, SEQUENCES, PacketDecoder, encode

TRIES = 4  # of a request that may be repeated; each waits twice as long as the one before
LONGEST = 2**TRIES - 1 + 2 * TRIES  # time-outs that a request takes at most, writing it included


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


class Carrier:
    """A port with a board behind. One request is under way at a time.

    `bytes_out`, `bytes_in` and `packets` count what was carried, `repeated` the requests that had
    to be sent again.
    """

    def __init__(self, port: Port) -> None:
        self.port = port
        self.bytes_out = self.bytes_in = self.packets = self.repeated = 0
        # Whoever had the port before may have left replies on the way.
        self._sequence = time.monotonic_ns() % SEQUENCES

    def converse(self, conversation: Conversation[T]) -> T:
        """Carry a conversation and return its result.

        A request that is not answered, or not as it should be, is sent again where that has the
        same effect, TRIES times in all: a board that is slower than the time-out is waited for the
        longer. Raises LinkError after that, in LONGEST time-outs of the port at most, and PortLost.
        """
        try:
            request = next(conversation)
            while True:
                request = conversation.send(self._ask(request))
        except StopIteration as finished:
            return finished.value

    def resynchronise(self) -> None:
        """Bring the board's packet reader between two packets and drop what came before."""
        self._write(bytes(FLUSH))
        self.port.drop()

    def _ask(self, request: Request) -> bytes:
        tries = TRIES if request.repeatable else 1
        for number in range(1, tries + 1):
            try:
                if number > 1:
                    self.repeated += 1
                    self.resynchronise()
                return self._exchange(request, self.port.timeout_s * 2 ** (number - 1))
            except LinkError:
                if number == tries:
                    raise
        raise AssertionError("a request is tried once at least")

    def _exchange(self, request: Request, patience_s: float) -> bytes:
        self._sequence = (self._sequence + 1) % SEQUENCES
        self._write(encode(request.command, request.payload, self._sequence))
        self.packets += 1
        decoder, deadline = PacketDecoder(), time.monotonic() + patience_s
        damaged = False
        while time.monotonic() < deadline:
            received = self.port.read(decoder.missing)
            self.bytes_in += len(received)
            for reply in decoder.feed(received):
                # Others answer what was given up before; a damaged one might be anybody's.
                if reply.intact and reply.sequence == self._sequence:
                    return reply_payload(request.command, reply)
                damaged = damaged or not reply.intact
            if damaged:
                break
        how = "arrived damaged" if damaged else "did not come"
        raise LinkError(f"the board's reply to {request.command.name} {how}")

    def _write(self, data: bytes) -> None:
        self.port.write(data)
        self.bytes_out += len(data)
