"""The host's end of the link: a board that answers what no board answers.

An input is the choices of a dialogue: the driver runs against the golden board, whose replies are
changed on their way.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import numpy as np
from fuzz_bytes import Choices, raw
from fuzz_programs import EDGES, program
from fuzz_worker import Reader

from echoloom.backends.board import line
from echoloom.backends.board.board import Board
from echoloom.backends.link import carrier
from echoloom.backends.link.errors import BoardError
from echoloom.hdl.commands import ERROR, Command, LinkSizes
from echoloom.hdl.numbers import decode_numbers, encode_numbers
from echoloom.hdl.packets import FLUSH, PAYLOAD, Packet, PacketDecoder, encode
from echoloom.sim.golden_board import GoldenBoard

TIMEOUT_S = 0.5  # of the line's own time
BYTE_S = 1e-5
SIZES = LinkSizes(window=2048, samples=256, listed=256)
TALK = 60  # replies, within which a hostile board begins to be one
HONEST = b""  # the input of which nothing goes wrong
X = np.linspace(-1.0, 1.0, 12).reshape(6, 2)


class Clock:
    """The line's own time, which only waiting for bytes takes: stands for the module `time`."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def monotonic_ns(self) -> int:
        return 0


CLOCK = Clock()


class HostilePort:
    """A port of the carrier's, with a golden board behind whose replies are changed."""

    # Of the next port that is opened; a new board if there is none.
    rng, honest = Random(0), True
    board: GoldenBoard | None = None

    def __init__(self, path: str, baud: int, timeout_s: float) -> None:
        self.timeout_s, self._rng = timeout_s, self.rng
        mapped = program().artifact.mapped
        self._board = self.board or GoldenBoard(mapped.config, mapped.timing, SIZES)
        self._decoder, self._waiting = PacketDecoder(), bytearray()
        self._left = sys.maxsize if self.honest else self._rng.randrange(TALK)
        self._kind, self._always = self._rng.randrange(12), self._rng.random() < 0.5

    def write(self, data: bytes) -> None:
        for reply in self._decoder.feed(self._board.feed(data)):
            self._left -= 1
            wrong = self._left == 0 or (self._left < 0 and self._always)
            self._waiting += self._changed(reply) if wrong else _bytes(reply)

    def read(self, count: int) -> bytes:
        if self._left <= 0 and self._kind == 0:  # noise without end
            CLOCK.now += count * BYTE_S
            return self._rng.randbytes(count)
        found = bytes(self._waiting[:count])
        del self._waiting[:count]
        CLOCK.now += len(found) * BYTE_S if len(found) == count else self.timeout_s
        return found

    def drop(self) -> None:
        self._waiting.clear()

    def send_break(self) -> None:
        self._board.reset()

    def close(self) -> None:
        pass

    def _changed(self, reply: Packet) -> bytes:
        rng, numbers = self._rng, decode_numbers(reply.payload)
        match self._kind:
            case 0 | 1:
                return rng.randbytes(rng.randrange(400))
            case 2:
                return b""
            case 3:
                return _bytes(reply)[:-1] + bytes([rng.randrange(256)])
            case 4:
                return encode(rng.randrange(256), reply.payload, reply.sequence)
            case 5:
                return encode(reply.code, reply.payload, rng.randrange(256))
            case 6:
                return encode(ERROR, encode_numbers([rng.choice(EDGES)]), reply.sequence)
            case 7:
                return _bytes(reply) * rng.choice((2, 50))
            case 8:
                payload = rng.randbytes(rng.randrange(PAYLOAD + 1))
                return encode(reply.code, payload, reply.sequence)
            case 9:
                numbers = numbers[: rng.randrange(len(numbers) + 1)]
            case 10:
                numbers += [rng.choice(EDGES)] * rng.randrange(1, 20)
            case _ if numbers:
                numbers[rng.randrange(len(numbers))] = rng.choice(EDGES)
        return encode(reply.code, encode_numbers(numbers), reply.sequence)


def _bytes(packet: Packet) -> bytes:
    return encode(packet.code, packet.payload, packet.sequence)


@contextmanager
def behind(board: GoldenBoard | None, data: bytes = HONEST) -> Iterator[Board]:
    """A driver of a board that the input makes hostile, on a line with a clock of its own."""
    HostilePort.board, HostilePort.rng, HostilePort.honest = board, Choices(data), data == HONEST
    real = line.SerialPort, carrier.time
    line.SerialPort, carrier.time = HostilePort, CLOCK  # type: ignore[misc, assignment]
    try:
        driver = Board("hostile", 1_000_000, TIMEOUT_S)
        driver.recover()
        yield driver
    finally:
        line.SerialPort, carrier.time = real  # type: ignore[misc]


def drive(path: Path) -> None:
    """All that a driver does."""
    with behind(None, path.read_bytes()) as driver:
        driver.load(program())
        driver.run(X)
        driver.run(X, 1)
        driver.status()


def decode(path: Path) -> None:
    """However bytes are cut into parts, the same packets are found, and as many bytes as needed."""
    data = path.read_bytes()
    whole = list(PacketDecoder().feed(data))
    decoder, parts, rng = PacketDecoder(), [], Random(len(data))
    at = 0
    while at < len(data):
        size = rng.choice((1, 3, 300))
        assert 0 <= decoder.missing <= FLUSH
        parts += decoder.feed(data[at : at + size])
        at += size
    assert parts == whole
    for found in whole:
        decode_numbers(found.payload)


def packets(rng: Random, seeds: list[bytes]) -> bytes:
    """Packets with right sums, damaged ones, and what stands between them."""
    return raw(rng, [b"".join(_any_packet(rng) for _ in range(rng.randrange(1, 9)))])


def _any_packet(rng: Random) -> bytes:
    payload = encode_numbers([rng.choice(EDGES) for _ in range(rng.randrange(20))])
    payload = payload if rng.random() < 0.7 else rng.randbytes(rng.randrange(PAYLOAD + 1))
    return encode(rng.randrange(256), payload[:PAYLOAD], rng.randrange(256))


def seed(rng: Random, seeds: list[bytes]) -> bytes:
    return rng.randbytes(8)


READERS = {
    "packets": Reader(lambda _: [encode(Command.IDENTIFY)], packets, decode),
    "host": Reader(lambda _: [HONEST], seed, drive, (BoardError, OSError), limit_s=20.0),
}
