"""Real programs to integer programs: a format for every word, every loss of bits written down.

Products stay exact until they are stored. A stored word is the REQUANT of an exact value; a sum of
a stored word and a product rounds the product first and adds after, which is what makes a
leapfrog increment odd in p and the step reversible.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from echoloom.ir.formats import Type
from echoloom.ir.ops import Op
from echoloom.ir.passes.calibrate import Ranges
from echoloom.ir.passes.coefficient_formats import runtime_format
from echoloom.ir.passes.emission import Limits, emit_body
from echoloom.ir.passes.format_classes import Formats
from echoloom.ir.passes.formats_plan import FACTORS, Cuts, FormatPlan, plan_formats
from echoloom.ir.precision import Precision
from echoloom.ir.program import Declaration, Program
from echoloom.ir.sections import Section
from echoloom.ir.widths import Widths

Floats = NDArray[np.float64]
D = TypeVar("D", bound=Declaration)
ROUNDS = 200


def quantise(
    program: Program,
    coefficients: Mapping[str, Floats],
    ranges: Ranges,
    widths: Widths,
    earlier: Cuts | None = None,
) -> Program:
    """Choose all formats and make every rounding explicit.

    `earlier` are the `cuts` of a program that this one shall resemble: with them, calibrating again
    changes formats but no code.

    ValueError when the program needs something the fixed-point target cannot express.
    """
    return settled(plan_formats(program, coefficients, ranges, Precision(widths), earlier or {}))[0]


def settled(plan: FormatPlan) -> tuple[Program, Formats]:
    """The integer program of a plan, and the formats that its words have in the end. ValueError as
    `quantise`."""
    formats = plan.formats
    # A word never has more fraction bits than the exact value it is cut from. Such caps only fall,
    # and one falls only after a word did that the value is made of: they stop where a chain of
    # words ends, unless each round of a cycle makes its words coarser again.
    for _ in range(ROUNDS):
        result, limits = _emit(plan, formats)
        coarser = formats.capped(limits)
        if coarser == formats:
            return result, formats
        formats = coarser
    raise ValueError("formats did not settle; this is a bug in quantise")


def cuts(program: Program, widths: Widths) -> Cuts:
    """Which operand every product of an integer program has cut to the multiplier's narrow side.

    Stored words have the full width: one of the narrow width is the cut copy of another.
    """
    found: dict[Section, tuple[int | None, ...]] = {}
    for body in program.bodies:
        copies = {
            i.name for i in body.instrs if i.op is Op.REQUANT and i.type.q.width == widths.narrow
        }
        products = [i.args for i in body.instrs if i.op in FACTORS]
        found[body.section] = tuple(
            next((number for number, a in enumerate(args) if a in copies), None)
            for args in products
        )
    return found


def _emit(plan: FormatPlan, formats: Formats) -> tuple[Program, Limits]:
    """The integer program with these formats, and what its words can have at most."""
    program, factors = plan.program, plan.factors
    written = {d.name: runtime_format(d.name, plan.widths.narrow) for d in program.runtime}
    shared = {word.name: formats.q(word) for word in formats.names if word.section is None}
    known = {**written, **shared, **factors}

    def typed(declarations: tuple[D, ...]) -> tuple[D, ...]:
        return tuple(
            replace(d, type=Type(d.type.shape, known[d.name]))
            for d in declarations
            if d.name in known
        )

    result = replace(
        program,
        coefficients=typed(program.coefficients),
        runtime=typed(program.runtime),
        states=typed(program.states),
        accumulators=(),
        bodies=(),
    )
    limits: Limits = ()
    for body in program.bodies:
        emitted = emit_body(plan, formats, result, body)
        limits += emitted.limits
        result = replace(
            result,
            bodies=(*result.bodies, emitted.body),
            accumulators=(*result.accumulators, *emitted.accumulators),
        )
    return result, limits
