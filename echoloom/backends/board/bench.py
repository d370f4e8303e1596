"""How many sequences a board computes in a second, and how many its engine alone would."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from echoloom.backends.board.board import Board
from echoloom.backends.board.line import Progress


@dataclass(frozen=True)
class BenchRow:
    """Means over sequences of one kind, "predict" or "gradient".

    engine_cycles: what the engine's own counter says of the passes, waits excluded; board_cycles:
    all cycles of the link's clock from the first sequence's request to the last one's answer;
    through_link, engine_alone: sequences in a second of the board's. `clock_mhz` is the engine's
    clock, and `seconds` what a sequence took by this machine's.
    """

    what: str
    through_link: float
    engine_alone: float
    clock_mhz: float
    engine_cycles: int
    board_cycles: int
    bytes: int
    seconds: float


def bench(
    board: Board,
    xs: NDArray[Any],
    labels: Sequence[Any] | NDArray[Any] | None,
    clock_mhz: float | None = None,
    progress: Progress = lambda done, total: None,
) -> list[BenchRow]:
    """Run sequences xs [n, T, inputs] on a loaded board: `predict` and, with labels, `gradient`.

    The board counts the cycles; `clock_mhz` is the engine's clock, the link's if not given.
    """
    kinds: list[tuple[str, Sequence[Any]]] = [("predict", [None] * len(xs))]
    if labels is not None:
        kinds.append(("gradient", list(labels)))
    rows = []
    for index, (what, told) in enumerate(kinds):
        before, began, engine = board.status(), time.monotonic(), 0
        for number, (x, label) in enumerate(zip(xs, told, strict=True), 1):
            passes = board.measured(x, label).passes
            engine += sum(found.cycles for found in passes.values())
            progress(index * len(xs) + number, len(kinds) * len(xs))
        after, seconds = board.status(), time.monotonic() - began
        cycles = after.cycles - before.cycles
        line = 1e3 * after.clock_khz
        clock = line if clock_mhz is None else clock_mhz * 1e6
        moved = after.bytes_out + after.bytes_in - before.bytes_out - before.bytes_in
        n = len(xs)
        rows.append(
            BenchRow(
                what, n * line / cycles, n * clock / engine, clock / 1e6, round(engine / n),
                round(cycles / n), round(moved / n), seconds / n,
            )
        )  # fmt: skip
    return rows
