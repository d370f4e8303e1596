"""The host link's protocol: codes, what each takes and answers, and the sizes that bound it.

`docs/host_link.md` explains it; these are its definitions.
"""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass

from echoloom.hdl.numbers import DIGITS, NUMBER_BITS
from echoloom.hdl.packets import PAYLOAD
from echoloom.ir.contract import EngineConfig, Timing

TARGET = 3  # numbers that say where: space, lane, address
WORD_BITS = 32  # most bits of a sample or an output
MOST_READ = PAYLOAD // DIGITS  # words in one reply, however large
MOST_OUTPUTS = (PAYLOAD - 5) // 5  # outputs in one reply, of WORD_BITS, behind status and position
PATIENCE = 1 << 16  # cycles of its clock that a COLLECT waits


class Command(enum.IntEnum):
    """Codes of the host's packets, their numbers and -> the reply's. The reply to `c` has the code
    `c | REPLY`."""

    IDENTIFY = 1  # -> identity, mark, link's cycles since its reset, its kHz, window, samples
    WRITE = 2  # space, lane, address, words for consecutive addresses
    READ = 3  # space, lane, address, count -> words from consecutive addresses
    PUSH = 4  # position of the first, samples -> position filled up to, position reached
    COLLECT = 5  # position that the host has outputs up to, wait -> status, position made, outputs
    RESET = 6  # stop the engine; clears samples, outputs, registers and sections, no memory
    MARK = 7  # word: kept for IDENTIFY until the next MARK, or all is reset, which makes it 0
    PLAY = 8  # begin, frame, stride, steps: what the next pass gets of the samples
    LEARN = 9  # number, begin, end, entries -> number of the next, busy, cycles, clamped
    CHECK = 10  # space, lane, address, count -> checksum of words from consecutive addresses


REPLY = 0x80
ERROR = 0xFF  # the code of an error reply; its payload is one Fault


class Fault(enum.IntEnum):
    """Why a packet was not carried out."""

    CHECK = 1  # the CRC is wrong
    UNKNOWN = 2  # there is no such command
    LENGTH = 3  # these numbers do not belong to this command


# Numbers that each command takes, at least and at most.
TAKES = {
    Command.IDENTIFY: (0, 0), Command.WRITE: (4, PAYLOAD), Command.READ: (4, 4),
    Command.PUSH: (1, PAYLOAD), Command.COLLECT: (2, 2), Command.RESET: (0, 0),
    Command.MARK: (1, 1), Command.PLAY: (4, 4), Command.LEARN: (3, PAYLOAD),
    Command.CHECK: (4, 4),
}  # fmt: skip


def commands_of(learns: bool, checks: bool) -> tuple[Command, ...]:
    """The commands of the link to an engine that `learns` or does not, if it `checks` memories or
    does not."""
    lacks = {Command.LEARN: not learns, Command.CHECK: not checks}
    return tuple(at for at in Command if not lacks.get(at, False))


@dataclass(frozen=True)
class LinkSizes:
    """What a link has room for, powers of two: `window`, bytes of packets that it has not carried
    out yet, and as many of replies; `samples`, which it keeps; `listed`, entries of the list of an
    update, which only a link to an engine that learns has. `checks`: it has the command CHECK."""

    window: int = 512
    samples: int = 256
    listed: int = 256
    checks: bool = True


def identity(config: EngineConfig, timing: Timing) -> int:
    """The 64 bits that IDENTIFY answers: a digest of the engine's sizes and latencies."""
    text = repr((config, timing))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[: NUMBER_BITS // 8], "little")
