"""Record waves: the passes of one sequence once more, in a simulator that writes FST."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Sequence

import numpy as np

from echoloom.backends.engine.requests import PassRequest
from echoloom.backends.run.levels import Artifact
from echoloom.frontend.data.work_folders import work_folder
from echoloom.ir.contract import Image
from echoloom.sim.builds import WAVES
from echoloom.sim.compose import compose
from echoloom.sim.run_rtl import Wrapper, model_of, play
from echoloom.sim.script import WORDS
from echoloom.sim.wave_job import save_job
from echoloom.sim.wave_window import Window

PERIOD = 10  # nanoseconds of a clock
WRAPPED = 254  # the type of the block that holds a compressed file


def record(
    artifact: Artifact,
    image: Image,
    passes: Sequence[PassRequest],
    windows: Sequence[Window],
    stall_seed: int | None = None,
    wrapper: Wrapper | None = None,
) -> tuple[bytes, list[tuple[int, int]]]:
    """An FST file of what the engine, or what `wrapper` makes, does in `windows`; and from when to
    when, in nanoseconds.

    Raises as `run_rtl` does.
    """
    script = compose(image, passes, stall_seed=stall_seed)
    model = model_of(image, wrapper, WAVES)
    with work_folder("waves") as job:
        save_job(job, artifact, image, passes, windows)
        play(script, model, WAVES, job)
        spans = np.fromfile(job / "spans.bin", WORDS).reshape(-1, 2) * PERIOD
        return wrapped((job / "waves.fst").read_bytes()), [(a, b) for a, b in spans.tolist()]


def wrapped(fst: bytes) -> bytes:
    """The file in one compressed block, as FST's readers know it: the writer compresses nothing."""
    packed = gzip.compress(fst, compresslevel=6, mtime=0)
    return struct.pack(">BQQ", WRAPPED, 16 + len(packed), len(fst)) + packed
