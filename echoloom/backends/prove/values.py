"""Values of a body as terms: what `ir.interpret` does with numbers, with symbols.

Sums, requantisations, products by elements and tables with a parity are what the program says.
Products themselves, matrix products and other tables are functions of their operands that may be
any, except that products change sign with either factor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from echoloom.backends.prove.parities import Parities, Requantisation
from echoloom.backends.prove.words import Signed, Term, Vector, Words
from echoloom.ir.formats import Type
from echoloom.ir.ops import SUMS, Constant, DynamicShift, Op, Requant, Scale, Table
from echoloom.ir.parity import Parity
from echoloom.ir.program import Body, Instr, Program
from echoloom.ir.tables import table_key

Symbols = Callable[[str, int], Vector]  # of a value that is given: its name and size


class NotModelled(ValueError):
    """An operation that no proof can be made of."""


@dataclass
class Functions:
    """Functions that may be any, by what they are, and symbols that hold for both sweeps."""

    words: Words
    known: dict[tuple[object, ...], Term] = field(default_factory=dict)

    def applied(self, what: tuple[object, ...], terms: Sequence[Term]) -> Term:
        key = (*what, len(terms))
        if key not in self.known:
            name = " ".join(str(part) for part in what)
            self.known[key] = self.words.function(name, len(terms))
        return self.words.applied(self.known[key], terms)

    def symbol(self, name: str) -> Term:
        key = ("symbol", name)
        if key not in self.known:
            self.known[key] = self.words.symbol(name)
        return self.known[key]


class Values:
    """The values of a body in terms of `given` ones, whose names end the way through its code."""

    def __init__(
        self,
        program: Program,
        body: Body,
        given: Mapping[str, Vector],
        symbols: Symbols,
        functions: Functions,
        parities: Parities,
    ) -> None:
        self.types: Mapping[str, Type] = program.types(body)
        self.definitions = {i.name: i for i in body.instrs}
        self.known: dict[str, Vector] = dict(given)
        self.symbols, self.functions, self.parities = symbols, functions, parities
        self.words = functions.words

    def of(self, name: str) -> Vector:
        """The value of this name."""
        waiting = [name]
        while waiting:
            current = waiting[-1]
            if current in self.known:
                waiting.pop()
                continue
            missing = [a for a in self._operands(current) if a not in self.known]
            if missing:
                waiting += missing
            else:
                self.known[current] = self._made(current)
        return self.known[name]

    def defined(self, name: str) -> Vector:
        """What the code makes `name` of, also where that is a given one."""
        for operand in self._operands(name):
            self.of(operand)
        return self._made(name)

    def _operands(self, name: str) -> tuple[str, ...]:
        instr = self.definitions.get(name)
        if instr is None:
            return ()
        return tuple(a for a in instr.args if len(self.types[a].shape) < 2)

    def _made(self, name: str) -> Vector:
        instr = self.definitions.get(name)
        if instr is None:
            return self.symbols(name, self.types[name].size)
        args = [self.known[a] for a in self._operands(name)]
        return _RULES[instr.op](self, instr, args)

    # What operations need of formats

    def fracs(self, name: str, size: int) -> list[int]:
        fracs = self.types[name].q.fracs
        return list(fracs) * (size if len(fracs) == 1 else 1)

    def pairs(self, a: Vector, b: Vector) -> list[tuple[Signed, Signed]]:
        size = max(len(a), len(b))
        wide = (v * size if len(v) == 1 else v for v in (a, b))
        return list(zip(*wide, strict=True))


def _sum(v: Values, i: Instr, args: list[Vector]) -> Vector:
    frac = i.type.q.scalar_frac
    a, b = (frac - v.types[name].q.scalar_frac for name in i.args)
    sign = -1 if i.op is Op.SUB else 1
    return tuple(
        v.words.add(v.words.shifted(x, a), v.words.shifted(y if sign > 0 else -y, b))
        for x, y in v.pairs(*args)
    )


def _scale(v: Values, i: Instr, args: list[Vector]) -> Vector:
    assert isinstance(i.attr, Scale)
    return tuple(-x for x in args[0]) if i.attr.factor < 0 else args[0]


def _constant(v: Values, i: Instr, args: list[Vector]) -> Vector:
    assert isinstance(i.attr, Constant)
    word = round(i.attr.value * 2.0**i.type.q.scalar_frac)
    return (Signed(v.words.number(word)),) * i.type.size


def _mul(v: Values, i: Instr, args: list[Vector]) -> Vector:
    return tuple(
        Signed(v.functions.applied(("mul",), (x.term, y.term)), x.negative is not y.negative)
        for x, y in v.pairs(*args)
    )


def _matrix(v: Values, i: Instr, args: list[Vector]) -> Vector:
    (x,) = args
    negative = all(word.negative for word in x)
    terms = [word.term if negative else v.words.plain(word) for word in x]
    return tuple(
        Signed(v.functions.applied((i.op.value, i.args[0], row), terms), negative)
        for row in range(i.type.size)
    )


def _table(v: Values, i: Instr, args: list[Vector]) -> Vector:
    assert isinstance(i.attr, Table)
    source = v.types[i.args[0]].q
    key, found = table_key(i, source), []
    for x in args[0]:
        parity = Parity.UNKNOWN
        if x.negative:
            parity = v.parities.of_table(key, source.width, i.type.q.width)
        term = v.words.plain(x) if parity is Parity.UNKNOWN else x.term
        found.append(Signed(v.functions.applied(("table", key), (term,)), parity is Parity.ODD))
    return tuple(found)


def _requant(v: Values, i: Instr, args: list[Vector]) -> Vector:
    assert isinstance(i.attr, Requant)
    if i.attr.register is not DynamicShift.NONE:
        raise NotModelled(f"{i.name} shifts by a register, which a step's state never does")
    source, target, own = v.types[i.args[0]].q, i.type.q, i.attr
    found = []
    for x, frac in zip(args[0], v.fracs(i.args[0], len(args[0])), strict=True):
        shift = frac - target.scalar_frac
        how = Requantisation(source.width, shift, own.rounding, target.width, own.overflow)
        odd = x.negative and v.parities.of_requantisation(how) is Parity.ODD
        term = x.term if odd else v.words.plain(x)
        rounded = v.words.rounded(term, v.words.number(shift), own.rounding)
        found.append(
            Signed(v.words.narrowed(rounded, v.words.number(target.width), own.overflow), odd)
        )
    return tuple(found)


_RULES: Mapping[Op, Callable[[Values, Instr, list[Vector]], Vector]] = {
    **dict.fromkeys(SUMS, _sum),
    Op.SCALE: _scale,
    Op.CONSTANT: _constant,
    Op.MUL: _mul,
    Op.MATVEC: _matrix,
    Op.TMATVEC: _matrix,
    Op.TABLE: _table,
    Op.REQUANT: _requant,
}
