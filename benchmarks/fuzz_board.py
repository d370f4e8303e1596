"""The board's end of the link: a host that asks anything, of the golden board and of the circuit.

An input is the choices of a dialogue: packets with right sums and wrong numbers, programs with a
wrong word and passes of them. After the zeros of the next line and a RESET a board answers as new.
What both boards say without an engine's help, they say alike.
"""

from __future__ import annotations

import atexit
import time
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from random import Random

import fuzz_link
from fuzz_bytes import Choices
from fuzz_programs import EDGES, program
from fuzz_worker import Reader

from echoloom.backends.link.conversation import all_writes
from echoloom.backends.link.image_writes import image_writes
from echoloom.backends.link.serial import SerialPort
from echoloom.hdl.commands import ERROR, REPLY, Command, LinkSizes, identity
from echoloom.hdl.numbers import NUMBER_BITS, decode_numbers, encode_numbers
from echoloom.hdl.packets import FLUSH, PAYLOAD, Packet, PacketDecoder, encode
from echoloom.ir.contract import Register, Space
from echoloom.sim.board_faults import same
from echoloom.sim.golden_board import GoldenBoard
from echoloom.sim.virtual_board import virtual_board

SIZES = LinkSizes(window=2048, samples=256, listed=256)
PACKETS = 12
ANSWER_S = 10.0  # for one answer of a simulated board on a machine with other work
# Replies that have no numbers of the engine's.
ALIKE = {ERROR, *(c | REPLY for c in (Command.WRITE, Command.RESET, Command.MARK, Command.PLAY))}


@cache
def rows() -> list[tuple[int, int, int, int]]:
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


def nonsense(rng: Random) -> list[bytes]:
    """A program of which a few words are others, and a pass of it."""
    own = list(rows())
    for _ in range(rng.choice((1, 3))):
        at = rng.choice([n for n, row in enumerate(own) if row[0] != Space.VECTOR])
        own[at] = (*own[at][:3], rng.choice((own[at][3] ^ 1 << rng.randrange(30), 0, 2**31)))
    length = rng.choice((0, 1, 2, 5, 2**15, 2**31, 2**40))
    asked = [(request.command, request.numbers) for request in all_writes(own)]
    asked += [
        (Command.WRITE, (Space.REGISTER, 0, Register.LENGTH, length)),
        (Command.WRITE, (Space.REGISTER, 0, Register.FRAME, rng.choice((2, 2, 0, 1, -1, 2**40)))),
        (Command.PLAY, (0, rng.choice((2, 1, 0, 77)), rng.choice((1, -3, 0)), rng.choice((5, 0)))),
        (Command.WRITE, (Space.REGISTER, 0, Register.COMMAND, rng.choice((1, 1, 2, 3, 4)))),
        (Command.PUSH, (0, *range(rng.choice((4, 10, 60))))),
        (Command.COLLECT, (0, rng.randrange(2))),
    ]
    return [encode(c, encode_numbers(numbers), n % 256) for n, (c, numbers) in enumerate(asked)]


def dialogue(rng: Random) -> list[bytes]:
    """What a hostile host sends before it is sent zeros and a RESET."""
    begin = nonsense(rng) if rng.random() < 0.3 else []
    return begin + [packet(rng) for _ in range(rng.randrange(1, PACKETS))]


END = (bytes(FLUSH), encode(Command.RESET, b"", 1), encode(Command.IDENTIFY, b"", 2))


def as_new(reset: Packet, said: Packet) -> bool:
    """Whether these are the replies of a board that is well."""
    mapped = program().artifact.mapped
    own = decode_numbers(said.payload)[0] % (1 << NUMBER_BITS)
    return (
        (reset.code, reset.payload) == (Command.RESET | REPLY, b"")
        and said.code == Command.IDENTIFY | REPLY
        and own == identity(mapped.config, mapped.timing)
    )


def golden() -> GoldenBoard:
    mapped = program().artifact.mapped
    return GoldenBoard(mapped.config, mapped.timing, SIZES)


def ask_golden(path: Path) -> None:
    """A golden board is as new after anything, and computes a good program's numbers then."""
    board = golden()
    for data in (*dialogue(Choices(path.read_bytes())), END[0]):
        board.feed(data)
    (reset,), (said,) = (list(PacketDecoder().feed(board.feed(data))) for data in END[1:])
    assert as_new(reset, said), "the board is not as new"
    with fuzz_link.behind(board) as driver:
        driver.load(program(), anew=True)
        assert same(driver.run(fuzz_link.X, 1), program().run(fuzz_link.X, 1)), "other numbers"


@cache
def circuit() -> SerialPort:
    """A simulated board that is there until the process ends."""
    mapped, stack = program().artifact.mapped, ExitStack()
    atexit.register(stack.close)
    served = stack.enter_context(virtual_board(mapped.config, mapped.timing, sizes=SIZES))
    return SerialPort(served.port, timeout_s=2.0)


def ask_circuit(path: Path) -> None:
    """The circuit answers each packet that the golden board answers, in its order, and alike where
    no engine has a say; it is as new after anything."""
    port, board = circuit(), golden()
    port.drop()
    for data in END:
        exchange(port, data, board.feed(data))
    for data in dialogue(Choices(path.read_bytes())):
        exchange(port, data, board.feed(data))
    exchange(port, END[0], board.feed(END[0]))
    (reset,), (said,) = (exchange(port, data, board.feed(data)) for data in END[1:])
    assert as_new(reset, said), "the circuit is not as new"


def exchange(port: SerialPort, data: bytes, expected: bytes) -> list[Packet]:
    """The circuit's replies to these bytes, as many as are expected."""
    wanted = list(PacketDecoder().feed(expected))
    port.write(data)
    decoder, found, until = PacketDecoder(), [], time.monotonic() + ANSWER_S
    while len(found) < len(wanted):
        found += decoder.feed(port.read(decoder.missing))
        assert time.monotonic() < until, f"no answer to {data.hex()}"
    for ours, theirs in zip(wanted, found, strict=True):
        assert theirs.intact
        assert (theirs.code, theirs.sequence) == (ours.code, ours.sequence), data.hex()
        assert ours.code not in ALIKE or theirs.payload == ours.payload, data.hex()
    return found


def seed(rng: Random, seeds: list[bytes]) -> bytes:
    return rng.randbytes(8)


READERS = {
    "golden-board": Reader(lambda _: [bytes(8)], seed, ask_golden, ()),
    "circuit": Reader(lambda _: [bytes(8)], seed, ask_circuit, (), limit_s=120.0),
}
