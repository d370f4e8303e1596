"""A bitstream into a board, by openFPGALoader."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from echoloom.backends.bitstream import tools
from echoloom.backends.bitstream.targets.boards import find_board
from echoloom.backends.bitstream.toolrun import BuildFailed, first_error

TIME_LIMIT_S = 300.0
# Where openFPGALoader looks for what it needs of its own, unless the user says so.
OWN_FILES = "OPENFPGALOADER_SOJ_DIR"


def flash_command(board: str, bitstream: Path, *, keep: bool = False) -> list[str]:
    """openFPGALoader's arguments for a bitstream of that board: into the FPGA, where it is until
    the power goes, or with `keep` into the board's flash memory.

    Raises ValueError for an unknown board, for one that openFPGALoader has no name of, and for a
    bitstream of another board; OSError if there is none.
    """
    target = find_board(board)
    if not target.loader:
        raise ValueError(f"openFPGALoader knows no board like {target.name}; use its own loader")
    if not bitstream.is_file():
        raise FileNotFoundError(f"there is no bitstream {bitstream}; echoloom build makes one")
    if bitstream.stem != target.name:
        raise ValueError(
            f"{bitstream} is no bitstream of {target.name}: echoloom build names it "
            f"{target.name}.bit"
        )
    return ["--board", target.loader, *(["--write-flash"] if keep else []), str(bitstream)]


def flash(board: str, bitstream: Path, *, keep: bool = False) -> str:
    """Run openFPGALoader; what it said. Raises as `flash_command`, ToolMissing, and BuildFailed
    with its first error if it fails or takes more than TIME_LIMIT_S."""
    arguments = flash_command(board, bitstream, keep=keep)
    tool = tools.openfpgaloader()
    share = tool.path.parent.parent / "share" / "openFPGALoader"
    environment = {OWN_FILES: str(share)} if share.is_dir() else {}
    try:
        done = subprocess.run(
            [tool.path, *arguments], env=environment | os.environ, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            timeout=TIME_LIMIT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise BuildFailed(f"openFPGALoader did not end within {TIME_LIMIT_S:g} s") from error
    if done.returncode != 0:
        raise BuildFailed(
            f"openFPGALoader failed with status {done.returncode}: {first_error(done.stdout)}"
        )
    return done.stdout
