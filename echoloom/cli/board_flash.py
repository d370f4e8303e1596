"""`echoloom board flash`: a bitstream into a board."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from echoloom.backends.bitstream.flash import flash as flash_board
from echoloom.backends.bitstream.targets.boards import BOARDS
from echoloom.cli.options import Json
from echoloom.cli.outcome import command


def flash(
    board: Annotated[str, typer.Argument(help=f"{', '.join(BOARDS)}, or a board's TOML file.")],
    bitstream: Annotated[Path, typer.Argument(help="The .bit that `echoloom build` wrote.")],
    keep: Annotated[
        bool, typer.Option("--keep", help="Into flash memory, which outlasts a power-off.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Bring a bitstream into a board with openFPGALoader.

    Example: echoloom board flash ulx3s-85f build/motions/ulx3s-85f.bit
    """
    with command("board flash", as_json) as say:
        with say.working(f"openFPGALoader brings {bitstream} into {board}"):
            said = flash_board(board, bitstream, keep=keep)
        say.result |= {"board": board, "bitstream": str(bitstream), "kept": keep, "said": said}
        say.show(f"{bitstream} is in {board}{', for good' if keep else ''}")
