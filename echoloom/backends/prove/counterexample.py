"""Counterexamples in words: a state, an input, and where a step and its echo lead, under NumPy.

A solver's refutation has functions that may be any, so its words need not be a case of the program
itself. States are tried instead: words of every size, and round ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from echoloom.backends.run.integers import Words
from echoloom.backends.run.levels import IntegerProgram
from echoloom.backends.run.run_numpy import NumpyMachine
from echoloom.ir.places import Copy, Letter
from echoloom.ir.program import Declaration
from echoloom.ir.reversible import paths
from echoloom.ir.sections import Section

TRIED = 4_096  # states of every size


@dataclass(frozen=True, eq=False)
class Counterexample:
    """A step that its echo does not take back. `states` and `frame` are words before the forward
    step; there, `state`[`element`] is `before`, but `after` once the echo's step has followed, a
    momentum's sign apart."""

    states: Mapping[str, Words]
    frame: Mapping[str, Words]
    state: str
    element: int
    before: int
    after: int

    def __str__(self) -> str:
        return (
            f"{self.state}[{self.element}] is {self.before} before a step, and {self.after} after "
            f"its echo: off by {self.after - self.before}"
        )


def retraced(
    artifact: IntegerProgram, states: Mapping[str, Words], frame: Mapping[str, Words]
) -> tuple[dict[str, Words], Words]:
    """Free states [..., size] after a forward step from these and the echo of it, momenta turned
    round again; and in which cases no momentum was the most negative word on the way [...]."""
    program = artifact.program
    free = {name: c for c, name in program.coordinates().items() if c.copy is Copy.FREE}
    momenta = {name for name, c in free.items() if c.letter is Letter.MOMENTUM}
    widths = {d.name: d.type.q.width for d in program.states}
    cases = next(iter(states.values())).shape[:-1]
    fine = np.ones(cases, bool)

    def meet(name: str, words: Words) -> None:
        nonlocal fine
        fine = fine & (words > -(1 << (widths[name] - 1))).all(-1)

    watched = {
        value: state
        for section in (Section.FORWARD_STEP, Section.ECHO_STEP)
        for state, path in paths(program.body(section)).items()
        for value in path.values
        if state in momenta
    }

    def observe(section: Section, iteration: int, name: str, words: Words) -> None:
        if name in watched:
            meet(watched[name], words)

    machine = NumpyMachine(program, artifact.coefficients, artifact.tables, observe)
    machine.flags = np.zeros(cases, np.int64)
    given = (*program.states, *program.runtime)
    machine.values |= {d.name: np.zeros((*cases, d.type.size), np.int64) for d in given}
    machine.values |= states
    for name in momenta:
        meet(name, machine.values[name])
    machine.run(Section.FORWARD_STEP, [frame])
    machine.values |= {name: -machine.values[name] for name in momenta}
    blank = program.body(Section.ECHO_STEP).frame
    others = {d.name: np.zeros((*cases, d.type.size), np.int64) for d in blank}
    machine.run(Section.ECHO_STEP, [{**others, **frame}])
    end = {name: machine.values[name] for name in free}
    return {name: -v if name in momenta else v for name, v in end.items()}, fine


def counterexample(artifact: IntegerProgram) -> Counterexample | None:
    """The smallest case found in which the program's step is not taken back, or None."""
    program = artifact.program
    free = [d for d in program.states if d.coordinate and d.coordinate.copy is Copy.FREE]
    inputs = program.body(Section.FORWARD_STEP).frame
    for tried in _tried([*free, *inputs]):
        states = {d.name: tried[d.name] for d in free}
        frame = {d.name: tried[d.name] for d in inputs}
        after, fine = retraced(artifact, states, frame)
        for d in free:
            cases, elements = np.nonzero((after[d.name] != states[d.name]) & fine[..., None])
            if not cases.size:
                continue
            at = cases[0]
            return Counterexample(
                {name: words[at] for name, words in states.items()},
                {name: words[at] for name, words in frame.items()},
                d.name,
                int(elements[0]),
                int(states[d.name][at, elements[0]]),
                int(after[d.name][at, elements[0]]),
            )
    return None


def _tried(given: list[Declaration]) -> Iterator[dict[str, Words]]:
    """States and inputs [cases, size], small words first, in the end round ones."""
    rng = np.random.default_rng(0)

    def drawn(d: Declaration, bits: int) -> Words:
        top = 1 << (min(bits, d.type.q.width) - 1)
        return rng.integers(1 - top, top, (TRIED, d.type.size))

    widest = max(d.type.q.width for d in given)
    for bits in range(2, widest + 1):
        yield {d.name: drawn(d, bits) for d in given}
    # Products lie in the middle between two words only where their factors end in zeros.
    for zeros in range(1, widest - 1):
        yield {d.name: drawn(d, widest) >> zeros << zeros for d in given}
