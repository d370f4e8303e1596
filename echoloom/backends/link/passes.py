"""A pass of the engine through the link, in as few turns of the line as it takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from echoloom.backends.link.conversation import (
    IDENTIFY,
    Conversation,
    Identity,
    ReadPlan,
    Request,
    all_writes,
    counted,
    identity_of,
    packed,
)
from echoloom.backends.link.ends import POSITIONS, Ends, Play, Words
from echoloom.backends.link.errors import LinkError
from echoloom.hdl.commands import MOST_OUTPUTS, PATIENCE, Command
from echoloom.hdl.packets import PAYLOAD
from echoloom.hdl.store import OUTPUT_BITS
from echoloom.ir.contract import Space

BUSY, DONE = 1, 2  # bits of STATUS
POLLS = 1000  # turns in a row in which nothing moves, before a pass is given up
POSITION_BYTES = 3
OUTPUT_POSITIONS = 1 << OUTPUT_BITS

Access = tuple[int, int, int, int]  # space, lane, address, data


@dataclass(frozen=True)
class Passed:
    """What came of a pass: its outputs, the words of the places that were to be read after it, and
    what the board said of itself then."""

    outputs: list[int]
    words: list[int]
    identity: Identity


def run_pass(
    ends: Ends,
    accesses: Sequence[Access],
    frames: Words,
    places: Sequence[tuple[int, int, int]] = (),
    outputs: int | None = None,
    cycles: int = 0,
    polls: int = POLLS,
) -> Conversation[Passed]:
    """Run one pass on frames [T, F], in the order in which it meets them.

    `accesses` are writes (space, lane, address, data), the last of them that of COMMAND. Samples
    that the board still holds are not sent, and registers neither that it has already. If it is
    known how many `outputs` there will be, and `cycles`, all is asked for at once.

    Raises LinkError when `polls` turns moved nothing and the pass is not done, or if anything else
    is not as it must be: then the pass is lost and `ends` is wrong, until a reset.
    """
    plan = ReadPlan(places)
    play = ends.find(frames)
    sent = play is not None or not frames.size
    start = list(started(ends, accesses, play or ends.following(frames)))
    collected = Collected(ends)
    if sent or frames.size <= ends.depth:
        pushes = [] if sent else list(_pushes(ends.samples, frames.ravel().tolist()))
        few = outputs is not None and outputs <= MOST_OUTPUTS
        # How much quicker the engine's clock is than the link's shows after the first pass.
        most = ends.waits.get(cycles, cycles // PATIENCE + 2)
        waits = [collected.request(wait=True)] * (most if few else 0)
        rest = [*plan.requests, IDENTIFY] if few else []
        replies = yield [*start, *pushes, *waits, *rest]
        at = len(start)
        all_empty(start, replies[:at])
        for push, numbers in zip(pushes, replies[at:], strict=False):
            _pushed(ends, push, numbers)
        at += len(pushes)
        for number, numbers in enumerate(replies[at : at + len(waits)], 1):
            before = collected.complete
            collected.take(numbers)
            if collected.complete and not before:
                ends.waits[cycles] = number
        collected.release()
        if pushes:
            ends.keep(frames)
        if collected.complete:
            *words, numbers = replies[at + len(waits) :]
            return Passed(collected.words, plan.words(words), identity_of(numbers))
    else:
        replies = yield start
        all_empty(start, replies)
        yield from _stream(ends, frames.ravel().tolist(), collected, polls)
    idle = 0
    while not collected.complete:
        replies = yield [collected.request(wait=True)]
        idle = 0 if collected.take(replies[0]) else idle + 1
        collected.release()
        if idle > polls:
            raise LinkError("the pass did not end, though it was given all of its samples")
    *words, numbers = yield [*plan.requests, IDENTIFY]
    return Passed(collected.words, plan.words(words), identity_of(numbers))


class Collected:
    """The outputs of one pass, as they come. `complete`: the pass is done, and these are all."""

    def __init__(self, ends: Ends) -> None:
        self._ends = ends
        self._begin = ends.outputs
        self.words: list[int] = []
        self.complete = False

    def request(self, wait: bool) -> Request:
        return Request(Command.COLLECT, (self._ends.outputs % OUTPUT_POSITIONS, int(wait)))

    def take(self, numbers: Sequence[int]) -> bool:
        """A reply to `request`; whether it has more than the ones before. Raises LinkError."""
        if len(numbers) < 2:
            counted(self.request(False), numbers, 2)
        status, made, *words = numbers
        if not status & (BUSY | DONE):
            raise LinkError("the pass is not under way any more: the board was reset")
        known = self._ends.outputs - self._begin
        more = known + len(words) - len(self.words)
        if more < 0 or (made - self._ends.outputs) % OUTPUT_POSITIONS < len(words):
            raise LinkError("the board's reply to COLLECT makes no sense")
        self.words[known:] = words
        all_here = (made - self._ends.outputs) % OUTPUT_POSITIONS == len(words)
        self.complete = bool(status & DONE) and all_here
        return more > 0

    def release(self) -> None:
        """Let the board forget what has come."""
        self._ends.outputs = self._begin + len(self.words)


def started(ends: Ends, accesses: Sequence[Access], play: Play | None = None) -> Iterator[Request]:
    """The writes that start a pass, without registers that the board has already."""
    *before, command = accesses
    registers, others = {}, []
    for row in before:
        if row[0] == Space.REGISTER:
            registers[row[2]] = row[3]
        else:
            others.append(row)
    changed = {at: word for at, word in registers.items() if ends.registers.get(at) != word}
    ends.registers |= changed
    yield from all_writes(others)
    yield from all_writes((Space.REGISTER, 0, at, changed[at]) for at in sorted(changed))
    if play is not None and play.frame:
        yield Request(Command.PLAY, play, repeatable=False)
    for request in all_writes([command]):
        yield request._replace(repeatable=False)


def _pushes(position: int, samples: Sequence[int]) -> Iterator[Request]:
    for at, burst in packed(samples, PAYLOAD - POSITION_BYTES):
        yield Request(Command.PUSH, ((position + at) % POSITIONS, *burst))


def _pushed(ends: Ends, push: Request, numbers: Sequence[int]) -> int:
    """The position that the engine has reached. Raises LinkError if samples were not taken."""
    filled, reached = counted(push, numbers, 2)
    ends.sent(len(push.numbers) - 1)
    if filled != ends.samples % POSITIONS:
        raise LinkError(f"the board has {filled} samples instead of {ends.samples % POSITIONS}")
    return reached


def _stream(
    ends: Ends, samples: Sequence[int], collected: Collected, polls: int
) -> Conversation[None]:
    """Send more samples than the board holds, as the engine takes them."""
    sent = idle = 0
    room = ends.depth
    while sent < len(samples):
        burst = samples[sent : sent + room]
        pushes = list(_pushes(ends.samples, burst)) or [
            Request(Command.PUSH, (ends.samples % POSITIONS,))
        ]
        *replies, numbers = yield [*pushes, collected.request(wait=False)]
        for push, found in zip(pushes, replies, strict=True):
            reached = _pushed(ends, push, found)
            room = ends.depth - (ends.samples - reached) % POSITIONS
        sent += len(burst)
        moved = collected.take(numbers) or burst
        collected.release()
        idle = 0 if moved else idle + 1
        if idle > polls:
            raise LinkError(f"the pass did not end: {sent} of {len(samples)} samples were sent")


def all_empty(requests: Sequence[Request], replies: Sequence[Sequence[int]]) -> None:
    """Raises LinkError for a reply with numbers."""
    for request, numbers in zip(requests, replies, strict=True):
        counted(request, numbers, 0)
