"""The host's side of the link: commands as conversations that know nothing of their carrier.

A conversation is a generator: it yields requests that may be under way at the same time, is sent
the numbers of their replies, and returns its result. A `Carrier` takes it over a serial port, the
tests through a simulator:

    words = carrier.converse(read(Space.VECTOR, lane=0, address=16, count=4))

Anything unexpected raises LinkError. After one in a pass the pass is lost: `reset`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, TypeVar

from echoloom.backends.link.errors import LinkError, UnknownCommand
from echoloom.hdl.commands import ERROR, MOST_READ, REPLY, Command, Fault
from echoloom.hdl.numbers import NUMBER_BITS, decode_numbers, size_of
from echoloom.hdl.packets import PAYLOAD, Packet
from echoloom.ir.contract import Space
from echoloom.ir.fields import check_place

T = TypeVar("T")
LOADING = 1  # the mark of a board that holds a part of a program


class Request(NamedTuple):
    """A packet to send. One that is `repeatable` has the same effect twice as once."""

    command: Command
    numbers: tuple[int, ...] = ()
    repeatable: bool = True


class Run(NamedTuple):
    """Words at consecutive addresses."""

    space: int
    lane: int
    address: int
    words: int


Replies = Sequence[Sequence[int]]
# Requests that are yielded together are carried out in their order. Where all of them are
# repeatable, some may be carried out again after others, which must then make no difference.
Conversation = Generator[Sequence[Request], Replies, T]

_FAULTS = {
    Fault.CHECK: "a packet arrived damaged",
    Fault.UNKNOWN: "it does not know the command",
    Fault.LENGTH: "the command's numbers do not belong to it",
}


@dataclass(frozen=True)
class Identity:
    """What IDENTIFY answers: which engine, the last MARK, cycles of the link's clock so far and how
    quick that is; and what the link has room for, `window` bytes of packets on the way, `samples`,
    and `listed` entries of an update, of an engine that learns.
    """

    engine: int
    mark: int
    cycles: int
    khz: int
    window: int
    samples: int
    listed: int = 0


def reply_numbers(command: Command, reply: Packet) -> list[int]:
    """The numbers of a reply to `command`. Raises LinkError for anything but its reply."""
    name = command.name
    if not reply.intact:
        raise LinkError(f"the board's reply to {name} arrived damaged")
    if reply.code == ERROR and len(reply.payload) == 1 and reply.payload[0] in _FAULTS:
        kind = UnknownCommand if reply.payload[0] == Fault.UNKNOWN else LinkError
        raise kind(f"the board refused {name}: {_FAULTS[Fault(reply.payload[0])]}")
    if reply.code != command | REPLY:
        raise LinkError(f"the board's reply to {name} has the code {reply.code:#04x}")
    try:
        return decode_numbers(reply.payload)
    except ValueError as error:
        raise LinkError(f"the board's reply to {name} makes no sense: {error}") from error


def ask(request: Request, count: int | None = None) -> Conversation[Sequence[int]]:
    """The numbers of one request's reply, which are `count` if that is said."""
    (numbers,) = yield [request]
    return counted(request, numbers, count)


def counted(request: Request, numbers: Sequence[int], count: int | None) -> Sequence[int]:
    """The numbers of a reply. Raises LinkError if there are others than `count`."""
    if count is not None and len(numbers) != count:
        raise LinkError(
            f"the board's reply to {request.command.name} makes no sense: {len(numbers)} numbers "
            f"instead of {count}"
        )
    return numbers


IDENTIFY = Request(Command.IDENTIFY)


def identify() -> Conversation[Identity]:
    """Which engine this is, and what it says that it holds."""
    return identity_of((yield from ask(IDENTIFY)))


def identity_of(numbers: Sequence[int]) -> Identity:
    """What the numbers of a reply to IDENTIFY say."""
    if len(numbers) != 7:  # as the link to an engine that learns answers
        counted(IDENTIFY, numbers, 6)
    (engine, holds, *rest), every = numbers, (1 << NUMBER_BITS) - 1
    return Identity(engine & every, holds & every, *rest)


def mark(word: int) -> Conversation[None]:
    """Have the board say `word`, of 64 bits, in IDENTIFY until it is reset as a whole."""
    yield from ask(Request(Command.MARK, (signed(word),)), 0)


def reset() -> Conversation[None]:
    """Stop the engine and forget samples and outputs.

    Registers and the section table are cleared too; memories and the mark keep their contents.
    """
    yield from ask(Request(Command.RESET), 0)


def write(space: Space, lane: int, address: int, words: Sequence[int]) -> Conversation[None]:
    """Write 64-bit words, taken modulo 2**64, to consecutive addresses.

    Raises ValueError, before the first, for a lane or an address that the bus cannot name.
    """
    yield from _written(list(writes(space, lane, address, words)))


def write_all(items: Iterable[tuple[int, int, int, int]]) -> Conversation[None]:
    """Write (space, lane, address, data) rows in any order, runs of addresses in bursts.

    Raises as `write`.
    """
    yield from _written(list(all_writes(items)))


def all_writes(items: Iterable[tuple[int, int, int, int]]) -> Iterator[Request]:
    """The requests of `write_all`."""
    for rows in _runs(list(items)):
        space, lane, address, _ = rows[0]
        yield from writes(space, lane, address, [row[3] for row in rows])


def writes(space: int, lane: int, address: int, words: Sequence[int]) -> Iterator[Request]:
    """The requests of `write`, of as many words as a packet carries."""
    check_place(lane, address)
    check_place(lane, address + max(len(words), 1) - 1)
    for first, burst in packed([signed(word) for word in words], PAYLOAD - 3 - 3):
        yield Request(Command.WRITE, (space, lane, address + first, *burst))


def packed(numbers: Sequence[int], room: int) -> Iterator[tuple[int, Sequence[int]]]:
    """Numbers cut into parts of at most `room` bytes, each with its place."""
    begin = size = 0
    for at, number in enumerate(numbers):
        bytes_of = size_of(number)
        if size + bytes_of > room:
            yield begin, numbers[begin:at]
            begin, size = at, 0
        size += bytes_of
    if begin < len(numbers):
        yield begin, numbers[begin:]


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
    return (yield from read_all((space, lane, address + at) for at in range(count)))


def read_all(places: Iterable[tuple[int, int, int]]) -> Conversation[list[int]]:
    """Read (space, lane, address) places; the words in their order. Runs of addresses are read in
    bursts, whatever their order."""
    plan = ReadPlan(places)
    return plan.words((yield plan.requests) if plan.requests else ())


class ReadPlan:
    """How `places` are read: the `requests` for it, and from their replies the words."""

    def __init__(self, places: Iterable[tuple[int, int, int]]) -> None:
        self._wanted = list(places)
        self._bursts = [
            rows[at : at + MOST_READ]
            for rows in _runs(sorted(set(self._wanted)))
            for at in range(0, len(rows), MOST_READ)
        ]
        self.requests = [Request(Command.READ, (*rows[0], len(rows))) for rows in self._bursts]

    def words(self, replies: Replies) -> list[int]:
        """The words of the places, from the replies to the requests. Raises LinkError."""
        found: dict[tuple[int, int, int], int] = {}
        for rows, request, numbers in zip(self._bursts, self.requests, replies, strict=True):
            found.update(zip(rows, counted(request, numbers, len(rows)), strict=True))
        return [found[place] for place in self._wanted]


def signed(word: int) -> int:
    """A word modulo 2**64 as the line carries it."""
    half = 1 << NUMBER_BITS - 1
    return (word + half) % (2 * half) - half


def check(runs: Sequence[Run]) -> Conversation[list[int]]:
    """The checksum (`hdl.checksum`) of the words of each run, as the board reads them.

    Raises UnknownCommand for a board whose link has none, and ValueError as `read`.
    """
    for run in runs:
        check_place(run.lane, run.address)
        check_place(run.lane, run.address + max(run.words, 1) - 1)
    replies = yield [Request(Command.CHECK, tuple(run)) for run in runs]
    return [numbers[0] % (1 << NUMBER_BITS) for numbers in replies]


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


def _written(requests: Sequence[Request]) -> Conversation[None]:
    replies = (yield requests) if requests else ()
    for request, numbers in zip(requests, replies, strict=True):
        counted(request, numbers, 0)
