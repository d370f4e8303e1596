"""Both ends of the link: a board that answers what no board answers, and a host that asks anything.

An input is the seed of a dialogue. The host's driver runs against the golden board, whose replies
are changed on their way; the board is sent packets with right sums and wrong numbers, and has to
answer as new after the zeros of the next line and a RESET.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
from fuzz_programs import program
from fuzz_worker import Reader

from echoloom.backends.board import line
from echoloom.backends.board.board import Board
from echoloom.backends.link.errors import BoardError
from echoloom.hdl.commands import ERROR, REPLY, Command, LinkSizes, identity
from echoloom.hdl.numbers import NUMBER_BITS, decode_numbers, encode_numbers
from echoloom.hdl.packets import FLUSH, PAYLOAD, Packet, PacketDecoder, encode
from echoloom.ir.contract import Register, Space
from echoloom.sim.golden_board import GoldenBoard

TIMEOUT_S = 0.02
EDGES = (0, 1, -1, 63, 64, 255, 256, 65_535, 65_536, 2**31, -(2**31), 2**63 - 1, -(2**63))
SIZES = LinkSizes(window=2048, samples=256, listed=256)
TALK = 60  # replies, within which a hostile board begins to be one
HONEST = b""  # the input of which nothing goes wrong
PACKETS = 12  # of a hostile host
X = np.linspace(-1.0, 1.0, 12).reshape(6, 2)


class HostilePort:
    """A port of the carrier's, with a golden board behind whose replies are changed."""

    rng, honest = Random(0), True  # of the next port that is opened

    def __init__(self, path: str, baud: int, timeout_s: float) -> None:
        self.timeout_s, self._rng = timeout_s, self.rng
        mapped = program().artifact.mapped
        self._board = GoldenBoard(mapped.config, mapped.timing, SIZES)
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
            return self._rng.randbytes(count)
        found = bytes(self._waiting[:count])
        del self._waiting[:count]
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


def drive(path: Path) -> None:
    """All that a driver does, with a board that the input makes hostile."""
    data = path.read_bytes()
    HostilePort.rng, HostilePort.honest = Random(data), data == HONEST
    board = Board("hostile", 1_000_000, TIMEOUT_S)
    board.recover()
    board.load(program())
    board.run(X)
    board.run(X, 1)
    board.status()


def drive_patched(path: Path) -> None:
    real = line.SerialPort
    line.SerialPort = HostilePort  # type: ignore[misc]
    try:
        drive(path)
    finally:
        line.SerialPort = real  # type: ignore[misc]


@cache
def rows() -> list[tuple[int, int, int, int]]:
    from echoloom.backends.link.image_writes import image_writes

    return sorted(image_writes(program().image, clear=True))


def packet(rng: Random) -> bytes:
    """One of a hostile host: its sum is right, unless it is not."""
    command = rng.choice((*Command, *Command, rng.randrange(256)))
    match rng.randrange(8):
        case 0:
            payload = rng.randbytes(rng.randrange(PAYLOAD + 1))
        case 1:
            payload = bytes([0x80]) * rng.randrange(12) + rng.choice((b"", b"\x00", b"\x7f"))
        case 2:
            register = rng.choice(list(Register))
            numbers = [Space.REGISTER, 0, register, rng.choice((*EDGES, *range(8)))]
            command, payload = Command.WRITE, encode_numbers(numbers)
        case 3:
            space, lane, address, word = rng.choice(rows())
            numbers = [space, lane, address, rng.choice((word >> 1, *EDGES))]
            command, payload = Command.WRITE, encode_numbers(numbers)
        case _:
            count = rng.choice((0, 1, 2, 3, 4, 4, 4, 5, 20))
            numbers = [rng.choice((*EDGES, *range(16))) for _ in range(count)]
            payload = encode_numbers(numbers)[:PAYLOAD]
    data = encode(command, payload, rng.randrange(256))
    if rng.random() < 0.1:
        data = data[: rng.randrange(len(data))] + rng.randbytes(rng.randrange(4))
    return data


def dialogue(rng: Random) -> list[bytes]:
    """What a hostile host sends before it is sent zeros and a RESET."""
    return [packet(rng) for _ in range(rng.randrange(1, PACKETS))]


def ask_board(path: Path) -> None:
    """A golden board answers every packet that it hears, and is as new after a RESET."""
    rng = Random(path.read_bytes())
    mapped = program().artifact.mapped
    board = GoldenBoard(mapped.config, mapped.timing, SIZES)
    for data in dialogue(rng):
        board.feed(data)
    board.feed(bytes(FLUSH))
    replies = board.feed(encode(Command.RESET, b"", 1) + encode(Command.IDENTIFY, b"", 2))
    reset, said = PacketDecoder().feed(replies)
    assert (reset.code, reset.payload) == (Command.RESET | REPLY, b"")
    own = decode_numbers(said.payload)[0] % (1 << NUMBER_BITS)
    assert own == identity(mapped.config, mapped.timing)


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
    data = b"".join(dialogue(rng))
    return data if rng.random() < 0.5 else data[rng.randrange(len(data) + 1) :]


def seed(rng: Random, seeds: list[bytes]) -> bytes:
    return rng.randbytes(8)


READERS = {
    "packets": Reader(lambda _: [encode(Command.IDENTIFY)], packets, decode),
    "host": Reader(lambda _: [HONEST], seed, drive_patched, (BoardError, OSError), limit_s=20.0),
    "golden-board": Reader(lambda _: [bytes(8)], seed, ask_board, (), limit_s=5.0),
}
