"""Addends that learn: narrow weights like all others, which the forward prologue brings to words.

A drain adds words of vector memory, and an update writes weight memory. So that there is one master
copy, a sequence begins by multiplying every such coefficient by one into a state that no step
moves, `<name>.held`, and all bodies add that.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from echoloom.ir.formats import Type, real
from echoloom.ir.ops import PRODUCTS, Constant, Op
from echoloom.ir.places import Label
from echoloom.ir.program import Body, Instr, Program, State
from echoloom.ir.sections import Section


def hold(program: Program, names: Collection[str]) -> Program:
    """The same real program, in which each of these coefficients is only multiplied: whatever else
    reads it reads its held state."""
    added = {d.name: d.type for d in program.coefficients if d.name in names} if names else {}
    read = {a for b in program.bodies for a in _unmultiplied(b)}
    held = {name: f"{name}.held" for name in added if name in read}
    if not held:
        return program
    states = tuple(State(new, added[name]) for name, new in held.items())
    bodies = tuple(_renamed(body, held) for body in program.bodies)
    begun = (_begun(body, held, added) if body.section is Section.FORWARD_PROLOGUE else body
             for body in bodies)  # fmt: skip
    return replace(program, states=(*program.states, *states), bodies=tuple(begun))


def held_states(program: Program) -> frozenset[str]:
    """The states of a program that hold a coefficient: no step moves them."""
    written = {state for state, _ in program.body(Section.FORWARD_PROLOGUE).updates}
    return frozenset(d.name for d in program.states if d.coordinate is None and d.name in written)


def _unmultiplied(body: Body) -> list[str]:
    """What a body reads other than as a factor."""
    read = [a for i in body.instrs if i.op not in PRODUCTS for a in i.args]
    results = [value for _, value in (*body.updates, *body.accumulates)]
    return [*read, *results, *body.emits]


def _renamed(body: Body, held: dict[str, str]) -> Body:
    def new(name: str) -> str:
        return held.get(name, name)

    instrs = tuple(
        i if i.op in PRODUCTS else replace(i, args=tuple(map(new, i.args))) for i in body.instrs
    )
    return replace(
        body, instrs=instrs,
        updates=tuple((state, new(value)) for state, value in body.updates),
        accumulates=tuple((name, new(value)) for name, value in body.accumulates),
        emits=tuple(map(new, body.emits)),
    )  # fmt: skip


def _begun(body: Body, held: dict[str, str], types: dict[str, Type]) -> Body:
    instrs, updates = list(body.instrs), list(body.updates)
    ones: dict[tuple[int, ...], str] = {}
    for name, state in held.items():
        shape = types[name].shape
        if shape not in ones:
            ones[shape] = ".".join(("held.one", *map(str, shape)))
            one = Label(ones[shape])
            instrs.append(Instr.of(one, Op.CONSTANT, (), real(*shape), Constant(1.0)))
        word = Label(f"{name}.word")
        instrs.append(Instr.of(word, Op.MUL, (name, ones[shape]), real(*shape)))
        updates.append((state, word.text))
    return replace(body, instrs=tuple(instrs), updates=tuple(updates))
