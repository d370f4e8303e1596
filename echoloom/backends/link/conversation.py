"""The host's side of the link: commands as conversations that know nothing of their carrier.

A conversation is a generator: it yields one request, is sent the payload of its reply, and returns
its result. A `Carrier` takes it over a serial port, the tests through a simulator:

    words = carrier.converse(read(Space.VECTOR, lane=0, address=16, count=4))

Anything unexpected raises LinkError. After one in a pass the pass is lost: `reset`.
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple, TypeVar

from echoloom.backends.link.errors import LinkError
from echoloom.hdl.link import (
    ERROR,
    IDENTIFY_WORDS,
    MOST_SAMPLES,
    MOST_WORDS,
    REPLY,
    SAMPLE_BYTES,
    WORD_BYTES,
    Command,
    Fault,
)
from echoloom.hdl.packets import Packet
from echoloom.ir.contract import Register, Space
from echoloom.ir.fields import check_place, check_register

T = TypeVar("T")
DONE = 2  # bit 1 of STATUS
LOADING = 1  # the mark of a board that holds a part of a program


class Request(NamedTuple):
    """A packet to send. One that is `repeatable` has the same effect twice as once."""

    command: Command
    payload: bytes = b""
    repeatable: bool = True


Conversation = Generator[Request, bytes, T]

_FAULTS: Mapping[int, str] = {
    Fault.CHECK: "a packet arrived damaged",
    Fault.UNKNOWN: "it does not know the command",
    Fault.LENGTH: "the command's payload has the wrong length",
}


class Identity(NamedTuple):
    """What IDENTIFY answers: which engine, the last MARK, cycles of the engine's clock so far."""

    engine: int
    mark: int
    cycles: int


def reply_payload(command: Command, reply: Packet) -> bytes:
    """The payload of a reply to `command`. Raises LinkError for anything but its reply."""
    name = command.name
    if not reply.intact:
        raise LinkError(f"the board's reply to {name} arrived damaged")
    if reply.code == ERROR and len(reply.payload) == 1 and reply.payload[0] in _FAULTS:
        raise LinkError(f"the board refused {name}: {_FAULTS[reply.payload[0]]}")
    if reply.code != command | REPLY:
        raise LinkError(f"the board's reply to {name} has the code {reply.code:#04x}")
    return reply.payload


def identify() -> Conversation[Identity]:
    """Which engine this is, and what it says that it holds."""
    payload = yield Request(Command.IDENTIFY)
    _integers(payload, WORD_BYTES, IDENTIFY_WORDS, "IDENTIFY")
    return Identity(*struct.unpack("<QQQ", payload))


def mark(word: int) -> Conversation[None]:
    """Have the board say `word`, of 64 bits, in IDENTIFY until it is reset as a whole."""
    yield from _without_payload(Request(Command.MARK, struct.pack("<Q", word)))


def reset() -> Conversation[None]:
    """Stop the engine and forget samples and outputs.

    Registers and the section table are cleared too; memories and the mark keep their contents.
    """
    yield from _without_payload(Request(Command.RESET))


def write(space: Space, lane: int, address: int, words: Sequence[int]) -> Conversation[None]:
    """Write 64-bit words, taken modulo 2**64, to consecutive addresses.

    Raises ValueError, before the first, for a lane or an address that the bus cannot name.
    """
    check_place(lane, address)
    check_place(lane, address + max(len(words), 1) - 1)
    for start in range(0, len(words), MOST_WORDS):
        burst = words[start : start + MOST_WORDS]
        target = struct.pack("<BBH", space, lane, address + start)
        data = b"".join((word & (1 << 64) - 1).to_bytes(WORD_BYTES, "little") for word in burst)
        yield from _without_payload(Request(Command.WRITE, target + data))


def write_all(items: Iterable[tuple[int, int, int, int]]) -> Conversation[None]:
    """Write (space, lane, address, data) rows in their order, runs of addresses in bursts."""
    for rows in _runs(list(items)):
        space, lane, address, _ = rows[0]
        yield from write(Space(space), lane, address, [row[3] for row in rows])


def load(items: Iterable[tuple[int, int, int, int]], word: int) -> Conversation[None]:
    """Reset, write rows as `write_all` and mark the board with `word`, LOADING meanwhile.

    Raises LinkError if the board was reset before it had all: what was written is lost then.
    """
    yield from mark(LOADING)
    yield from reset()
    yield from write_all(items)
    before = yield from identify()
    if before.mark == LOADING:
        yield from mark(word)
        after = yield from identify()
        # Reset in between: less time has passed since than the loading took.
        if after.mark == word and after.cycles >= before.cycles:
            return
        yield from mark(0)
    raise LinkError("the board was reset while it was loaded")


def read(space: Space, lane: int, address: int, count: int) -> Conversation[list[int]]:
    """Read `count` words from consecutive addresses, as signed 64-bit integers.

    Raises ValueError, before the first, for a lane or an address that the bus cannot name.
    """
    check_place(lane, address)
    check_place(lane, address + max(count, 1) - 1)
    words: list[int] = []
    while len(words) < count:
        most = min(MOST_WORDS, count - len(words))
        target = struct.pack("<BBBH", most, space, lane, address + len(words))
        payload = yield Request(Command.READ, target)
        words += _integers(payload, WORD_BYTES, most, "READ")
    return words


def read_all(places: Iterable[tuple[int, int, int]]) -> Conversation[list[int]]:
    """Read (space, lane, address) places; the words in their order. Runs of addresses are read in
    bursts, whatever their order."""
    wanted = list(places)
    found: dict[tuple[int, int, int], int] = {}
    for rows in _runs(sorted(set(wanted))):
        space, lane, address = rows[0]
        words = yield from read(Space(space), lane, address, len(rows))
        found.update(zip(rows, words, strict=True))
    return [found[place] for place in wanted]


def push(samples: Sequence[int]) -> Conversation[int]:
    """Offer samples, MOST_SAMPLES at most; the number of them, from the first, that were accepted.

    Raises ValueError for more samples, or one that needs more than SAMPLE_BYTES.
    """
    if not 0 < len(samples) <= MOST_SAMPLES:
        raise ValueError(f"a packet carries 1 to {MOST_SAMPLES} samples, got {len(samples)}")
    try:
        data = b"".join(int(s).to_bytes(SAMPLE_BYTES, "little", signed=True) for s in samples)
    except OverflowError as error:
        raise ValueError(f"a sample does not fit in {8 * SAMPLE_BYTES} bits") from error
    payload = yield Request(Command.PUSH, data, repeatable=False)
    if len(payload) != 1 or payload[0] > len(samples):
        raise LinkError("the board's reply to PUSH makes no sense")
    return payload[0]


def fetch(most: int = MOST_SAMPLES) -> Conversation[list[int]]:
    """The outputs that are there, `most` (and MOST_SAMPLES) at most."""
    request = Request(Command.FETCH, bytes([min(most, MOST_SAMPLES)]), repeatable=False)
    payload = yield request
    return _integers(payload, SAMPLE_BYTES, None, "FETCH")


def run_pass(
    command: int,
    samples: Sequence[int],
    registers: Mapping[Register, int],
    polls: int = 1000,
) -> Conversation[list[int]]:
    """Run one pass (COMMAND `command`) on its samples; all of its outputs.

    `registers` are written before: LENGTH, and whatever else the pass reads; a register keeps
    its value from pass to pass. Samples and outputs take turns, so neither can block the other.
    Raises LinkError when `polls` rounds in a row moved nothing and the pass is not done, or if
    samples are left over; ValueError, before anything is sent, for a value that a register would
    cut.
    """
    for register, value in registers.items():
        check_register(register, value)
    for register, value in [*registers.items(), (Register.COMMAND, command)]:
        yield from write(Space.REGISTER, 0, register, [value])
    return (yield from stream(samples, polls))


def stream(samples: Sequence[int], polls: int = 1000) -> Conversation[list[int]]:
    """Feed a pass that was started, as in `run_pass`; all of its outputs."""
    outputs: list[int] = []
    sent = idle = 0
    while idle < polls:
        moved = 0
        if sent < len(samples):
            moved = yield from push(samples[sent : sent + MOST_SAMPLES])
            sent += moved
            if moved and sent < len(samples):
                idle = 0
                continue  # while samples go in, nothing waits for an output to be fetched
        # The status is read before the outputs: done means that all of them are out.
        (status,) = yield from read(Space.REGISTER, 0, Register.STATUS, 1)
        arrived = yield from fetch()
        outputs += arrived
        if status & DONE and not arrived:
            if sent < len(samples):
                raise LinkError(f"the pass ended with {len(samples) - sent} samples left over")
            return outputs
        idle = 0 if moved or arrived else idle + 1
    raise LinkError(f"the pass did not end: {sent} of {len(samples)} samples were accepted")


Row = TypeVar("Row", bound=tuple[int, ...])


def _runs(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """Rows (space, lane, address, ...) cut where the address is not the next one."""
    ends = [
        index + 1
        for index, (a, b) in enumerate(pairwise(rows))
        if (a[0], a[1], a[2] + 1) != (b[0], b[1], b[2])
    ]
    for start, end in pairwise([0, *ends, len(rows)]):
        if start < end:
            yield rows[start:end]


def _without_payload(request: Request) -> Conversation[None]:
    if (yield request):
        raise LinkError(f"the board's reply to {request.command.name} makes no sense")


def _integers(payload: bytes, size: int, count: int | None, name: str) -> list[int]:
    if len(payload) % size or (count is not None and len(payload) != count * size):
        raise LinkError(f"the board's reply to {name} has {len(payload)} bytes")
    return [
        int.from_bytes(payload[i : i + size], "little", signed=True)
        for i in range(0, len(payload), size)
    ]
