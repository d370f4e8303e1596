"""`el.verify`: every level gives the same integers, or the first difference is named."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from echoloom.backends.compile.program import CompiledProgram
from echoloom.backends.run.integers import Floats, RunResult, Words
from echoloom.backends.run.run_jax import JaxRunner
from echoloom.frontend.data.samples import host_sequence
from echoloom.ir.contract import Image
from echoloom.sim.first_difference import Difference, Mismatch, first_difference
from echoloom.sim.float_distance import FloatDistance, float_distance
from echoloom.sim.level_onnx import Case, compare_export, exports
from echoloom.sim.level_rtl import RtlRun, rtl_runs
from echoloom.sim.locate import locate_jax, locate_rtl
from echoloom.sim.run_rtl import Simulator, Wrapper

Progress = Callable[[str], None]
REFERENCE = "numpy"
DEFAULT = (REFERENCE, "jax", "rtl")
KNOWN = (*DEFAULT, "onnx")  # which needs the extra packages onnx and onnxruntime


@dataclass(frozen=True)
class LevelReport:
    """Integers of one level held against the NumPy level."""

    compared: int
    mismatches: int
    forward: int  # sequences
    echo: int


@dataclass(frozen=True)
class CycleReport:
    """Clock cycles of one pass over one sequence of `length` steps; utilisation as the engine
    counted it: useful lane cycles / (lanes x cycles)."""

    length: int
    predicted: int
    rtl: int
    utilisation: float


@dataclass(frozen=True)
class VerifyReport:
    """What was compared. All mismatch counts are 0: a mismatch raises instead."""

    levels: Mapping[str, LevelReport]
    lsb_off: int | None  # of the free copy from its start, after the echo; None without echo
    cycles: Mapping[str, CycleReport]
    saturated: int  # sequences in which a feed-forward word was clamped
    overflowed: int  # sequences with a state or accumulator overflow (alike at every level)
    simulator: str | None = None
    stall_seed: int | None = None
    notes: tuple[str, ...] = field(default=())
    floats: Mapping[str, float] = field(
        default_factory=dict
    )  # worst relative errors of ONNX's real numbers
    float_model: FloatDistance | None = None  # None where every sequence overflowed


def verify(
    program: CompiledProgram,
    xs: Sequence[Any] | Floats,
    labels: Sequence[Any] | None = None,
    simulator: Simulator = "verilator",
    levels: Sequence[str] = DEFAULT,
    stall_seed: int | None = None,
    progress: Progress = lambda message: None,
    image: Image | None = None,
    wrapper: Wrapper | None = None,
    onnx: str | os.PathLike[str] | None = None,
) -> VerifyReport:
    """Run sequences xs [n][T, inputs] at every level and compare all integers; then hold them
    against the float model and its gradient through time.

    labels[i] is a label or target, or None for a forward pass only. `stall_seed` holds every
    stream of the RTL back at random. `image` and `wrapper` put other memory contents or another
    component in the engine's place (tests sabotage them). The level "onnx" exports the program,
    float and integer, forward and gradient, and runs all four in ONNX Runtime; with `onnx`, a file
    that was exported, it compares that file's tensors and runs it alone.

    Raises Mismatch naming the first differing step, block, signal and bit; WrongModel when the
    integers are further from the float model than the program's formats explain; ValueError when
    there is nothing to compare; SimulationError when a simulation gives no result; ToolMissing
    without the packages of the level "onnx".
    """
    _check(xs, levels)
    labels = [None] * len(xs) if labels is None else list(labels)
    if len(labels) != len(xs):
        raise ValueError(f"verify got {len(xs)} sequences but {len(labels)} labels")
    checked = [host_sequence(program.model, *one) for one in zip(xs, labels, strict=True)]
    xs, labels = [x for x, _ in checked], [label for _, label in checked]
    progress(f"numpy: {len(xs)} sequences")
    expected = [program.run(x, label) for x, label in zip(xs, labels, strict=True)]
    reports: dict[str, LevelReport] = {}
    cycles: dict[str, CycleReport] = {}
    if "jax" in levels:
        progress("jax: compiling and running")
        runner = JaxRunner(program.artifact)
        compared = 0
        for x, label, wanted in zip(xs, labels, expected, strict=True):
            actual = runner.run(x, label)
            compared += _compare("jax", wanted, actual, lambda d, x=x, label=label: locate_jax(
                program.artifact, x, label) or d)  # fmt: skip
        reports["jax"] = _level(compared, labels)
    if "rtl" in levels:
        progress(f"rtl: building and running under {simulator}")
        image = program.image if image is None else image
        outputs = [e.outputs for e in expected]
        runs = rtl_runs(
            program.artifact, image, xs, labels, simulator, stall_seed,
            wrapper=wrapper, outputs=outputs,
        )  # fmt: skip
        compared = 0
        for x, label, wanted, run in zip(xs, labels, expected, runs, strict=True):

            def locate(
                d: Difference, x: Floats = x, label: Any = label, out: Words = wanted.outputs
            ) -> Difference:
                found = locate_rtl(program.artifact, image, x, label, out, simulator, wrapper)
                return found or d

            compared += _compare("rtl", wanted, run.result, locate)
            compared += _compare_cycles(program, len(x), run)
        reports["rtl"] = _level(compared, labels)
        cycles = _cycles(program, xs, runs)
    floats: dict[str, float] = {}
    if "onnx" in levels:
        cases = [Case(*case) for case in zip(xs, labels, expected, strict=True)]
        compared = 0
        for export in exports(program, onnx):
            progress(f"onnx: {export.kind} {export.passes}")
            count, errors = compare_export(program, export, cases)
            compared, floats = compared + count, floats | errors
        reports["onnx"] = _level(compared, labels)
    progress("float model: outputs and gradients")
    float_model = float_distance(program, xs, labels, expected)
    return VerifyReport(
        reports,
        _lsb_off(expected),
        cycles,
        sum(e.saturated for e in expected),
        sum(e.overflow for e in expected),
        simulator if "rtl" in levels else None,
        stall_seed,
        floats=floats,
        float_model=float_model,
    )


def _check(xs: Sequence[Any] | Floats, levels: Sequence[str]) -> None:
    if not len(xs):
        raise ValueError("verify needs at least one sequence: comparing nothing proves nothing")
    unknown = [level for level in levels if level not in KNOWN]
    if unknown:
        raise ValueError(f"unknown level {unknown[0]!r}; levels are {', '.join(KNOWN)}")
    if not set(levels) - {REFERENCE}:
        raise ValueError(
            "verify needs a level to hold against numpy: add 'jax', 'rtl' or 'onnx' to levels"
        )


def _compare(
    level: str,
    expected: RunResult,
    actual: RunResult,
    locate: Callable[[Difference], Difference],
) -> int:
    """Number of integers compared; raises Mismatch at the first that differs."""
    wanted, found = expected.named(), actual.named()
    difference = first_difference(wanted, found, level=level)
    if difference is not None:
        raise Mismatch(locate(difference))
    return sum(int(np.size(v)) for v in wanted.values())


def _compare_cycles(program: CompiledProgram, length: int, run: RtlRun) -> int:
    compared = 0
    for name, counted in (("forward", run.forward), ("echo", run.echo)):
        if counted is None:
            continue
        predicted = program.artifact.mapped.cycles(name == "forward", length)
        if counted.cycles != predicted:
            raise Mismatch(
                Difference("rtl", None, "", f"cycles of the {name} pass", (), None, predicted,
                           counted.cycles)
            )  # fmt: skip
        compared += 1
    return compared


def _level(compared: int, labels: Sequence[Any]) -> LevelReport:
    return LevelReport(compared, 0, len(labels), sum(label is not None for label in labels))


def _lsb_off(results: Sequence[RunResult]) -> int | None:
    """How far the free copies ended from rest, where every forward pass starts."""
    distances = [
        int(np.max(np.abs(words)))
        for result in results
        for name, words in result.echo_states.items()
        if ".free." in name
    ]
    return max(distances) if distances else None


def _cycles(
    program: CompiledProgram, xs: Sequence[Floats], runs: Sequence[RtlRun]
) -> dict[str, CycleReport]:
    lanes = program.image.config.lanes
    cycles = {}
    for name in ("forward", "echo"):
        for x, run in zip(xs, runs, strict=True):
            counted = run.forward if name == "forward" else run.echo
            if counted is not None and name not in cycles:
                predicted = program.artifact.mapped.cycles(name == "forward", len(x))
                busy = counted.busy / (lanes * counted.cycles)
                cycles[name] = CycleReport(len(x), predicted, counted.cycles, busy)
    return cycles
