"""Which word of a board is not what was written there."""

from __future__ import annotations

from collections.abc import Mapping

from echoloom.backends.board.line import Line
from echoloom.backends.link import conversation as link
from echoloom.backends.link.conversation import Run
from echoloom.backends.link.errors import UnknownCommand
from echoloom.backends.link.memory_runs import as_read, places_of
from echoloom.hdl.checksum import checksum
from echoloom.ir.contract import EngineConfig, Register, Space


def first_changed(
    line: Line,
    runs: Mapping[Run, int],
    registers: Mapping[int, int],
    held: Mapping[tuple[int, int, int], int],
    config: EngineConfig,
) -> str | None:
    """The first word that differs, in words; None where all are as they were written.

    `runs` have their checksums, `registers` their words; `held` are all words as they were written.
    A board whose link has no CHECK is read word by word.
    """
    wanted = list(runs.values())
    try:
        found = line.converse(link.check(list(runs)))
    except UnknownCommand:
        found = [checksum(line.converse(link.read_all(places_of(run)))) for run in runs]
    if found != wanted:
        run = next(run for run, a, b in zip(runs, found, wanted, strict=True) if a != b)
        places = places_of(run)
        words = line.converse(link.read_all(places))
        memory = f"the memory {Space(run.space).name} {run.lane}"
        for place, word in zip(places, words, strict=True):
            if word != as_read((*place, held[place]), config):
                return f"word {place[2]} of {memory}"
        return f"{memory}, when it was summed up,"
    words = line.converse(link.read_all((Space.REGISTER, 0, at) for at in registers))
    for at, word in zip(registers, words, strict=True):
        if word != registers[at]:
            return f"the register {Register(at).name}"
    return None
