"""Programs in which one format is coarser, all others as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from echoloom.backends.compile.coefficients import CoefficientRange
from echoloom.backends.compile.stages import Formatted, integer_program, learned_formats
from echoloom.backends.profile.signals import Kind, Signal
from echoloom.backends.profile.subject import Subject
from echoloom.backends.run.levels import IntegerProgram
from echoloom.ir.exact import InvalidProgram, exact_type
from echoloom.ir.formats import Q, Type
from echoloom.ir.ops import Op
from echoloom.ir.passes.formats_plan import FormatPlan, plan_formats
from echoloom.ir.passes.quantise import settled
from echoloom.ir.program import Body, Program
from echoloom.ir.verifier import verify

DECLARED = (Op.CONSTANT, Op.READ, Op.REQUANT, Op.TABLE, Op.SHIFT)  # types that no rule gives


@dataclass(frozen=True, eq=False)
class Coarser:
    """Makes a subject's formats coarser, one at a time."""

    of: Subject
    plan: FormatPlan  # with the formats that were settled on

    def program(self, signal: Signal, bits: int) -> IntegerProgram | None:
        """With so many bits less behind the point of one signal; None where that cannot be."""
        try:
            words = self._words(signal, bits)
            return integer_program(self.of.source, self.of.real, words)
        except (CoefficientRange, InvalidProgram):
            return None

    def _words(self, signal: Signal, bits: int) -> Formatted:
        if signal.kind is Kind.COPY:
            names = {word.name for word in signal.words}
            program = _with_copies(self.of.words.program, names, bits)
            return Formatted(verify(program), self.of.words.formats)
        if signal.kind is Kind.COEFFICIENT:
            factors = {**self.plan.factors, signal.name: signal.q.shifted(-bits)}
            changed = replace(self.plan, factors=factors)
        else:
            limit = signal.first, signal.q.scalar_frac - bits
            changed = replace(self.plan, formats=self.plan.formats.capped([limit]))
        program, formats = settled(changed)
        return Formatted(verify(program), formats)


def coarser(of: Subject) -> Coarser:
    """For one format after the other."""
    plan = plan_formats(
        of.real.program, of.real.coefficients, of.ranges, of.precision, {},
        learned_formats(of.source),
    )  # fmt: skip
    return Coarser(of, replace(plan, formats=of.words.formats))


def _with_copies(program: Program, names: set[str], bits: int) -> Program:
    """With coarser narrow copies: what is computed of them moves its point along, up to where it is
    rounded to a word again, and so do the sums over steps."""
    sums: dict[str, Q] = {}
    result = replace(program, bodies=())
    for body in program.bodies:
        moved = _moved(program, body, names, bits)
        types = {i.name: i.type for i in moved.instrs}
        sums |= {name: types[v].q for name, v in body.accumulates if v in types}
        result = replace(result, bodies=(*result.bodies, moved))
    accumulators = tuple(
        replace(a, type=_at(a.type, sums[a.name])) if a.name in sums else a
        for a in program.accumulators
    )
    return replace(result, accumulators=accumulators)


def _at(total: Type, term: Q) -> Type:
    """A sum's type with its term's exponents."""
    return Type(total.shape, replace(term, width=total.q.width))


def _moved(program: Program, body: Body, names: set[str], bits: int) -> Body:
    types: dict[str, Type] = dict[str, Type](_given(program, body))
    instrs = []
    for instr in body.instrs:
        own = instr.type
        if instr.op is Op.REQUANT and instr.name in names:
            own = Type(own.shape, own.q.shifted(-bits))
        elif instr.op not in DECLARED:
            own = exact_type(instr.op, [types[a] for a in instr.args], instr.attr)
        types[instr.name] = own
        instrs.append(replace(instr, type=own))
    return replace(body, instrs=tuple(instrs))


def _given(program: Program, body: Body) -> Mapping[str, Type]:
    return {d.name: d.type for d in (*program.globals(), *body.frame)}
