"""The boards that there are."""

from __future__ import annotations

from collections.abc import Mapping

from echoloom.backends.bitstream.targets.ecp5 import ULX3S_85F
from echoloom.backends.bitstream.targets.gowin import TANG_NANO_20K
from echoloom.backends.bitstream.targets.ice40 import ICEBREAKER
from echoloom.backends.bitstream.targets.target import Target

BOARDS: Mapping[str, Target] = {
    board.name: board for board in (ULX3S_85F, ICEBREAKER, TANG_NANO_20K)
}


def find_board(name: str) -> Target:
    """The board of that name. Raises ValueError with the names that there are."""
    if name not in BOARDS:
        raise ValueError(f"there is no board {name!r}; known: {', '.join(sorted(BOARDS))}")
    return BOARDS[name]
