"""Materialises constants: what an instruction cannot hold itself goes to the coefficients' memory.

- A factor that is no power of two becomes a coefficient: a shift cannot make it.
- A coefficient that is both multiplied and added becomes two, because factors and addends live in
  different memories and formats.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from echoloom.ir.formats import real
from echoloom.ir.ops import PRODUCTS, SUMS, Op, Scale
from echoloom.ir.passes.held import hold
from echoloom.ir.program import Body, Coefficient, Instr, Program

Floats = NDArray[np.float64]


def materialise(
    program: Program, values: Mapping[str, Floats], learned: Collection[str] = ()
) -> tuple[Program, dict[str, Floats]]:
    """The same real program with every factor and addend a coefficient of its own, and the
    coefficients' values. Addends that are to be `learned` are factors, and held."""
    all_values = dict(values)
    program = hold(_materialise_numbers(program, all_values), learned)
    return _split_roles(program, all_values), all_values


def _materialise_numbers(program: Program, values: dict[str, Floats]) -> Program:
    numbers: dict[tuple[float, tuple[int, ...]], str] = {}

    def coefficient(factor: float, shape: tuple[int, ...]) -> str:
        shape = shape if len(shape) == 1 else ()  # one number meets all elements of a matrix
        name = numbers.setdefault((factor, shape), f"number.{len(numbers)}")
        values[name] = np.full(shape, factor)
        return name

    def rewrite(instr: Instr) -> Instr:
        attr = instr.attr
        if not isinstance(attr, Scale) or math.frexp(abs(attr.factor))[0] == 0.5:
            return instr
        name = coefficient(attr.factor, instr.type.shape)
        return replace(instr, op=Op.MUL, args=(name, *instr.args), attr=None)

    bodies = tuple(replace(b, instrs=tuple(map(rewrite, b.instrs))) for b in program.bodies)
    declared = tuple(
        Coefficient(name, real(*shape), fixed=True) for (_, shape), name in numbers.items()
    )
    return replace(program, coefficients=(*program.coefficients, *declared), bodies=bodies)


def _split_roles(program: Program, values: dict[str, Floats]) -> Program:
    names = {d.name for d in program.coefficients}
    used = {
        kind: {a for b in program.bodies for i in b.instrs if i.op in kind for a in i.args} & names
        for kind in (PRODUCTS, SUMS)
    }
    both = used[PRODUCTS] & used[SUMS]
    halves = {
        d.name: replace(d, name=f"{d.name}.addend", half_of=d.name)
        for d in program.coefficients
        if d.name in both
    }
    values.update({half.name: values[half.half_of] for half in halves.values()})

    def renamed(body: Body) -> Body:
        instrs = tuple(
            replace(i, args=tuple(halves[a].name if a in halves else a for a in i.args))
            if i.op in SUMS
            else i
            for i in body.instrs
        )
        return replace(body, instrs=instrs)

    bodies = tuple(map(renamed, program.bodies))
    return replace(program, coefficients=(*program.coefficients, *halves.values()), bodies=bodies)
