"""From traced graphs and samples to formats: the programs that nudge sizes are tried on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from echoloom.backends.run.integers import Floats, Words
from echoloom.backends.run.levels import IntegerProgram
from echoloom.ir.formats import largest
from echoloom.ir.functions import FUNCTIONS
from echoloom.ir.intervals import EVERYTHING, intervals
from echoloom.ir.ops import Table
from echoloom.ir.passes.assemble import StackGraphs, assemble
from echoloom.ir.passes.calibrate import Ranges, measure
from echoloom.ir.passes.formats_plan import Widths
from echoloom.ir.passes.hold import hold
from echoloom.ir.passes.quantise import cuts, quantise
from echoloom.ir.passes.simplify import simplify
from echoloom.ir.program import Program
from echoloom.ir.retrace import check_retrace
from echoloom.ir.tables import NoTable, program_tables
from echoloom.ir.verifier import verify

Epsilons = tuple[float, ...]


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
        like = None if earlier is None else cuts(earlier, self.widths.narrow)
        quantised = check_retrace(verify(quantise(program, held, ranges, self.widths, like)))
        tables = program_tables(quantised, self.widths.narrow)
        words = coefficient_words(quantised, held)
        return IntegerProgram(quantised, words, tables, self.output_step)


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
