"""The engines that fabric.py looks at, and the bars that their figures are held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from utilisation import MODELS

from echoloom.ir.widths import Widths

# Inputs, hidden, state, blocks, outputs. "one block" is half of the demo's model; "small" and
# "tiny" are for chips whose logic cells are few, with shorter words.
SIZES = {
    **MODELS,
    "one block": (6, 16, 8, 1, 4),
    "small": (2, 2, 1, 1, 2),
    "tiny": (2, 2, 1, 1, 2),
}
WIDTHS = {
    "small": Widths(word=12, narrow=10, accumulator=26, segment_bits=5),
    "tiny": Widths(word=9, narrow=8, accumulator=20, segment_bits=5),
}
# The time steps of the data that a model's sizes belong to: BasicMotions and Heartbeat.
LENGTHS = {"demo": 100, "paper": 405, "one block": 100, "small": 100, "tiny": 100}
# MHz by timing analysis; the demo's model is held to more than the paper's.
CLOCKS = {"ulx3s-85f": {"demo": 110.0, "paper": 100.0}, "icebreaker": {"tiny": 30.0}}
UTILISATION = {
    ("demo", 4): (0.85, 0.90),
    ("demo", 8): (0.75, 0.75),
    ("paper", 16): (0.95, 0.95),
    ("paper", 64): (0.85, 0.90),
}


@dataclass(frozen=True)
class Case:
    """A model on an engine."""

    model: str
    lanes: int
    drains: int
    slots: int

    @property
    def utilisation(self) -> tuple[float, ...]:
        """The bars, forward and echo; none for sizes that have none."""
        return UTILISATION.get((self.model, self.lanes), ())

    def clock(self, board: str) -> float | None:
        """The bar of a board's Fmax in MHz."""
        return CLOCKS.get(board, {}).get(self.model)

    def __str__(self) -> str:
        return f"{self.model},{self.lanes},{self.drains},{self.slots}"


# What --boards routes: boards of three families, each with a program of its size.
BOARDS = {
    "icebreaker": Case("tiny", 1, 1, 1),
    "ice40-hx8k-evn": Case("tiny", 1, 1, 1),
    "ulx3s-12f": Case("one block", 4, 1, 4),
    "orangecrab-25f": Case("one block", 4, 1, 4),
    "tang-nano-20k": Case("one block", 4, 1, 4),
}
CASES = Case("demo", 4, 1, 4), Case("demo", 8, 2, 4), Case("paper", 16, 4, 4)


def cases(named: Sequence[str] | None) -> list[Case]:
    """The engines of the command line. SystemExit in one sentence for what names none."""
    if named is None:
        return list(CASES)
    found = []
    for text in named:
        model, *sizes = text.split(",")
        if model not in LENGTHS or len(sizes) != 3 or not all(size.isdigit() for size in sizes):
            raise SystemExit(f"--engine takes MODEL,LANES,DRAINS,SLOTS, not {text!r}")
        found.append(Case(model, *map(int, sizes)))
    return found
