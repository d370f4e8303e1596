"""What one target asks of a quantised program: operand widths, accumulators, ways to round.

A product has a narrow and a wide operand, its exact value stays in the accumulator, and only stored
words of `word` bits go into memory. The engine's drain adds a word to a rounded product and brings
the sum to its width in one go, so such sums have one form only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from echoloom.ir.arithmetic import Rounding
from echoloom.ir.exact import InvalidProgram
from echoloom.ir.formats import Real, Type
from echoloom.ir.increments import increments, root
from echoloom.ir.ops import PRODUCTS, SUMS, Op, Requant
from echoloom.ir.program import Body, Instr, Program
from echoloom.ir.refusals import Part, Value
from echoloom.ir.widths import Widths


def longest_lift(narrow: int) -> int:
    """Bits by which a weight of `narrow` bits can shift a word to the left."""
    return narrow - 2


def verify_target(program: Program, widths: Widths) -> Program:
    """Check that a verified, quantised program fits the target's widths; returns it.

    InvalidProgram names the first instruction or declaration that does not fit.
    """
    check = _Target(program, widths.narrow, widths.word, widths.accumulator)
    check.declarations()
    for body in program.bodies:
        check.body(body)
    return program


@dataclass
class _Target:
    program: Program
    narrow: int
    word: int
    accumulator: int

    def fits(self, type_: Type, width: int, what: str, *at: Part) -> None:
        if type_.q.width > width:
            raise InvalidProgram(
                *at, f" is {type_.q}, {type_.q.width} bits, but {what} holds {width}"
            )

    def declarations(self) -> None:
        multiplied = set(_multiplied(self.program))
        for d in self.program.globals():
            if isinstance(d.type.format, Real):
                raise InvalidProgram(
                    Value(d.name), " is real: only quantised programs have a target"
                )
        for d in self.program.coefficients:
            if d.name in multiplied:
                self.fits(d.type, self.narrow, "a weight", "coefficient ", Value(d.name, d.block))
        for d in self.program.globals():
            self.fits(d.type, self.word, "a word", Value(d.name))
        for a in self.program.accumulators:
            self.fits(a.type, self.accumulator, "a gradient word", "accumulator ", Value(a.name))

    def body(self, body: Body) -> None:
        where = body.section.name.lower()
        code = _Code(body, self.program.types(body))
        for d in body.frame:
            self.fits(d.type, self.word, "a word", where, ": ", Value(d.name))
        for instr in body.instrs:
            try:
                self.instruction(code, instr)
            except InvalidProgram as error:
                raise error.at(where, Value.of(instr.name, instr.place)) from None
        for value in (*(v for _, v in body.updates), *body.emits):
            if not code.stored(value):
                raise InvalidProgram(Value(value), " leaves the body but is never stored").at(where)
        for name, value in body.accumulates:
            term = code.definitions.get(code.root(value))
            if not code.stored(value) and (term is None or term.op not in (Op.MUL, Op.OUTER)):
                raise InvalidProgram(
                    Value(name), " adds up ", Value(value),
                    ", which is neither a word nor a product by elements",
                ).at(where)  # fmt: skip

    def instruction(self, code: _Code, instr: Instr) -> None:
        if instr.op in PRODUCTS:
            self.product(code, instr)
        if instr.op in (*PRODUCTS, *SUMS, Op.READ, Op.SCALE):
            self.fits(instr.type, self.accumulator, "the accumulator", "the exact value")
        elif code.increment(instr.name):
            self.fits(instr.type, self.accumulator, "the accumulator", "the rounded increment")
        else:
            if len(instr.type.shape) > 1:
                raise InvalidProgram("the stored value is a matrix, and memory holds vectors")
            self.fits(instr.type, self.word, "a word", "the stored value")
        if isinstance(instr.attr, Requant):
            if instr.attr.rounding is not Rounding.HALF_EVEN:
                raise InvalidProgram(
                    f"the target rounds half to even, not {instr.attr.rounding.value}"
                )
            self.sum(code, instr)

    def product(self, code: _Code, instr: Instr) -> None:
        for a in instr.args:
            if not code.stored(a):
                raise InvalidProgram(
                    "the operand ", Value(a), " is an exact value that was never stored"
                )
        widths = [code.types[a].q.width for a in instr.args]
        matrix = instr.op in (Op.MATVEC, Op.TMATVEC)
        thin = widths[0] if matrix else min(widths)
        if thin > self.narrow or max(widths) > self.word:
            raise InvalidProgram(
                f"operands of {widths[0]} and {widths[1]} bits: the target multiplies "
                f"{self.narrow} by {self.word}" + (", the matrix being the narrow one" * matrix)
            )

    def sum(self, code: _Code, instr: Instr) -> None:
        """A sum behind this requant is a word plus a rounded increment, or two shifted words."""
        total = code.definitions.get(instr.args[0])
        if total is None or total.op not in SUMS:
            return
        frac = total.type.q.frac
        if code.increment(total.args[1]):
            if instr.type.q.frac != frac:
                raise InvalidProgram(
                    "a rounded increment, the word it is added to and the sum ",
                    Value(total.name), " need the same exponent",
                )  # fmt: skip
            return
        for a in total.args:
            if not code.stored(a):
                raise InvalidProgram(
                    "the term ", Value(a), " is an exact value that was never stored"
                )
            lift = total.type.q.scalar_frac - code.types[a].q.scalar_frac
            if lift > longest_lift(self.narrow):
                raise InvalidProgram(
                    "the term ", Value(a), f" is shifted left by {lift} bits, and a weight of "
                    f"{self.narrow} bits shifts by {longest_lift(self.narrow)} at most",
                )  # fmt: skip


@dataclass
class _Code:
    """A body, asked what becomes of its values."""

    body: Body
    types: dict[str, Type]

    def __post_init__(self) -> None:
        self.definitions = {i.name: i for i in self.body.instrs}
        self.increments = increments(self.body, self.types)

    def root(self, name: str) -> str:
        return root(self.definitions, name).name

    def stored(self, name: str) -> bool:
        """Whether a value is, but for SCALEs, a word in memory."""
        instr = self.definitions.get(self.root(name))
        return instr is None or instr.op in (Op.CONSTANT, Op.TABLE, Op.REQUANT)

    def increment(self, name: str) -> bool:
        """Whether a value is a rounded product that is added at once and never stored."""
        return name in self.increments


def _multiplied(program: Program) -> Iterator[str]:
    for body in program.bodies:
        for instr in body.instrs:
            if instr.op in PRODUCTS:
                yield from instr.args
