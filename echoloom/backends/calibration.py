"""Calibrated programs: from traced graphs and samples to formats and nudge sizes.

A linear unit's contrast is exact at any nudge, so its size is set by range alone. Any other unit's
has an error of its own that grows with the nudge squared, while rounding falls with it: where the
two meet depends on the unit, the step and the length, so it is measured. The integers are run at
several sizes and held against the same program in real numbers at a tiny one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from echoloom.backends.integers import Floats, Words, is_classification, to_real
from echoloom.backends.levels import IntegerProgram, numpy_run
from echoloom.backends.run_numpy import StagedNumpyMachine
from echoloom.ir.formats import largest
from echoloom.ir.functions import FUNCTIONS
from echoloom.ir.intervals import EVERYTHING, intervals
from echoloom.ir.linearity import is_affine
from echoloom.ir.ops import Table
from echoloom.ir.passes.assemble import StackGraphs, assemble
from echoloom.ir.passes.calibrate import PROBE, Ranges, Runaway, choose_epsilons, measure
from echoloom.ir.passes.formats_plan import Widths
from echoloom.ir.passes.hold import hold
from echoloom.ir.passes.quantise import cuts, quantise
from echoloom.ir.passes.simplify import simplify
from echoloom.ir.program import Accumulator, Program
from echoloom.ir.real import RULES
from echoloom.ir.retrace import check_retrace
from echoloom.ir.session import Session, normalised_error, softmax_error
from echoloom.ir.staged import StagedMachine
from echoloom.ir.tables import NoTable, program_tables
from echoloom.ir.verify import verify

Epsilons = tuple[float, ...]
# Exponents tried, relative to the size that makes the echoes part by as much as the state itself.
FIRST_TRIALS, FURTHER_TRIALS = (-1, -3, -5), (-7, -9, -11)
TRIAL_SAMPLES = 4


class CoefficientRange(ValueError):
    """New parameters do not fit the formats a program was compiled with."""


class PoleRange(NoTable, CoefficientRange):
    """New parameters let the argument of a function too near to its pole."""


@dataclass(frozen=True, eq=False)
class Material:
    """What a program is made from: traced graphs, coefficient values, samples [n, T, inputs]."""

    graphs: StackGraphs
    values: Mapping[str, Floats]
    samples: Floats
    targets: Floats | None
    output_step: int
    widths: Widths

    def real(self, epsilons: Epsilons) -> tuple[Program, dict[str, Floats]]:
        """The real program for these nudge sizes, and every coefficient's value."""
        program, held = hold(simplify(assemble(self.graphs, epsilons)), self.values)
        return verify(program), held

    def ranges(self, epsilons: Epsilons) -> Ranges:
        program, held = self.real(epsilons)
        return measure(program, held, self.samples, self.targets, self.output_step)

    def integer(self, epsilons: Epsilons, earlier: Program | None = None) -> IntegerProgram:
        """The integer program for these nudge sizes, with its coefficients and tables; of the same
        code as `earlier`, as far as formats allow."""
        program, held = self.real(epsilons)
        ranges = measure(program, held, self.samples, self.targets, self.output_step)
        like = None if earlier is None else cuts(earlier)
        quantised = check_retrace(verify(quantise(program, held, ranges, self.widths, like)))
        tables = program_tables(quantised, self.widths.narrow)
        words = coefficient_words(quantised, held)
        return IntegerProgram(quantised, words, tables, self.output_step)


def calibrate(
    material: Material, earlier: Program | None = None
) -> tuple[IntegerProgram, Epsilons]:
    """The integer program, of the same code as `earlier` as far as formats allow, and the nudge
    size of every block that suits it."""
    probing = (PROBE,) * len(material.graphs.blocks)
    widest = choose_epsilons(material.ranges(probing), probing)
    epsilons = _measured(material, widest, probing)
    return material.integer(epsilons, earlier), epsilons


def curved(graphs: StackGraphs) -> list[bool]:
    """By block: whether a contrast's quality depends on the nudge's size."""
    return [
        not is_affine(b.beside, "f", "q") or not is_affine(b.velocity, "v", "p")
        for b in graphs.blocks
    ]


def _measured(material: Material, widest: Epsilons, probing: Epsilons) -> Epsilons:
    bent = curved(material.graphs)
    if not any(bent):
        return widest
    count = min(TRIAL_SAMPLES, len(material.samples))
    targets = None if material.targets is None else material.targets[:count]
    trial = replace(material, samples=material.samples[:count], targets=targets)
    labels = _labels(trial, probing)
    exact = _real_gradients(trial, probing, labels)
    errors: dict[int, list[float]] = {}

    def best(block: int) -> int:
        return min(errors, key=lambda exponent: errors[exponent][block])

    def sizes(exponents: list[int]) -> Epsilons:
        return tuple(
            e * 2.0**x if own else e for e, x, own in zip(widest, exponents, bent, strict=True)
        )

    for exponent in (*FIRST_TRIALS, *FURTHER_TRIALS):
        smallest = min(errors, default=0)
        if exponent in FURTHER_TRIALS and all(
            best(b) > smallest and errors[best(b)][b] < np.inf for b in range(len(bent))
        ):
            break
        errors[exponent] = _trial_errors(trial, sizes([exponent] * len(bent)), labels, exact)
    return sizes([best(b) for b in range(len(bent))])


def _labels(material: Material, probing: Epsilons) -> Any:
    """The least likely class of every sample, or the targets: labels that leave an error."""
    program, held = material.real(probing)
    outputs = Session(StagedMachine(program, RULES, dict(held)), material.output_step).forward(
        material.samples
    )
    if is_classification(program):
        return np.argmin(outputs, axis=-1)
    return -np.sign(outputs) if material.targets is None else material.targets


def _real_gradients(material: Material, epsilons: Epsilons, labels: Any) -> dict[str, Floats]:
    """Sums of every coefficient's gradient, normalised as the host does it, sample by sample."""
    program, held = material.real(epsilons)
    machine = StagedMachine(program, RULES, dict(held))
    session = Session(machine, material.output_step)
    outputs = session.forward(material.samples)
    if is_classification(program):
        error, _ = normalised_error(softmax_error(outputs, labels))
        session.echo_classification(material.samples, error)
    else:
        session.echo_regression(material.samples, labels, outputs)
    sums = {a.name: machine.accumulators[a.name] for a in program.accumulators if a.target}
    return _by_target(program.accumulators, sums, held)


def _by_target(
    accumulators: tuple[Accumulator, ...],
    sums: Mapping[str, Floats],
    coefficients: Mapping[str, Floats],
) -> dict[str, Floats]:
    gradients: dict[str, Floats] = {}
    for a in accumulators:
        if a.target:
            value = sums[a.name] * a.scale
            if a.divisor:
                value = value / coefficients[a.divisor]
            gradients[a.target] = gradients.get(a.target, 0.0) + value
    return gradients


def _trial_errors(
    trial: Material, epsilons: Epsilons, labels: Any, exact: Mapping[str, Floats]
) -> list[float]:
    """By block; infinite where nudges of these sizes push an echo out of the potential."""
    blocks = len(epsilons)
    try:
        integer = trial.integer(epsilons)
    except Runaway as error:
        if not error.echo:
            raise
        return [np.inf] * blocks
    return _errors(integer, trial.samples, labels, exact, blocks)


def _errors(
    integer: IntegerProgram, samples: Floats, labels: Any, exact: Mapping[str, Floats], blocks: int
) -> list[float]:
    """By block: root mean square over its own tensors of the gradient's relative error."""
    result = numpy_run(integer, samples, labels, machine=StagedNumpyMachine)
    if result.overflow:
        return [np.inf] * blocks
    formats = {a.name: a.type.q for a in integer.program.accumulators}
    sums = {name: to_real(words, formats[name]) for name, words in result.gradients.items()}
    held = {d.name: to_real(integer.coefficients[d.name], d.type.q)
            for d in integer.program.coefficients}  # fmt: skip
    found = _by_target(integer.program.accumulators, sums, held)
    squares: list[list[Floats]] = [[] for _ in range(blocks)]
    for name, value in exact.items():
        owner = name.partition(".")[0]
        if owner[:1] == "b" and owner[1:].isdigit():
            squares[int(owner[1:])].append(_relative(found[name], value) ** 2)
    return [float(np.sqrt(np.mean(s))) if s else 0.0 for s in squares]


def _relative(found: Floats, exact: Floats) -> Floats:
    """Relative error of every sample's tensor, at most 1: a gradient that all but cancels is lost
    at any nudge and should decide nothing."""
    axes = tuple(range(1, exact.ndim))
    size = np.sqrt(np.sum(exact**2, axis=axes))
    error = np.sqrt(np.sum((found - exact) ** 2, axis=axes))
    return np.minimum(error / np.where(size > 0.0, size, np.inf), 1.0)


def coefficient_words(program: Program, values: Mapping[str, Floats]) -> dict[str, Words]:
    """Words of every coefficient; CoefficientRange names the first that its format cannot hold, or
    the first function whose argument these coefficients let too near to its pole."""
    _check_poles(program, values)
    words: dict[str, Words] = {}
    for d in program.coefficients:
        if values[d.name].shape != d.type.shape:
            raise ValueError(
                f"coefficient {d.name} has shape {list(values[d.name].shape)}, but this program "
                f"holds shape {list(d.type.shape)}; compile the new model instead of reusing "
                "formats"
            )
        scaled = np.rint(values[d.name] * 2.0**d.type.q.grid)
        if np.any(np.abs(scaled) > largest(d.type.q.width)):
            worst = np.unravel_index(np.argmax(np.abs(scaled)), scaled.shape)
            column = f"column {worst[1]} of " if d.type.q.columns else ""
            raise CoefficientRange(
                f"{column}coefficient {d.name} reaches {abs(values[d.name][worst]):.6g}, which its "
                f"format {d.type.q} cannot hold; compile the new model instead of reusing formats"
            )
        words[d.name] = scaled.astype(np.int64)
    return words


def _check_poles(program: Program, values: Mapping[str, Floats]) -> None:
    for body in program.bodies:
        proven = intervals(body.instrs, values)
        for instr in body.instrs:
            if not isinstance(instr.attr, Table) or not FUNCTIONS[instr.attr.function].positive:
                continue
            segment = 2.0 ** (instr.attr.range_bits + 1 - instr.attr.segment_bits)
            smallest = proven.get(instr.args[0], EVERYTHING)[0]
            if smallest < segment:
                function = instr.attr.function
                raise PoleRange(
                    function,
                    f"with these parameters the argument of {function} may be as small as "
                    f"{smallest:.3g}, but a segment of its table is {segment:.3g} wide; compile "
                    "the new model instead of reusing formats",
                    instr.name,
                )
