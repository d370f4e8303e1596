"""`el.verify(waves=...)`: what was asked for, checked first; then three files, each whole or not
there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echoloom.backends.compile.program import CompiledProgram
from echoloom.backends.engine.sweeps import pass_request
from echoloom.backends.run.integers import Floats
from echoloom.frontend.data.files import check_destination, write_together
from echoloom.sim.first_difference import Mismatch
from echoloom.sim.gtkwave import save_file
from echoloom.sim.level import Case, Job
from echoloom.sim.level_rtl import LEVEL, sweeps
from echoloom.sim.simulation_error import SimulationError
from echoloom.sim.surfer import command_file
from echoloom.sim.wave_layout import layout
from echoloom.sim.wave_record import PERIOD, record
from echoloom.sim.wave_window import (
    FIRST_DIFFERENCE,
    MOST_CLOCKS,
    Around,
    Span,
    asked,
    check_around,
    differing,
)

SUFFIX = ".fst"
SIMULATORS = ("verilator", "verilator-cpp")  # whose Verilog the waves' simulator plays too


@dataclass(frozen=True)
class Wanted:
    """Waves that can be written."""

    path: Path
    around: Around

    def beside(self, suffix: str) -> Path:
        return self.path.with_suffix(suffix)


@dataclass(frozen=True)
class Dump:
    """Waves that were written."""

    shows: str
    clocks: int
    file: str

    def __str__(self) -> str:
        return f"{self.shows}, {self.clocks:,} clocks, in {self.file}"


def wanted_waves(
    program: CompiledProgram,
    x: Floats,
    label: Any,
    path: str | os.PathLike[str] | None,
    around: Around,
    simulator: str,
    levels: Sequence[str],
) -> Wanted | None:
    """The waves that `verify` is asked for, of x [T, inputs] where nothing differs.

    Raises ValueError or OSError, one sentence, for what cannot be.
    """
    if path is None:
        if around is not None:
            raise ValueError(f"around {around!r} of what? name a file with waves")
        return None
    wanted = Wanted(Path(path), around)
    if wanted.path.suffix != SUFFIX:
        raise ValueError(f"waves are written as FST: name a file *{SUFFIX}, not {wanted.path}")
    if LEVEL not in levels:
        raise ValueError(f"waves are of the level {LEVEL}, which is not among the levels")
    if simulator not in SIMULATORS:
        raise ValueError(
            f"the simulator {simulator} writes no waves: take {' or '.join(SIMULATORS)}"
        )
    check_around(program.artifact, len(x), label is not None, around)
    for suffix in (SUFFIX, ".gtkw", ".sucl"):
        check_destination(wanted.beside(suffix))
    return wanted


def write_asked(wanted: Wanted, job: Job) -> Dump | None:
    """Write waves of the first sequence, unless they are wanted of a difference only."""
    if wanted.around == FIRST_DIFFERENCE:
        return None
    case = job.cases[0]
    span = asked(job.program.artifact, len(case.x), case.label is not None, wanted.around)
    return _write(wanted, job, case, span)


def explain(wanted: Wanted, job: Job, case: Case, mismatch: Mismatch) -> None:
    """Write waves of the steps around a difference. A note on the mismatch, which stays what it is,
    says what was written, or why not."""
    artifact, echo = job.program.artifact, case.label is not None
    if isinstance(wanted.around, int):
        span = asked(artifact, len(case.x), echo, min(wanted.around, len(case.x) - 1))
    else:
        span = differing(artifact, len(case.x), echo, mismatch.difference)
    if span is None:
        mismatch.add_note(
            f"no waves: no step of the difference is known, and the whole would be more than "
            f"{MOST_CLOCKS:,} clocks"
        )
        return
    try:
        mismatch.add_note(f"waves: {_write(wanted, job, case, span)}")
    except (OSError, SimulationError, ValueError) as error:
        mismatch.add_note(f"no waves: {error}")


def _write(wanted: Wanted, job: Job, case: Case, span: Span) -> Dump:
    job.progress(f"waves: building and running, {span.text}")
    artifact, image = job.program.artifact, job.loaded
    passes = [pass_request(artifact, image, sweep) for sweep in sweeps(job, case).values()]
    fst, times = record(artifact, image, passes, span.windows, job.stall_seed, job.wrapper)
    groups = layout(artifact, {window.section.name.lower() for window in span.windows})
    start = times[0][0] if times else 0
    write_together(
        {
            wanted.beside(".gtkw"): save_file(wanted.path, groups, start).encode(),
            wanted.beside(".sucl"): command_file(groups).encode(),
            wanted.path: fst,
        }
    )
    clocks = sum(end - begin for begin, end in times) // PERIOD
    return Dump(span.text, clocks, str(wanted.path))
