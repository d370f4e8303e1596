"""Words as an SMT solver sees them: integers of 64 bits, as under NumPy, with their sign apart.

A negated word is kept as the word and a sign. Signs travel through exact sums and products by the
laws of integers, so that a solver never has to compare two multipliers: of a drift forwards and of
one back it sees one and the same product, once negated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

import bitwuzla as smt

from echoloom.ir.arithmetic import Overflow, Rounding

BITS = 64
Term: TypeAlias = smt.Term


@dataclass(frozen=True)
class Signed:
    """The word `term`, or its negative."""

    term: Term
    negative: bool = False

    def __neg__(self) -> Signed:
        return replace(self, negative=not self.negative)


Vector = tuple[Signed, ...]  # the elements; of a scalar one


class Words:
    """Builds terms. Equal terms of one builder are one object, as the solver has it."""

    def __init__(self) -> None:
        self.terms = smt.TermManager()

    @cached_property
    def sort(self) -> smt.Sort:
        return self.terms.mk_bv_sort(BITS)

    def make(self, kind: smt.Kind, *terms: Term, at: Sequence[int] = ()) -> Term:
        return self.terms.mk_term(kind, list(terms), list(at))

    def symbol(self, name: str) -> Term:
        """A word that may be anything."""
        return self.terms.mk_const(self.sort, name)

    def number(self, value: int) -> Term:
        return self.terms.mk_bv_value(self.sort, value)

    def function(self, name: str, arguments: int) -> Term:
        """A function that may be any."""
        return self.terms.mk_const(self.terms.mk_fun_sort([self.sort] * arguments, self.sort), name)

    def applied(self, function: Term, terms: Sequence[Term]) -> Term:
        return self.make(smt.Kind.APPLY, function, *terms)

    def within(self, term: Term, width: int, lowest: bool = True) -> Term:
        """That a term is a word of so many bits; `lowest`: the most negative word is one."""
        limit = 1 << (width - 1)
        least = self.number(-limit if lowest else 1 - limit)
        return self.make(
            smt.Kind.AND,
            self.make(smt.Kind.BV_SLE, least, term),
            self.make(smt.Kind.BV_SLT, term, self.number(limit)),
        )

    # Arithmetic

    def plain(self, word: Signed) -> Term:
        """The word as one term."""
        return self.make(smt.Kind.BV_NEG, word.term) if word.negative else word.term

    def add(self, a: Signed, b: Signed) -> Signed:
        """a + b: with the sign of `a`, so that the sum of negated words is the negated sum."""
        kind = smt.Kind.BV_ADD if a.negative is b.negative else smt.Kind.BV_SUB
        return Signed(self.make(kind, a.term, b.term), a.negative)

    def shifted(self, word: Signed, by: int) -> Signed:
        """word * 2**by."""
        if by == 0:
            return word
        return replace(word, term=self.make(smt.Kind.BV_SHL, word.term, self.number(by)))

    def rounded(self, value: Term, shift: Term, rounding: Rounding) -> Term:
        """As `ir.arithmetic.round_shift`."""
        make, number = self.make, self.number
        one = number(1)
        floor = make(smt.Kind.BV_ASHR, value, shift)
        rest = make(smt.Kind.BV_SUB, value, make(smt.Kind.BV_SHL, floor, shift))
        half = make(smt.Kind.BV_SHL, one, make(smt.Kind.BV_SUB, shift, one))
        tie = make(smt.Kind.EQUAL, rest, half)
        above = make(smt.Kind.BV_UGT, rest, half)
        negative = make(smt.Kind.BV_SLT, value, number(0))
        match rounding:
            case Rounding.HALF_EVEN:
                odd = make(smt.Kind.EQUAL, make(smt.Kind.BV_AND, floor, one), one)
                up = make(smt.Kind.OR, above, make(smt.Kind.AND, tie, odd))
            case Rounding.HALF_AWAY:
                away = make(smt.Kind.AND, tie, make(smt.Kind.NOT, negative))
                up = make(smt.Kind.OR, above, away)
            case Rounding.HALF_UP:
                up = make(smt.Kind.OR, above, tie)
            case Rounding.TO_ZERO:
                inexact = make(smt.Kind.DISTINCT, rest, number(0))
                up = make(smt.Kind.AND, inexact, negative)
            case Rounding.FLOOR:
                return floor
        # Without a shift there is no half: 1 << -1 is 0.
        up = make(smt.Kind.AND, up, make(smt.Kind.DISTINCT, shift, number(0)))
        return make(smt.Kind.BV_ADD, floor, make(smt.Kind.ITE, up, one, number(0)))

    def limit(self, width: Term) -> Term:
        """The largest word of so many bits."""
        one = self.number(1)
        top = self.make(smt.Kind.BV_SHL, one, self.make(smt.Kind.BV_SUB, width, one))
        return self.make(smt.Kind.BV_SUB, top, one)

    def outside(self, value: Term, width: Term) -> Term:
        """Whether a value is outside the symmetric range of so many bits."""
        top = self.limit(width)
        over = self.make(smt.Kind.BV_SGT, value, top)
        under = self.make(smt.Kind.BV_SLT, value, self.make(smt.Kind.BV_NEG, top))
        return self.make(smt.Kind.OR, over, under)

    def narrowed(self, value: Term, width: Term, overflow: Overflow) -> Term:
        """As `ir.arithmetic.narrow`, without the flag."""
        if overflow is Overflow.WRAP:
            spare = self.make(smt.Kind.BV_SUB, self.number(BITS), width)
            return self.make(smt.Kind.BV_ASHR, self.make(smt.Kind.BV_SHL, value, spare), spare)
        top = self.limit(width)
        bottom = self.make(smt.Kind.BV_NEG, top)
        over = self.make(smt.Kind.BV_SGT, value, top)
        under = self.make(smt.Kind.BV_SLT, value, bottom)
        return self.make(smt.Kind.ITE, over, top, self.make(smt.Kind.ITE, under, bottom, value))


@dataclass(frozen=True)
class Refutation:
    """A case in which a claim is wrong: by symbol its word."""

    words: dict[str, int]


class Undecided(RuntimeError):
    """The solver gave up."""


@dataclass(frozen=True)
class Solver:
    """Decides claims, each within `limit_s` seconds."""

    words: Words
    limit_s: float

    def refuted(
        self, claim: Term, given: Sequence[Term], symbols: Sequence[Term]
    ) -> Refutation | None:
        """A case in which all of `given` holds and the claim does not, or None where there is none.

        Undecided if time runs out first.
        """
        options = smt.Options()
        options.set(smt.Option.PRODUCE_MODELS, True)
        options.set(smt.Option.TIME_LIMIT_PER, max(1, round(1000 * self.limit_s)))
        solver = smt.Bitwuzla(self.words.terms, options)
        for term in given:
            solver.assert_formula(term)
        solver.assert_formula(self.words.make(smt.Kind.NOT, claim))
        result = solver.check_sat()
        if result == smt.Result.UNSAT:
            return None
        if result != smt.Result.SAT:
            raise Undecided(
                f"the solver found neither a proof nor a refutation in {self.limit_s:g} s"
            )
        return Refutation({s.symbol(): _signed(solver, s) for s in symbols})


def _signed(solver: smt.Bitwuzla, term: Term) -> int:
    value = int(solver.get_value(term).value(10))
    return value - (1 << BITS) if value >> (BITS - 1) else value
