"""Whether numbers of a board are to be trusted where bits may flip: what came back, what is still
in its memories, and what the same sequence gives once more.

The free copy of a program goes back through the states that it came through, so behind an echo it
has to be where it began, with its momenta turned round: whatever disturbed a state shows there.
Memories that no sweep writes are held against what was loaded, by their checksums. What is left
are words that live for a sweep only, of sums, outputs and gradients: they show in another play.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from echoloom.backends.board.records import Measured
from echoloom.backends.board.session import Session
from echoloom.backends.compile.program import CompiledProgram
from echoloom.backends.link.errors import Upset
from echoloom.ir.carried import Carried
from echoloom.ir.host import RunResult
from echoloom.ir.places import Copy, Letter

T = TypeVar("T")
Named = Mapping[str, Any]  # arrays


class Guard(enum.Enum):
    """How far the numbers of a board are doubted."""

    OFF = "off"
    MEMORIES = "memories"  # states have come back from an echo, memories are as loaded
    TWICE = "twice"  # likewise, and all is sent and played once more


def guard_of(name: str) -> Guard:
    """Raises ValueError for a name that is none."""
    names = [guard.value for guard in Guard]
    if name not in names:
        raise ValueError(
            f"guard is {name!r}, but it must be {', '.join(names[:-1])} or {names[-1]}"
        )
    return Guard(name)


def guarded(
    guard: Guard,
    session: Session,
    program: CompiledProgram,
    carried: Carried | None,
    play: Callable[[], Measured],
) -> Measured:
    """The sequence that `play` gives, if it is to be trusted. Raises Upset, and what the session
    raises."""
    found = play()
    moved = None if guard is Guard.OFF else first_not_back(program, found.result, carried)
    if moved is not None:
        session.condemn()
        raise Upset(
            f"the echo on the board at {session.port} did not come back to where the sequence "
            f"began ({moved}): {_repeat('sequence')}"
        )

    def again() -> Measured:
        session.refresh(program)
        return play()

    return confirmed(guard, session, "sequence", found, again, lambda one: one.result.named())


def confirmed(
    guard: Guard,
    session: Session,
    what: str,
    found: T,
    again: Callable[[], T],
    named: Callable[[T], Named],
) -> T:
    """What was found, if another play gives the same, where one is asked for, and memories are as
    they were loaded. Raises Upset, and what the session raises."""
    if guard is Guard.TWICE:
        name = first_unlike(named(found), named(again()))
        if name is not None:
            session.condemn()
            raise Upset(
                f"the board at {session.port} gave other words of {name} when it played the same "
                f"{what} again: {_repeat(what)}"
            )
    if guard is not Guard.OFF:
        session.audit()
    return found


def _repeat(what: str) -> str:
    return f"nothing of this {what} is to be trusted; recover the board, and repeat it"


def first_not_back(
    program: CompiledProgram, result: RunResult, carried: Carried | None = None
) -> str | None:
    """The first state of the free copy that an echo has not brought back, from rest or from what
    was carried. None where all are, there was no echo, or a word overflowed, which a flag says."""
    if not result.echo_states or result.overflow:
        return None
    for at, name in program.artifact.program.coordinates().items():
        if at.copy is not Copy.FREE:
            continue
        sign = -1 if at.letter is Letter.MOMENTUM else 1
        begun = 0 if carried is None else sign * carried.states[name]
        if np.any(result.echo_states[name] != begun):
            return name
    return None


def first_unlike(one: Named, other: Named) -> str | None:
    """The first array in which two plays differ."""
    return next(
        (name for name, words in one.items() if not np.array_equal(words, other[name])), None
    )
