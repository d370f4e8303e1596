"""Which rounded products are added at once and never stored, in one go of the drain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from echoloom.ir.formats import Type
from echoloom.ir.ops import SUMS, VECTOR_PRODUCTS, Op, Scale
from echoloom.ir.program import Body, Instr, uses


class Root(NamedTuple):
    """The value behind any number of SCALEs, which shift its meaning and no bit, and their sign."""

    name: str
    sign: int


def root(definitions: Mapping[str, Instr], name: str) -> Root:
    """What is behind the value of this name."""
    sign = 1
    while (instr := definitions.get(name)) is not None and isinstance(instr.attr, Scale):
        sign = -sign if instr.attr.factor < 0 else sign
        name = instr.args[0]
    return Root(name, sign)


def increments(body: Body, types: Mapping[str, Type]) -> frozenset[str]:
    """REQUANTs of products that a single sum adds to a word of the same exponent, and that are
    wide enough never to saturate on the way."""
    definitions = {i.name: i for i in body.instrs}
    counts = uses(body)
    found = set()
    for total in body.instrs:
        if total.op not in SUMS:
            continue
        base, name = total.args
        rounded = definitions.get(name)
        if rounded is None or rounded.op is not Op.REQUANT or counts[name] != 1:
            continue
        product = definitions.get(root(definitions, rounded.args[0]).name)
        if product is None or product.op not in VECTOR_PRODUCTS:
            continue
        exact, own = types[rounded.args[0]].q, rounded.type.q
        exponents = {own.frac, types[base].q.frac, total.type.q.frac}
        shift = min(exact.fracs) - own.scalar_frac
        if len(exponents) == 1 and own.width > exact.width - shift:
            found.add(name)
    return frozenset(found)
