"""What a traced function depends on, and whether it is odd or even in an input.

A reversible step needs T(p) and V(q, u) apart, and a velocity that is odd in p. Both are decided
on the code, by rule, and conservatively: `descendants` may name values in which terms cancel, and
`analyse` calls a value odd only where every operation on the way proves it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from echoloom.ir.functions import FUNCTIONS
from echoloom.ir.functions import Parity as Parity
from echoloom.ir.ops import ODD_ROUNDINGS, PRODUCTS, SUMS, Constant, Op, Requant, Table
from echoloom.ir.program import Instr


def descendants(
    instrs: Iterable[Instr], sources: set[str], cut: frozenset[str] = frozenset()
) -> set[str]:
    """Names reached from `sources`; a path ends where it meets a name in `cut`."""
    reached = set(sources)
    for instr in instrs:
        if instr.name not in cut and not reached.isdisjoint(instr.args):
            reached.add(instr.name)
    return reached


def analyse(instrs: Iterable[Instr], given: Mapping[str, Parity]) -> dict[str, Parity]:
    """Parity of every value; names in `given` keep theirs, other free names are even."""
    parities = dict(given)
    for instr in instrs:
        if instr.name not in given:
            args = [parities.get(a, Parity.EVEN) for a in instr.args]
            parities[instr.name] = _parity(instr, args)
    return parities


def _parity(instr: Instr, args: list[Parity]) -> Parity:
    if isinstance(instr.attr, Constant):
        return Parity.ZERO if instr.attr.value == 0.0 else Parity.EVEN
    if instr.op is Op.READ:
        return Parity.EVEN
    if instr.op in SUMS:
        return args[0] & args[1]
    if instr.op in PRODUCTS:
        return product_parity(*args)
    if isinstance(instr.attr, Table):
        return through(FUNCTIONS[instr.attr.function].parity, args[0])
    if isinstance(instr.attr, Requant):
        odd = instr.attr.rounding in ODD_ROUNDINGS
        return args[0] if odd else args[0] & Parity.EVEN
    return args[0]  # SCALE and SHIFT are linear


def product_parity(a: Parity, b: Parity) -> Parity:
    if Parity.ZERO in (a, b):
        return Parity.ZERO
    if Parity.UNKNOWN in (a, b):
        return Parity.UNKNOWN
    return Parity.EVEN if a is b else Parity.ODD


def through(function: Parity, argument: Parity) -> Parity:
    """A function's parity decides what becomes of an odd argument; an even one stays even."""
    if argument is Parity.ODD:
        return function
    return argument & Parity.EVEN
