"""`el.verify`: every level gives the same integers, or the first difference is named."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echoloom.backends.compile.program import CompiledProgram
from echoloom.backends.engine.requests import SECTIONS
from echoloom.backends.run.beginnings import begun_at
from echoloom.backends.run.excess import Excess, Excesses
from echoloom.backends.run.integers import Floats
from echoloom.backends.run.watched import excesses
from echoloom.frontend.data.samples import host_sequence
from echoloom.ir.contract import Image
from echoloom.ir.places import Copy, Letter
from echoloom.sim.first_difference import Difference, Mismatch, first_difference
from echoloom.sim.float_distance import float_distance
from echoloom.sim.level import Case, Job, Level, Progress, Run
from echoloom.sim.level_board import board_level
from echoloom.sim.level_jax import jax_level
from echoloom.sim.level_onnx import onnx_level
from echoloom.sim.level_rtl import rtl_level
from echoloom.sim.run_rtl import Simulator, Wrapper
from echoloom.sim.verify_learning import GOLDEN, verify_learning
from echoloom.sim.verify_reports import CycleReport, LevelReport, VerifyReport
from echoloom.sim.wave_window import Around
from echoloom.sim.waves import explain, wanted_waves, write_asked

REFERENCE = "numpy"
LEVELS: Mapping[str, Level] = {
    "jax": jax_level,
    "rtl": rtl_level,
    "onnx": onnx_level,  # needs the extra packages onnx and onnxruntime
    "board": board_level,  # needs a board, or a virtual one
}
DEFAULT = (REFERENCE, "jax", "rtl")
KNOWN = (REFERENCE, *LEVELS)
NO_WAVES = "no waves were written, since nothing differs"

ELSEWHERE = "sequences that do not begin at rest were not held against the float model"


def verify(
    program: CompiledProgram,
    xs: Sequence[Any] | Floats,
    labels: Sequence[Any] | NDArray[Any] | None = None,
    simulator: Simulator = "verilator",
    levels: Sequence[str] = DEFAULT,
    stall_seed: int | None = None,
    progress: Progress = lambda message: None,
    image: Image | None = None,
    wrapper: Wrapper | None = None,
    onnx: str | os.PathLike[str] | None = None,
    port: str | None = None,
    waves: str | os.PathLike[str] | None = None,
    around: Around = None,
    initial: Sequence[Any] | None = None,
    learn: int | None = None,
    batch: int | None = None,
) -> VerifyReport:
    """Run sequences xs [n][T, inputs] at every level and compare all integers; then hold them
    against the float model and its gradient through time.

    labels[i] is a label or target, or None for a forward pass only. `stall_seed` holds every
    stream of the RTL back at random. The simulator "golden" is no RTL: it runs the image on the
    engine's twin in Python, which needs no build and counts cycles too, and so checks everything
    but the circuit. `image` and `wrapper` put other memory contents or another
    component in the engine's place (tests sabotage them). The level "onnx" exports the program,
    float and integer, forward and gradient, and runs all four in ONNX Runtime; with `onnx`, a file
    that was exported, it compares that file's tensors and runs it alone. The level "board" loads
    the program into the board at `port`, as `el.open_board` takes it, and runs it there.
    initial[i] is where sequence i begins, as in `program.run`; None is rest. The float model and
    ONNX begin at rest.

    With `learn` the program learns from the sequences instead, that many updates of `batch`
    sequences (the rule's, if None), as `program.learn` does, and what is compared after every
    update is each weight's word, the sums, flags and counts. A simulation plays all of it in one
    go. Levels are then numpy, jax and rtl.

    `waves` names an FST file to write, with a GTKWave save file and a Surfer command file beside
    it: of the first sequence, all of it or the steps `around` one, or, when levels differ, of the
    steps around the first difference (which alone is written with around="first-difference").
    They are the circuit's under Verilator, which the level rtl must run on (`docs/waves.md`).

    Raises Mismatch naming the first differing step, block, signal and bit; WrongModel when the
    integers are further from the float model than the program's formats explain; ValueError when
    there is nothing to compare; SimulationError when a simulation gives no result; ToolMissing
    without the packages of the level "onnx"; BoardError or OSError for a board that does not run.
    """
    _check(xs, levels)
    if learn is not None:
        _only_learning({"onnx": onnx, "waves": waves, "initial": initial}, around)
        return verify_learning(
            program, xs, labels, learn, batch, levels=levels, simulator=simulator,
            stall_seed=stall_seed, image=image, wrapper=wrapper, port=port,
            progress=progress,
        )  # fmt: skip
    if batch is not None:
        raise ValueError("verify: a batch is of updates; say learn, how many there are, too")
    labels = [None] * len(xs) if labels is None else list(labels)
    if len(labels) != len(xs):
        raise ValueError(f"verify got {len(xs)} sequences but {len(labels)} labels")
    starts = [None] * len(xs) if initial is None else list(initial)
    if len(starts) != len(xs):
        raise ValueError(f"verify got {len(xs)} sequences but {len(starts)} initial states")
    begun = [None if at is None else begun_at(program.artifact, at) for at in starts]
    elsewhere = any(carried is not None for carried in begun)
    if elsewhere and "onnx" in levels:
        raise ValueError("the level onnx begins at rest: leave out initial, or the level")
    checked = [host_sequence(program.model, *one) for one in zip(xs, labels, strict=True)]
    xs, labels = [x for x, _ in checked], [label for _, label in checked]
    wanted = wanted_waves(program, xs[0], labels[0], waves, around, simulator, levels)
    progress(f"numpy: {len(xs)} sequences")
    cases = tuple(
        Case(x, label, program.run(x, label, carried), carried)
        for x, label, carried in zip(xs, labels, begun, strict=True)
    )
    job = Job(program, cases, simulator, stall_seed, image, wrapper, onnx, progress, port)
    reports: dict[str, LevelReport] = {}
    cycles: dict[str, CycleReport] = {}
    floats: dict[str, float] = {}
    echoes = sum(label is not None for label in labels)
    for name, level in LEVELS.items():
        if name not in levels:
            continue
        compared = 0
        for run in level(job):
            try:
                compared += _compare(name, run) + _compare_cycles(program, name, run, cycles)
            except Mismatch as mismatch:
                if wanted is not None:
                    explain(wanted, job, run.case, mismatch)
                raise
            if run.reals is not None:
                compared += run.reals.compared
                worst = floats.get(run.reals.what, 0.0)
                floats[run.reals.what] = max(worst, run.reals.worst)
        reports[name] = LevelReport(compared, 0, len(cases), echoes)
    written = None if wanted is None else write_asked(wanted, job)
    progress("float model: outputs and gradients")
    expected = [case.expected for case in cases]
    simulated = "rtl" in levels
    notes = [GOLDEN] if simulated and simulator == "golden" else []
    notes += [ELSEWHERE] if elsewhere else []
    notes += [NO_WAVES] if wanted is not None and written is None else []
    return VerifyReport(
        reports,
        _lsb_off(program, cases),
        cycles,
        sum(e.saturated for e in expected),
        sum(e.overflow for e in expected),
        simulator if simulated else None,
        stall_seed,
        tuple(notes),
        floats,
        float_distance(program, [case for case in cases if case.carried is None]),
        written,
        excesses=_excesses(program, cases),
    )


def _excesses(program: CompiledProgram, cases: Sequence[Case]) -> tuple[Excess, ...]:
    """The first clamped word and the first overflow, each of the first sequence that has one."""
    found = Excesses()
    for number, case in enumerate(cases):
        clamps = case.expected.saturated and found.clamp is None
        if clamps or (case.expected.overflow and found.overflow is None):
            own = excesses(program.artifact, case.x, case.label, case.carried).numbered(number)
            found = Excesses(found.overflow or own.overflow, found.clamp or own.clamp)
    return tuple(found)


def _check(xs: Sequence[Any] | Floats, levels: Sequence[str]) -> None:
    if not len(xs):
        raise ValueError("verify needs at least one sequence: comparing nothing proves nothing")
    unknown = [level for level in levels if level not in KNOWN]
    if unknown:
        raise ValueError(f"unknown level {unknown[0]!r}; levels are {', '.join(KNOWN)}")
    if not set(levels) - {REFERENCE}:
        raise ValueError(
            "verify needs a level to hold against numpy: "
            "add 'jax', 'rtl', 'onnx' or 'board' to levels"
        )


def _only_learning(others: Mapping[str, Any], around: Around) -> None:
    """ValueError for what is given beside `learn` and has no meaning there."""
    given = [name for name, value in {**others, "around": around}.items() if value is not None]
    if given:
        raise ValueError(f"verify: {given[0]} is not for a training; leave it out, or learn")


def _compare(level: str, run: Run) -> int:
    """Number of integers compared; raises Mismatch at the first that differs."""
    if run.reals is not None:
        return 0
    difference = first_difference(run.expected, run.actual, level=level)
    if difference is not None:
        raise Mismatch(run.locate() or difference)
    return sum(int(np.size(v)) for v in run.expected.values())


def _compare_cycles(
    program: CompiledProgram, level: str, run: Run, reports: dict[str, CycleReport]
) -> int:
    """Number of counts compared with the schedule's; a pass's first one goes to `reports`."""
    length, lanes = len(run.case.x), program.artifact.mapped.config.lanes
    for name, counted in run.passes.items():
        predicted = program.artifact.mapped.cycles_of(SECTIONS[name], length)
        if counted.cycles != predicted:
            signal = f"cycles of the {name} pass"
            raise Mismatch(Difference(level, None, "", signal, (), None, predicted, counted.cycles))
        utilisation = counted.busy / (lanes * counted.cycles)
        reports.setdefault(name, CycleReport(length, predicted, counted.cycles, utilisation))
    return len(run.passes)


def _lsb_off(program: CompiledProgram, cases: Sequence[Case]) -> int | None:
    """How far the free copies ended from where their forward pass began, momenta turned round."""
    free = {
        name: at.letter for at, name in program.ir.coordinates().items() if at.copy is Copy.FREE
    }
    worst = None
    for case in cases:
        for name, letter in free.items() if case.expected.echo_states else ():
            found = case.expected.echo_states[name]
            start = 0 if case.carried is None else case.carried.states[name]
            gap = found + start if letter is Letter.MOMENTUM else found - start
            worst = max(worst or 0, int(np.max(np.abs(gap))))
    return worst
