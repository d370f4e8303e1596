"""How much of an engine's work is the model's: useful products against multiplier cycles."""

from __future__ import annotations

from echoloom.ir.ops import Op
from echoloom.ir.passes.assemble import IDENTITY
from echoloom.ir.passes.image import Mapped
from echoloom.ir.program import Body, Program
from echoloom.ir.sections import ECHO, FORWARD, STEPS, Section

MATRIX_PRODUCTS = (Op.MATVEC, Op.TMATVEC)


def products(program: Program, body: Body) -> int:
    """Multiplications that the model needs in one iteration of `body`.

    Every scalar multiplication of a product operation counts once, also where the fabric repeats
    it (the nudge, once for each echo). Moves, powers of two and the product with the identity,
    which only brings a streamed vector into the lanes, do not count, though the fabric plays them
    on the same multipliers.
    """
    types = program.types(body)
    count = 0
    for instr in body.instrs:
        if instr.op in MATRIX_PRODUCTS and instr.args[0] != IDENTITY:
            count += types[instr.args[0]].size
        elif instr.op in (Op.MUL, Op.OUTER):
            count += instr.type.size
    return count


def step_cycles(mapped: Mapped, section: Section) -> int:
    """Clock cycles that one more step of a step section costs, waits excluded."""
    forward = section is Section.FORWARD_STEP
    return mapped.cycles(forward, 2) - mapped.cycles(forward, 1)


def utilisation(mapped: Mapped) -> dict[Section, float]:
    """Useful products / (lanes x cycles) of FORWARD_STEP and of ECHO_STEP, as fractions of 1."""
    lanes = mapped.config.lanes
    return {
        section: products(mapped.program, mapped.program.body(section))
        / (lanes * step_cycles(mapped, section))
        for section in STEPS
    }


def sequence_utilisation(mapped: Mapped, forward: bool, length: int) -> float:
    """Useful products / (lanes x cycles) of a whole pass over `length` steps: all of its sections,
    and the iterations in which steps in flight begin and end."""
    program = mapped.program
    useful = sum(
        products(program, program.body(section)) * (length if section in STEPS else 1)
        for section in (FORWARD if forward else ECHO)
    )
    return useful / (mapped.config.lanes * mapped.cycles(forward, length))
