"""What the memories of a board have to hold that no sweep writes, by checksums."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby

from echoloom.backends.link.conversation import Run
from echoloom.backends.link.image_writes import Write, image_writes
from echoloom.hdl.checksum import checksum
from echoloom.ir.contract import EngineConfig, Image, Space

LASTING = (
    Space.WEIGHT, Space.TABLE, Space.EXPONENT, Space.MAC, Space.DRAIN, Space.SECTION,
)  # fmt: skip


def lasting_runs(image: Image) -> Mapping[Run, int]:
    """Every run of words that an image writes and no sweep changes, and its checksum."""
    rows = sorted(row for row in image_writes(image) if row[0] in LASTING)
    return {run: checksum(as_read(row, image.config) for row in own) for run, own in _runs(rows)}


def as_read(row: Write, config: EngineConfig) -> int:
    """A written word as the board reads it: weights are signed."""
    space, _, _, word = row
    if space != Space.WEIGHT:
        return word
    half = 1 << config.narrow - 1
    return (word + half) % (2 * half) - half


def places_of(run: Run) -> list[tuple[int, int, int]]:
    """Where its words are."""
    return [(run.space, run.lane, run.address + at) for at in range(run.words)]


def _runs(rows: list[Write]) -> Iterator[tuple[Run, list[Write]]]:
    """Sorted rows, cut where the address is not the next one."""
    for _, group in groupby(enumerate(rows), lambda item: (*item[1][:2], item[1][2] - item[0])):
        own = [row for _, row in group]
        yield Run(*own[0][:3], len(own)), own
