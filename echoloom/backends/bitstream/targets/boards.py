"""The boards that there are: one TOML file each in `boards/`, and a user's own."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from echoloom.backends.bitstream.targets.board_file import read_board
from echoloom.backends.bitstream.targets.target import Target

FOLDER = Path(__file__).parent.parent / "boards"
BOARDS = tuple(sorted(file.stem for file in FOLDER.glob("*.toml")))


def find_board(name: str) -> Target:
    """The board of that name, or of a file whose name ends in `.toml`.

    Raises ValueError with the names that there are, or with what is wrong in the file; OSError if
    it cannot be read.
    """
    if name.endswith(".toml"):
        return read_board(Path(name))
    if name not in BOARDS:
        raise ValueError(
            f"there is no board {name!r}; known: {', '.join(BOARDS)}, or a board's file, NAME.toml"
        )
    return _own(name)


@cache
def _own(name: str) -> Target:
    return read_board(FOLDER / f"{name}.toml")
