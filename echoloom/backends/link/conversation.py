"""The host's side of the link: commands as conversations that know nothing of their carrier.

A conversation is a generator: it yields one packet of bytes to send, is sent the payload of the
reply, and returns its result. A serial port, a simulator and a fake all carry it:

    words = converse(port, read(Space.VECTOR, lane=0, address=16, count=4))

Anything unexpected raises LinkError. After one the pass is lost: `resynchronise`, then reset.
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Protocol, TypeVar

from echoloom.hdl.link import (
    ERROR,
    MOST_SAMPLES,
    MOST_WORDS,
    REPLY,
    SAMPLE_BYTES,
    WORD_BYTES,
    Command,
    Fault,
    identity,
)
from echoloom.hdl.packets import FLUSH, PacketDecoder, encode
from echoloom.ir.contract import EngineConfig, Register, Space, Timing
from echoloom.ir.fields import check_place, check_register

T = TypeVar("T")
Conversation = Generator[bytes, bytes, T]

_FAULTS: Mapping[int, str] = {
    Fault.CHECK: "a packet arrived damaged",
    Fault.UNKNOWN: "it does not know the command",
    Fault.LENGTH: "the command's payload has the wrong length",
}


class LinkError(RuntimeError):
    """The board did not answer, answered something else, or refused; one sentence says which."""


class Port(Protocol):
    """What carries bytes: a serial port with a time-out."""

    def write(self, data: bytes, /) -> None:
        """Send all of `data`."""
        ...

    def read(self, most: int, /) -> bytes:
        """At least one byte and `most` at most; empty after the time-out."""
        ...


def converse(port: Port, conversation: Conversation[T]) -> T:
    """Carry a conversation over a port and return its result. Raises LinkError."""
    try:
        packet = next(conversation)
        while True:
            port.write(packet)
            packet = conversation.send(_reply(port, packet[1]))
    except StopIteration as finished:
        return finished.value


def resynchronise(port: Port) -> None:
    """Bring the board's packet reader between two packets and drop what it still sends."""
    port.write(bytes(FLUSH))
    while port.read(FLUSH):
        pass


def reply_payload(command: int, code: int, payload: bytes, intact: bool) -> bytes:
    """The payload of a reply to `command`. Raises LinkError for anything but its reply."""
    name = Command(command).name
    if not intact:
        raise LinkError(f"the board's reply to {name} arrived damaged")
    if code == ERROR and len(payload) == 1 and payload[0] in _FAULTS:
        raise LinkError(f"the board refused {name}: {_FAULTS[payload[0]]}")
    if code != command | REPLY:
        raise LinkError(f"the board's reply to {name} has the code {code:#04x}")
    return payload


def check_identity(config: EngineConfig, timing: Timing) -> Conversation[None]:
    """Ask for the engine's identity. Raises LinkError if it is not the one described."""
    found = yield encode(Command.IDENTIFY)
    if found != identity(config, timing).to_bytes(WORD_BYTES, "little"):
        raise LinkError("the board carries an engine of other sizes or latencies; load its own")


def reset() -> Conversation[None]:
    """Stop the engine and forget samples and outputs.

    Registers and the section table are cleared too; memories keep their contents.
    """
    yield encode(Command.RESET)


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
        yield encode(Command.WRITE, target + data)


def write_all(items: Iterable[tuple[int, int, int, int]]) -> Conversation[None]:
    """Write (space, lane, address, data) rows in their order, runs of addresses in bursts."""
    rows = list(items)
    ends = [
        index + 1
        for index, (a, b) in enumerate(pairwise(rows))
        if (a[0], a[1], a[2] + 1) != (b[0], b[1], b[2])
    ]
    for start, end in pairwise([0, *ends, len(rows)]):
        if start < end:
            space, lane, address, _ = rows[start]
            yield from write(Space(space), lane, address, [row[3] for row in rows[start:end]])


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
        payload = yield encode(Command.READ, target)
        words += _integers(payload, WORD_BYTES, most, "READ")
    return words


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
    payload = yield encode(Command.PUSH, data)
    if len(payload) != 1 or payload[0] > len(samples):
        raise LinkError("the board's reply to PUSH makes no sense")
    return payload[0]


def fetch(most: int = MOST_SAMPLES) -> Conversation[list[int]]:
    """The outputs that are there, `most` (and MOST_SAMPLES) at most."""
    payload = yield encode(Command.FETCH, bytes([min(most, MOST_SAMPLES)]))
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
    outputs: list[int] = []
    sent = idle = 0
    while idle < polls:
        moved = 0
        if sent < len(samples):
            moved = yield from push(samples[sent : sent + MOST_SAMPLES])
            sent += moved
        # The status is read before the outputs: done means that all of them are out.
        (status,) = yield from read(Space.REGISTER, 0, Register.STATUS, 1)
        arrived = yield from fetch()
        outputs += arrived
        if status & 2 and not arrived:
            if sent < len(samples):
                raise LinkError(f"the pass ended with {len(samples) - sent} samples left over")
            return outputs
        idle = 0 if moved or arrived else idle + 1
    raise LinkError(f"the pass did not end: {sent} of {len(samples)} samples were accepted")


def _integers(payload: bytes, size: int, count: int | None, name: str) -> list[int]:
    if len(payload) % size or (count is not None and len(payload) != count * size):
        raise LinkError(f"the board's reply to {name} has {len(payload)} bytes")
    return [
        int.from_bytes(payload[i : i + size], "little", signed=True)
        for i in range(0, len(payload), size)
    ]


def _reply(port: Port, command: int) -> bytes:
    decoder = PacketDecoder()
    while received := port.read(FLUSH):
        for code, payload, intact in decoder.feed(received):
            return reply_payload(command, code, payload, intact)
    raise LinkError(f"the board did not answer {Command(command).name}")
