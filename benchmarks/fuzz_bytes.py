"""What is done to good files of any kind: bytes and numbers."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from random import Random

NUMBERS = (
    "-1", "0", "1", "2147483648", "-9223372036854775809", "18446744073709551616", "1e999", "nan",
    "-inf", "1e-320", "9" * 40, "9" * 5000, "true", '""', "[]", "{}", "999999999", "1000000",
)  # fmt: skip


class Guided(Random):
    """Random numbers for a run whose driver has changes of its own to make to bytes."""

    def __init__(self, seed: int, changed: Callable[[bytes], bytes]) -> None:
        super().__init__(seed)
        self.changed = changed


class Choices(Random):
    """Random numbers that are read off bytes, and follow from all of them when these are used up:
    one byte that changes changes one choice."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._data, self._at = data, 0

    def getrandbits(self, k: int, /) -> int:
        end = self._at + (k + 7) // 8
        if end > len(self._data):
            return super().getrandbits(k)
        drawn, self._at = self._data[self._at : end], end
        return int.from_bytes(drawn) >> (-k % 8)

    def random(self) -> float:
        return self.getrandbits(53) / 2**53


def raw(rng: Random, seeds: list[bytes]) -> bytes:
    """Bytes of one file, or of two of them, with a few things done to them."""
    if isinstance(rng, Guided) and rng.random() < 0.7:
        return rng.changed(rng.choice(seeds))
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(9):
            case 0 if data:
                data[at % len(data)] ^= 1 << rng.randrange(8)
            case 1 if data:
                data[at % len(data)] = rng.choice(b"\x00\xff\x7f\x80\n\r\"\\[]{}(),:;=#.%-9'\x1b")
            case 2:
                del data[at:]
            case 3:
                data[at:at] = rng.randbytes(rng.choice((1, 4, 64)))
            case 4:
                del data[at : at + rng.choice((1, 4, 64, 1024))]
            case 5:
                part = data[at : at + rng.choice((1, 16, 256))]
                data[at:at] = part * rng.choice((1, 2, 100))
            case 6:
                other = rng.choice(seeds)
                data[at:] = other[rng.randrange(len(other) + 1) :]
            case 7:
                data = _number(rng, data)
            case _:
                data[at : at + 8] = struct.pack("<q", rng.choice((-1, 0, 1 << 31, 1 << 62, 255)))
    return bytes(data)


def _number(rng: Random, data: bytearray) -> bytearray:
    found = list(re.finditer(rb"-?\d+(?:\.\d+)?", data))
    if not found:
        return data
    one = rng.choice(found)
    return data[: one.start()] + rng.choice(NUMBERS).encode() + data[one.end() :]
