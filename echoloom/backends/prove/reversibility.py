"""That the echo's step takes the forward step back, for all states, inputs and coefficients.

For the free copy of every block, elements one by one and moves one by one:

- the forward step moves a word v_k to v_(k+1), by an increment that it makes of other words;
- in the echo's step, where momenta are negated, the move from v_(k+1) has to lead to v_k again.

Words that a move does not change are symbols, in either sweep the same where they are the same word
at the same place; so are inputs and coefficients. By induction over the moves of a step, last one
first, and over the steps of a sequence, a claim for every move is the claim for the sequence. The
most negative word of a momentum has no negative: the sum that makes it raises Flag.STATE, and the
proof is of runs without it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import bitwuzla as smt

from echoloom.backends.prove.parities import Lemma, Parities
from echoloom.backends.prove.values import Functions, Values
from echoloom.backends.prove.words import Refutation, Signed, Solver, Term, Vector, Words
from echoloom.backends.run.levels import IntegerProgram
from echoloom.ir.places import Copy, Letter
from echoloom.ir.program import Body, State
from echoloom.ir.reversible import Path, paths
from echoloom.ir.sections import Section

LIMIT_S = 30.0  # for one claim; those of published models take milliseconds


@dataclass(frozen=True)
class Claim:
    """That one move of a state is taken back, element by element. `refuted` is the first that is
    not, `against` a case of it, where it is no matter of how many moves there are."""

    state: str
    move: int  # of the forward step, from 1; 0 is what happens between the sweeps
    value: str  # that it makes
    elements: int
    seconds: float
    refuted: int | None = None
    against: Refutation | None = None

    def __str__(self) -> str:
        if self.move == 0:
            return f"the turn of {self.state} between the sweeps"
        return f"move {self.move} of {self.state}, to %{self.value}"


@dataclass(frozen=True)
class Proof:
    """Claims of every move, and lemmas on the roundings and tables that momenta go through."""

    claims: tuple[Claim, ...]
    lemmas: tuple[Lemma, ...]
    seconds: float

    @property
    def refuted(self) -> tuple[Claim, ...]:
        return tuple(c for c in self.claims if c.refuted is not None)


def decided(artifact: IntegerProgram, limit_s: float = LIMIT_S) -> Proof:
    """Every claim of a program's step, decided. Undecided (a RuntimeError) if one takes longer than
    `limit_s`; InvalidProgram (a ValueError) if a state does not move by increments at all."""
    began = time.monotonic()
    own = _Reversal(artifact, Solver(Words(), limit_s))
    claims = tuple(own.claims())
    lemmas = tuple(own.parities.lemmas.values())
    return Proof(claims, lemmas, time.monotonic() - began)


class _Reversal:
    def __init__(self, artifact: IntegerProgram, solver: Solver) -> None:
        self.program, self.solver, self.words = artifact.program, solver, solver.words
        self.functions = Functions(self.words)
        self.parities = Parities(solver, artifact.tables)
        self.free = {name: c for c, name in self.program.coordinates().items()
                     if c.copy is Copy.FREE}  # fmt: skip
        self.declared = {d.name: d for d in self.program.states}
        there, back = (self.program.body(s) for s in (Section.FORWARD_STEP, Section.ECHO_STEP))
        self.chains = {s: p for s, p in paths(there).items() if s in self.free}
        self.returns = {s: p for s, p in paths(back).items() if s in self.free}
        self.there = self._values(there, self._forward_places())
        self.back = self._values(back, self._echo_places())

    # Symbols

    def place(self, state: str, place: int) -> Vector:
        """A state after so many moves of the forward step."""
        size = self.declared[state].type.size
        return self._symbols(f"{state}@{place}", size)

    def _symbols(self, name: str, size: int) -> Vector:
        return tuple(Signed(self.functions.symbol(f"{name}[{k}]")) for k in range(size))

    def _flipped(self, state: str, words: Vector) -> Vector:
        momentum = self.free[state].letter is Letter.MOMENTUM
        return tuple(-word for word in words) if momentum else words

    def _forward_places(self) -> dict[str, Vector]:
        return {
            value: self.place(state, place)
            for state, path in self.chains.items()
            for place, value in enumerate(reversed(path.values))
        }

    def _echo_places(self) -> dict[str, Vector]:
        """The echo meets them in the other order, and momenta negated."""
        return {
            value: self._flipped(state, self.place(state, len(path.values) - 1 - place))
            for state, path in self.returns.items()
            for place, value in enumerate(reversed(path.values))
        }

    def _values(self, body: Body, given: Mapping[str, Vector]) -> Values:
        symbols = partial(self._given, body.section)
        return Values(self.program, body, given, symbols, self.functions, self.parities)

    def _given(self, section: Section, name: str, size: int) -> Vector:
        """Inputs, coefficients, and states that nothing but the beginning of a run has written, are
        alike in both sweeps; other states are not."""
        state = self.declared.get(name)
        if state is not None and self._written_later(state):
            name = f"{name} in {section.name}"
        return self._symbols(name, size)

    def _written_later(self, state: State) -> bool:
        return any(
            state.name in dict(body.updates)
            for body in self.program.bodies
            if body.section is not Section.FORWARD_PROLOGUE
        )

    # Claims

    def claims(self) -> Iterator[Claim]:
        yield from self._turning()
        for state, path in self.chains.items():
            back = self.returns.get(state, Path(state, (state,), ()))
            moves = len(path.values) - 1
            for move in range(moves, 0, -1):
                value = path.values[moves - move]
                if len(back.values) != len(path.values):
                    yield Claim(state, move, value, self.declared[state].type.size, 0.0, 0)
                else:
                    yield self._move(state, move, value, back.values[move - 1])

    def _move(self, state: str, move: int, value: str, back: str) -> Claim:
        """From place `move` back to the one before it, by the echo's value `back`."""
        before, after = self.place(state, move - 1), self.place(state, move)
        made, found = self.there.defined(value), self.back.defined(back)
        given = [
            [*self._held(state, old), *self._held(state, new), self._equal(new, own)]
            for old, new, own in zip(before, after, made, strict=True)
        ]
        return self._claim(state, move, value, found, self._flipped(state, before), given)

    def _turning(self) -> Iterator[Claim]:
        """Between the sweeps every momentum is negated, and nothing else happens to the states."""
        body = self.program.body(Section.ECHO_PROLOGUE)
        given = {s: self.place(s, len(p.values) - 1) for s, p in self.chains.items()}
        values, updates = self._values(body, given), dict(body.updates)
        for state, words in given.items():
            value = updates.get(state, state)
            wanted = self._flipped(state, words)
            yield self._claim(state, 0, value, values.of(value), wanted, [
                [*self._held(state, word)] for word in words
            ])  # fmt: skip

    def _claim(
        self, state: str, move: int, value: str, found: Vector, wanted: Vector,
        given: list[list[Term]],
    ) -> Claim:  # fmt: skip
        """That every element found is the one wanted, where what is given of it holds."""
        began, size = time.monotonic(), len(wanted)
        symbols = [[word.term for word in self.place(state, move)]]
        if move:
            symbols.append([word.term for word in self.place(state, move - 1)])
        for k in range(size):
            against = self.solver.refuted(
                self._equal(found[k], wanted[k]), given[k], [own[k] for own in symbols]
            )
            if against:
                return Claim(state, move, value, size, time.monotonic() - began, k, against)
        return Claim(state, move, value, size, time.monotonic() - began)

    def _held(self, state: str, word: Signed) -> Iterator[Term]:
        width = self.declared[state].type.q.width
        momentum = self.free[state].letter is Letter.MOMENTUM
        yield self.words.within(word.term, width, lowest=not momentum)

    def _equal(self, a: Signed, b: Signed) -> Term:
        return self.words.make(smt.Kind.EQUAL, self.words.plain(a), self.words.plain(b))
