"""Whether a board works: its memories, and a sequence forward and back, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from echoloom.backends.board.board import Board
from echoloom.backends.board.line import Progress
from echoloom.backends.compile.program import CompiledProgram
from echoloom.backends.link.errors import BoardError
from echoloom.backends.link.image_writes import SHIFT_BITS, image_writes
from echoloom.backends.run.integers import Floats
from echoloom.ir.contract import EngineConfig, Space
from echoloom.ir.entry_layouts import COLUMN_BITS

STEPS = 16  # of the sequence that stands in for data
REACH = 0.5  # of the largest samples that the program was made for


class BoardDiffers(BoardError):
    """A board answers, but not what it should."""


def check_memories(board: Board, program: CompiledProgram, progress: Progress | None = None) -> int:
    """Load the program, read every word back, and compare; the number of words.

    Raises BoardDiffers naming the first that differs, and what `Board.load` raises.
    """
    board.load(program, anew=True, progress=progress)
    bits = _bits(program.image.config)
    rows = [row for row in sorted(image_writes(program.image, clear=True)) if row[0] in bits]
    words = board.read([row[:3] for row in rows], progress=progress)
    for (space, lane, address, wanted), found in zip(rows, words, strict=True):
        mask = (1 << bits[Space(space)]) - 1
        if found & mask != wanted & mask:
            raise BoardDiffers(
                f"word {address} of the board's {Space(space).name} memory {lane} reads as "
                f"{found & mask:#x}, but {wanted & mask:#x} was written"
            )
    return len(rows)


def check_sequence(board: Board, program: CompiledProgram, x: Any, label: Any) -> int:
    """Run a sequence on the loaded board and compare all integers with NumPy's; how many.

    Raises BoardDiffers naming the first array that differs.
    """
    wanted, found = program.run(x, label).named(), board.run(x, label).named()
    for name, words in wanted.items():
        if not np.array_equal(words, found[name]):
            where = np.argwhere(np.atleast_1d(words != found[name]))[0].tolist()
            raise BoardDiffers(f"the board's {name} differs from NumPy's at {where}")
    return sum(int(np.size(words)) for words in wanted.values())


def stand_in(program: CompiledProgram) -> tuple[Floats, Any]:
    """Random samples [STEPS, inputs] and a label or targets that the program takes."""
    model, random = program.model, np.random.default_rng(0)
    steps = STEPS * model.output_step
    peaks = np.array(program.peaks) if program.peaks else np.zeros(model.inputs)
    x = random.uniform(-REACH, REACH, (steps, model.inputs)) * peaks
    if model.task == "classification":
        return x, 0
    return x, random.uniform(-REACH, REACH, (STEPS, model.outputs))


def _bits(config: EngineConfig) -> dict[Space, int]:
    """The memories that can be written and read, and how many bits of a word they keep."""
    return {
        Space.WEIGHT: config.narrow,
        Space.VECTOR: config.word,
        Space.TABLE: config.word + config.narrow,
        Space.EXPONENT: SHIFT_BITS - 1,
        Space.MAC: COLUMN_BITS,
        Space.DRAIN: COLUMN_BITS,
        Space.SECTION: COLUMN_BITS,
    }
