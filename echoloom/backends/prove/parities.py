"""Which roundings and tables are odd or even functions of a word, proven for every word.

    R(-x) = -R(x) for all x that the source's format holds
    f(-x) = -f(x), or f(x), for all words x but the most negative

A table is proven segment by segment, its lines being numbers of the program.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import bitwuzla as smt
import numpy as np

from echoloom.backends.prove.words import Refutation, Signed, Solver, Term
from echoloom.ir.arithmetic import Overflow, Rounding, piecewise_linear
from echoloom.ir.parity import Parity
from echoloom.ir.tables import TableContents


@dataclass(frozen=True)
class Requantisation:
    """A requantisation of one element: from words of `source` bits, `shift` to the right."""

    source: int
    shift: int
    rounding: Rounding
    width: int
    overflow: Overflow

    def __str__(self) -> str:
        how = f"{self.rounding.value}, {self.overflow.name.lower()}"
        return f"{self.source} bits >> {self.shift} to {self.width} bits, {how}"


@dataclass(frozen=True)
class Lemma:
    """What a function of one word was found to be, and how long that took; a case where it is not
    odd, if it is not."""

    what: str
    parity: Parity
    seconds: float
    against: Refutation | None = None


@dataclass
class Parities:
    """Lemmas, each proven when it is first asked for."""

    solver: Solver
    tables: Mapping[str, TableContents]
    lemmas: dict[object, Lemma] = field(default_factory=dict)

    def of_requantisation(self, own: Requantisation) -> Parity:
        if own not in self.lemmas:
            began = time.monotonic()
            words, x = self.solver.words, self.solver.words.symbol("x")

            def narrowed(term: Term) -> Term:
                value = words.rounded(term, words.number(own.shift), own.rounding)
                return words.narrowed(value, words.number(own.width), own.overflow)

            negated = words.make(smt.Kind.BV_NEG, x)
            odd = words.make(
                smt.Kind.EQUAL,
                narrowed(negated),
                words.make(smt.Kind.BV_NEG, narrowed(x)),
            )
            held = words.within(x, own.source, lowest=False)
            against = self.solver.refuted(odd, [held], [x])
            parity = Parity.UNKNOWN if against else Parity.ODD
            self.lemmas[own] = Lemma(str(own), parity, time.monotonic() - began, against)
        return self.lemmas[own].parity

    def of_table(self, key: str, source: int, width: int) -> Parity:
        """Of a table from words of `source` bits to words of `width` bits, which saturate."""
        if key not in self.lemmas:
            began = time.monotonic()
            table = self.tables[key]
            parity = next(
                (p for p in (Parity.ODD, Parity.EVEN) if self._holds(table, p, source, width)),
                Parity.UNKNOWN,
            )
            what = f"table {key}, {1 << table.segment_bits} segments"
            self.lemmas[key] = Lemma(what, parity, time.monotonic() - began)
        return self.lemmas[key].parity

    def _holds(self, table: TableContents, parity: Parity, source: int, width: int) -> bool:
        return self._ends_meet(table, parity, width) and all(
            self.solver.refuted(claim, given, []) is None
            for claim, given in self._by_segment(table, parity, source, width)
        )

    def _ends_meet(self, table: TableContents, parity: Parity, width: int) -> bool:
        """The words at which segments begin, one by one."""
        half = 1 << (table.segment_bits - 1)
        x = np.arange(half, dtype=np.int64) << table.fraction_bits
        right, left = (
            piecewise_linear(
                word, table.base, table.slope, segment_bits=table.segment_bits,
                fraction_bits=table.fraction_bits, slope_shift=table.slope_shift, word=width,
            )[0]
            for word in (x, -x)
        )  # fmt: skip
        return bool(np.array_equal(left, -right if parity is Parity.ODD else right))

    def _by_segment(
        self, table: TableContents, parity: Parity, source: int, width: int
    ) -> Iterator[tuple[Term, list[Term]]]:
        """That all other words of every right segment have an image on the left.

        With r = slope * offset on the right, a line of the same or the opposite slope rises on the
        left by a number minus r, or plus r: no multiplication is left for the solver.
        """
        words, make = self.solver.words, self.solver.words.make
        half, size = 1 << (table.segment_bits - 1), table.fraction_bits
        rise = words.symbol("rise")
        for segment in range(half):
            right, left = half + segment, half + ~segment
            slope, opposite = table.slope[right], table.slope[left]
            offsets = (1 << size) - 1
            if segment == half - 1:
                offsets = max((1 << (source - 1)) - 1 - (segment << size), 0)
            # On the left the offset is 2**size less the one on the right.
            turned = words.make(smt.Kind.BV_NEG, rise) if slope == opposite else rise
            if abs(slope) != abs(opposite):
                yield words.terms.mk_false(), []
            there = make(smt.Kind.BV_ADD, words.number(opposite << size), turned)
            most = abs(slope) * offsets
            ends = (-most, 0) if slope < 0 else (0, most)
            given = [
                make(smt.Kind.BV_SLE, words.number(ends[0]), rise),
                make(smt.Kind.BV_SLE, rise, words.number(ends[1])),
            ]
            wanted = Signed(self._line(right, rise, table, width), parity is Parity.ODD)
            found = self._line(left, there, table, width)
            yield make(smt.Kind.EQUAL, found, words.plain(wanted)), given

    def _line(self, index: int, rise: Term, table: TableContents, width: int) -> Term:
        """As `ir.arithmetic.piecewise_linear`, of a rise before it is rounded."""
        words = self.solver.words
        rounded = words.rounded(rise, words.number(table.slope_shift), Rounding.HALF_EVEN)
        total = words.make(smt.Kind.BV_ADD, words.number(table.base[index]), rounded)
        return words.narrowed(total, words.number(width), Overflow.SATURATE)
