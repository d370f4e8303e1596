"""The level "board": the program on a board, or a virtual one, through its serial link."""

from __future__ import annotations

from collections.abc import Iterator

from echoloom.backends.board.board import open_board
from echoloom.sim.level import Job, Run

NO_PORT = "the level board needs a port: '/dev/ttyUSB0', or what `echoloom board serve` prints"


def board_level(job: Job) -> Iterator[Run]:
    if job.port is None:
        raise ValueError(NO_PORT)
    job.progress(f"board: loading the program at {job.port}")
    with open_board(job.port) as board:
        board.load(job.program, anew=True)
        for number, case in enumerate(job.cases, 1):
            job.progress(f"board: sequence {number} of {len(job.cases)}")
            found = board.measured(case.x, case.label, case.carried)
            yield Run(case, case.expected.named(), found.result.named(), passes=found.passes)
