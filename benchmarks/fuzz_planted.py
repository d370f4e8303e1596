"""Readers with faults in them, which tell whether the fuzzer finds what it should."""

from __future__ import annotations

import os
import struct
import tomllib
from pathlib import Path
from signal import SIGKILL

from fuzz_bytes import raw
from fuzz_programs import TOML_BOARD
from fuzz_texts import toml
from fuzz_worker import MEMORY, Reader

HEADER = struct.Struct("<4sHHI")
TAG = b"PLNT"


def read_header(path: Path) -> None:
    """Wrong with three of the header's numbers at once."""
    data = path.read_bytes()
    if len(data) < HEADER.size or data[:4] != TAG:
        raise ValueError("no such file")
    _, version, kind, count = HEADER.unpack(data[: HEADER.size])
    if version == 3 and kind == 5 and count > 1_000_000:
        raise KeyError(kind)


def read_settings(path: Path) -> None:
    """Wrong with three of the lines at once."""
    try:
        settings = tomllib.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError("no TOML") from error
    odd = settings.get("lights") == 1 and isinstance(settings.get("baud"), list)
    if odd and "loader" not in settings:
        raise KeyError("loader")


def harm(path: Path) -> None:
    """What an input's first letter says."""
    letter = path.read_bytes()[:1]
    if letter == b"L":
        while True:
            pass
    if letter == b"M":
        bytearray(2 * MEMORY)
    if letter == b"W":
        (path.parent / "written").write_bytes(b"")
    if letter == b"D":
        os.kill(os.getpid(), SIGKILL)
    raise ValueError("no letter")


PLANTED = {
    "planted-header": Reader(lambda _: [HEADER.pack(TAG, 1, 1, 3) + bytes(8)], raw, read_header),
    "planted-settings": Reader(lambda _: [TOML_BOARD], toml, read_settings),
    "planted-harm": Reader(lambda _: [HEADER.pack(TAG, 1, 1, 3)], raw, harm, limit_s=0.2),
}
