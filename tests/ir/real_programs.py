"""Random real programs of one body, values for them, and what a host sees of their runs."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from echoloom.ir.exact import exact_type
from echoloom.ir.formats import real
from echoloom.ir.interpret import Machine
from echoloom.ir.ops import ATTRIBUTE_OF, Attribute, Constant, Op, Scale, Table
from echoloom.ir.program import Accumulator, Body, Coefficient, Declaration, Instr, Program
from echoloom.ir.real import REAL_RULES
from echoloom.ir.sections import Section
from echoloom.ir.verifier import verify

Values = dict[str, np.ndarray]


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Straight-line real code of random operations on a handful of vectors and two coefficients."""
    held = (Coefficient("w", real(3, 3)), Coefficient("c", real(3)))
    frame = (*(Declaration(n, real(3)) for n in "abx"), Declaration("s", real()))
    types = {d.name: d.type for d in (*held, *frame)}
    instrs: list[Instr] = []
    for _ in range(draw(st.integers(1, 14))):
        op = draw(
            st.sampled_from(
                (Op.ADD, Op.SUB, Op.SUB, Op.MUL, Op.SCALE, Op.SCALE, Op.MATVEC, Op.TMATVEC,
                 Op.OUTER, Op.TABLE, Op.CONSTANT)
            )
        )  # fmt: skip
        vectors = [n for n, t in types.items() if t.shape == (3,)]
        pick = st.sampled_from([*vectors[-6:], "a", "b", "c"])
        args = {
            Op.CONSTANT: (),
            Op.MATVEC: ("w", draw(pick)),
            Op.TMATVEC: ("w", draw(pick)),
            Op.SCALE: (draw(pick),),
            Op.TABLE: (draw(pick),),
            Op.MUL: (draw(pick), draw(pick | st.just("s"))),
        }.get(op, (draw(pick), draw(pick)))
        attr: Attribute | None = None
        if op in ATTRIBUTE_OF:
            attr = {
                Op.CONSTANT: Constant(draw(st.sampled_from((0.0, 1.0, -0.5)))),
                Op.SCALE: Scale(draw(st.sampled_from((1.0, -1.0, 0.5, -0.5, 2.0, 0.3, -0.3)))),
                Op.TABLE: Table("tanh"),
            }[op]
        free = op in (Op.CONSTANT, Op.TABLE)
        type_ = real(3) if free else exact_type(op, [types[a] for a in args], attr)
        name = f"t{len(instrs)}"
        instrs.append(Instr(name, op, args, type_, attr))
        types[name] = type_
    last = [i.name for i in instrs[-4:]]
    sums = tuple(Accumulator(f"sum.{n}", types[n], scale=0.5) for n in last)
    body = Body(
        Section.FORWARD_STEP, frame, tuple(instrs), (),
        tuple((f"sum.{n}", n) for n in last), tuple(last),
    )  # fmt: skip
    return verify(Program("random", held, (), (), sums, (body,)))


def some_values(program: Program, seed: int) -> tuple[Values, list[Values]]:
    """Random coefficients, and two frames."""
    random = np.random.default_rng(seed)
    values = {d.name: random.normal(size=d.type.shape) for d in program.coefficients}
    frame = program.bodies[0].frame
    return values, [{d.name: random.normal(size=d.type.shape) for d in frame} for _ in range(2)]


def results(
    program: Program, values: dict[str, np.ndarray], frames: list[dict[str, np.ndarray]]
) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """Everything a host could see: what is emitted, and sums times their factors."""
    machine = Machine(program, REAL_RULES, dict(values))
    machine.run(Section.FORWARD_STEP, frames)
    sums = {a.name: machine.accumulators[a.name] * a.scale for a in program.accumulators}
    return machine.emitted, sums
