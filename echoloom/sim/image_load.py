"""Host bus accesses as arrays, and an engine image as the accesses that load it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from echoloom.backends.link.image_writes import Write, image_writes
from echoloom.ir.contract import Image

ACCESS = np.dtype(
    [("write", "u1"), ("space", "u1"), ("lane", "u1"), ("address", "u2"), ("data", "u8")]
)
"""One host bus access, the payload of the `request` stream."""


def writes(items: Iterable[Write]) -> np.ndarray:
    """ACCESS array of writes (space, lane, address, data); data is taken modulo 2**64."""
    mask = (1 << 64) - 1
    rows = [(1, space, lane, address, data & mask) for space, lane, address, data in items]
    return np.array(rows, dtype=ACCESS)


def reads(items: Iterable[tuple[int, int, int]]) -> np.ndarray:
    """ACCESS array of reads (space, lane, address)."""
    return np.array([(0, *item, 0) for item in items], dtype=ACCESS)


def load_image(image: Image, clear: bool = False) -> np.ndarray:
    """ACCESS array of `image_writes`. Raises ValueError if the image does not fit its config."""
    return writes(image_writes(image, clear))
