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

TAG = b"PLNT"
HEADER = struct.Struct("<4sHH")


def read_header(path: Path) -> None:
    """Wrong with two of a header's numbers at once."""
    data = path.read_bytes()
    if len(data) < HEADER.size or data[:4] != TAG:
        raise ValueError("no such file")
    _, version, kind = HEADER.unpack(data[: HEADER.size])
    if version == 3 and kind == 5:
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
    """What an input says."""
    data = path.read_bytes()
    if data[:1] == b"L":
        while True:
            pass
    if data[:1] == b"M":
        bytearray(2 * MEMORY)
    if data[:1] == b"W":
        (path.parent / "written").write_bytes(b"")
    if data == b"DIE":
        os.kill(os.getpid(), SIGKILL)


LED_BY = (__name__, "tomllib.")
PLANTED = {
    "planted-header": Reader(lambda _: [HEADER.pack(TAG, 1, 1)], raw, read_header, led_by=LED_BY),
    "planted-settings": Reader(lambda _: [TOML_BOARD], toml, read_settings, led_by=LED_BY),
    "planted-harm": Reader(lambda _: [b"nothing"], raw, harm, limit_s=0.2, led_by=LED_BY),
}
