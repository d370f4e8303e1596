"""The passes of an update through the link: a list that the board keeps, played by one request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from echoloom.backends.link.conversation import (
    IDENTIFY,
    Conversation,
    Identity,
    ReadPlan,
    Replies,
    Request,
    all_writes,
    counted,
    identity_of,
)
from echoloom.backends.link.ends import Ends
from echoloom.backends.link.errors import LinkError
from echoloom.backends.link.passes import POLLS, Access
from echoloom.hdl.commands import PATIENCE, Command
from echoloom.hdl.numbers import size_of
from echoloom.hdl.packets import PAYLOAD
from echoloom.hdl.update_list import CLAMPS, DATA_BITS, LIST, NUMBERS, Entry
from echoloom.ir.contract import Register, Space

SLOWER = 8  # times that the engine's clock may be slower than the link's
NUMBER_BYTES = 8  # of a LEARN, before the words that it carries


@dataclass(frozen=True)
class RowPass:
    """A pass that takes no samples and gives no outputs. `accesses` are writes (space, lane,
    address, data), the last of them that of COMMAND; it is to take `cycles` of the engine's clock,
    and if it `clamps`, CLAMPED counts for it."""

    accesses: Sequence[Access]
    cycles: int
    clamps: bool


@dataclass(frozen=True)
class _Part:
    """As much of an update as a list holds: entries, and the cycles of the passes in it."""

    words: Sequence[int]
    cycles: int

    @property
    def counts(self) -> list[int]:
        """Where CLAMPED is kept."""
        return [at for at, word in enumerate(self.words) if word == CLAMPS.word]


def run_update(ends: Ends, passes: Sequence[RowPass]) -> Conversation[tuple[list[int], Identity]]:
    """Run them one after the other: the counts of those that clamp, and what the board says of
    itself then.

    What its list has already is not sent. Every request may be sent again: the board makes an
    update of the same number once. Raises LinkError if a pass does not end, or takes other than its
    cycles, or the board was reset. All is lost then, and `ends` is wrong, until a reset.
    """
    clamped: list[int] = []
    said: Sequence[int] = ()
    for part in _parts(passes, ends.room):
        number = ends.updates % NUMBERS
        carried, ahead = _changed(ends.listed, part.words)
        if ahead:
            replies = yield ahead
            for request, numbers in zip(ahead, replies, strict=True):
                counted(request, numbers, 0)
        learn = Request(Command.LEARN, (number, 0, len(part.words), *carried))
        replies = yield [learn] * ends.waits.get(part.cycles, waits(part.cycles)) + [IDENTIFY]
        turns = 0
        while (counts := _finished(ends, part, learn, replies)) is None:
            turns += 1
            if turns > POLLS:
                raise LinkError(f"an update of {part.cycles} cycles did not end in its time")
            replies = yield [learn, IDENTIFY]
        said = replies[-1]
        cycles, count = counts
        if cycles != part.cycles:
            raise LinkError(f"an update took {cycles} cycles instead of {part.cycles}")
        ends.updates += 1
        ends.listed |= dict(enumerate(part.words))
        if count:
            plan = ReadPlan((LIST, 0, at) for at in part.counts)
            found = plan.words((yield plan.requests))
            clamped += [Entry.of(word).data % (1 << DATA_BITS) for word in found]
        else:
            clamped += [0] * len(part.counts)
    ends.registers |= _registers(passes)
    return clamped, identity_of(said)


def waits(cycles: int) -> int:
    """How many LEARNs, each of which waits, it takes until passes of so many cycles are done."""
    return cycles * SLOWER // PATIENCE + 1


def _finished(ends: Ends, part: _Part, learn: Request, replies: Replies) -> tuple[int, int] | None:
    """Cycles, and how many results were clamped, of an update that is done; None if it is not.
    Raises LinkError if it was not begun."""
    number = learn.numbers[0]
    for turn, numbers in enumerate(replies[:-1], 1):
        made, busy, cycles, clamped = counted(learn, numbers, 4)
        if made != (number + 1) % NUMBERS:
            raise LinkError(
                f"the board is at update {made} instead of {(number + 1) % NUMBERS}: it was reset, "
                "or makes another one"
            )
        if not busy:
            ends.waits[part.cycles] = turn
            return cycles, clamped
    return None


def _changed(
    listed: Mapping[int, int], words: Sequence[int]
) -> tuple[Sequence[int], list[Request]]:
    """How the board's list gets what it has not: the words that the LEARN carries, from the list's
    beginning on, or requests that have to be carried out before it."""
    changed = [at for at, word in enumerate(words) if listed.get(at) != word]
    carried = words[: changed[-1] + 1] if changed else ()
    if sum(map(size_of, carried)) <= PAYLOAD - NUMBER_BYTES:
        return carried, []
    return (), [*all_writes((LIST, 0, at, words[at]) for at in changed)]


def _parts(passes: Sequence[RowPass], room: int) -> Iterator[_Part]:
    """The update cut into lists of at most `room` entries."""
    entries = list(_entries(passes))
    for begin in range(0, len(entries), room):
        part = entries[begin : begin + room]
        yield _Part([entry.word for entry, _ in part], sum(cycles for _, cycles in part))


def _entries(passes: Sequence[RowPass]) -> Iterator[tuple[Entry, int]]:
    """The list of an update, and the cycles that each entry waits for. What a register holds
    already is not written again."""
    held: dict[int, int] = {}
    for one in passes:
        *before, command = one.accesses
        for access in before:
            space, _, address, data = access
            if space == Space.REGISTER:
                if held.get(address) == data:
                    continue
                held[address] = data
            yield Entry(*access), 0
        yield Entry(*command), one.cycles
        if one.clamps:
            yield CLAMPS, 0


def _registers(passes: Sequence[RowPass]) -> dict[int, int]:
    """What registers hold after them."""
    return {
        address: data
        for one in passes
        for space, _, address, data in one.accesses
        if space == Space.REGISTER and address != Register.COMMAND
    }
