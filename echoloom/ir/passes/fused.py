"""Which products are never stored: those that are added to a word in passing, or only summed up.

A fused multiply-add rounds its product, adds a word and stores the sum, all in one go of the drain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from echoloom.ir.ops import SUMS, VECTOR_PRODUCTS, Op
from echoloom.ir.program import Body, Instr, Program, uses
from echoloom.ir.sections import STEPS, Section
from echoloom.ir.word import Word


@dataclass(frozen=True)
class FusedSum:
    """`increment`, a product or a scaled one, is added to or taken from `base` unstored."""

    base: str
    increment: str


def fused_sums(program: Program) -> dict[Word, FusedSum]:
    """The sums of a real program that are made of a word and of a product in passing."""
    views = {body.section: _View.of(body) for body in program.bodies}

    def passing(section: Section, name: str) -> bool:
        """The two sweeps decide alike: what the echo has to store for its three copies, the forward
        sweep rounds in the same way."""
        sections = {section, *(STEPS if section in STEPS else ())}
        found = [s for s in sections if s in views and name in views[s].definitions]
        return section in found and all(alone(s, name) for s in found)

    def alone(section: Section, name: str) -> bool:
        view, definition = views[section], views[section].definitions[name]
        if not view.is_added(definition):
            return False
        scaled = definition.op is Op.SCALE
        return passing(section, definition.args[0]) if scaled else definition.op in VECTOR_PRODUCTS

    found = {}
    for body in program.bodies:
        for instr in body.instrs:
            if instr.op in SUMS:
                a, b = instr.args
                if passing(body.section, b):
                    found[Word(body.section, instr.name)] = FusedSum(a, b)
                elif instr.op is Op.ADD and passing(body.section, a):
                    found[Word(body.section, instr.name)] = FusedSum(b, a)
    return found


@dataclass(frozen=True)
class _View:
    """How the values of one body are used."""

    definitions: Mapping[str, Instr]
    users: Mapping[str, tuple[Instr, ...]]
    counts: Mapping[str, int]

    @classmethod
    def of(cls, body: Body) -> _View:
        users: dict[str, tuple[Instr, ...]] = {}
        for instr in body.instrs:
            for a in dict.fromkeys(instr.args):
                users[a] = (*users.get(a, ()), instr)
        return cls({i.name: i for i in body.instrs}, users, uses(body))

    def is_added(self, value: Instr) -> bool:
        """Used once, or elementwise and added to something by every use: multiplying again costs
        less than a drain."""
        count, users = self.counts.get(value.name, 0), self.users.get(value.name, ())
        if count == 1:
            return True
        added = all(i.op in SUMS and i.args[1] == value.name for i in users)
        return added and len(users) == count and value.op in (Op.SCALE, Op.MUL)


def unstored(program: Program, fused: Mapping[Word, FusedSum]) -> frozenset[Word]:
    """The increments of fused sums, and what they are scaled from."""
    found: set[Word] = set()
    for body in program.bodies:
        definitions = {i.name: i for i in body.instrs}
        for (section, _), total in fused.items():
            name = total.increment if section is body.section else ""
            while name:
                found.add(Word(body.section, name))
                scaled = definitions[name].op is Op.SCALE
                name = definitions[name].args[0] if scaled else ""
    return frozenset(found)


def only_accumulated(body: Body) -> frozenset[str]:
    """Values that nothing but accumulators reads."""
    counts = uses(body)
    sums = [value for _, value in body.accumulates]
    return frozenset(v for v in sums if sums.count(v) == counts[v])
