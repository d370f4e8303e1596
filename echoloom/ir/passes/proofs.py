"""How large every word of an integer program can get, whatever the inputs are that its formats
hold: proofs that formats hold, and by how much others miss it.

Words that no state feeds are bounded by affine arithmetic. A state is bounded over so many steps by
the worst case of its recurrence: exactly, rounding included, where that is linear; what bends in it
counts as an input of its own, anything that the function gives on the range assumed. That range is
the format's, and should the bound come out smaller, all is proven by induction over the steps.

The echo's free states are the forward sweep's, backwards (`check_retrace`). Clamped words stay in
their formats; a state that may leave its own is anything afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from echoloom.ir.affine import Floats, Form, between, within
from echoloom.ir.bounds import Bound, Code, Facts, anything, limit_of
from echoloom.ir.distribute import Stage, stages
from echoloom.ir.formats import largest
from echoloom.ir.ops import Requant
from echoloom.ir.places import Copy
from echoloom.ir.program import Body, Instr, Program
from echoloom.ir.reversible import paths
from echoloom.ir.sections import STEPS, SWEPT, Section
from echoloom.ir.tables import TableContents
from echoloom.ir.unrolled import STATE, Unrolled, recurrence
from echoloom.ir.word import Word
from echoloom.ir.worst_case import SLACK, TooLong, worst_case


@dataclass(frozen=True)
class Bounds:
    """Of every word that is rounded, looked up or summed over time, in sequences of up to `steps`
    steps that begin at rest."""

    steps: int
    words: Mapping[Word, Bound]
    sums: Mapping[str, Bound]


def bounds(
    program: Program,
    coefficients: Mapping[str, NDArray[np.int64]],
    tables: Mapping[str, TableContents],
    steps: int,
    learned: frozenset[str] = frozenset(),
) -> Bounds:
    """The bounds of an integer program with these words, of which the `learned` may become any."""
    numbers = {
        d.name: np.asarray(coefficients[d.name], np.float64) * 2.0**-d.type.q.grid
        for d in program.coefficients
        if d.name not in learned
    }
    facts = Facts(numbers, tables, steps)
    for d in program.states:
        facts.states[d.name] = anything(d.name, d.type.q, d.type.size)
    free = {name for at, name in program.coordinates().items() if at.copy is Copy.FREE}
    retraced: dict[str, tuple[Form, float]] = {}
    for section in SWEPT:
        _Walk(facts, program.body(section), program, free, retraced).walk()
    return Bounds(steps, facts.words, {} if learned else _sums(facts, program))


def _sums(facts: Facts, program: Program) -> dict[str, Bound]:
    """Of sums of one sequence; those of a batch go on from sequence to sequence."""
    found = {}
    for a in program.accumulators:
        if a.name in facts.sums:
            reach = facts.sums[a.name].reach * SLACK
            held = largest(a.type.q.width) * 2.0**-a.type.q.grid
            held = np.broadcast_to(held, a.type.shape or (1,)).reshape(-1)
            worst = int(np.argmax(reach / held))
            found[a.name] = Bound(float(reach[worst]), float(held[worst]))
    return found


class _Walk(Code):
    """Through one body. `retraced`: by free state, of its values in the forward step what it can
    be, with either sign, and the largest bound."""

    def __init__(
        self,
        facts: Facts,
        body: Body,
        program: Program,
        free: set[str],
        retraced: dict[str, tuple[Form, float]],
    ):
        super().__init__(facts, body, program.types(body))
        self.free, self.retraced = free, retraced

    def walk(self) -> None:
        stepping = self.body.section in STEPS
        for d in self.body.frame:
            self.forms[d.name] = anything(d.name, d.type.q, d.type.size)
        if not stepping:
            self.follow(self.body.instrs)
        else:
            for stage in stages(self.body):
                if stage.states:
                    self.recur(stage)
                self.follow(stage.parallel)
        count = self.facts.steps if stepping else 1
        for name, value in self.body.accumulates:
            form = self.form(value)
            low, high = np.minimum(count * form.low, 0.0), np.maximum(count * form.high, 0.0)
            before = self.facts.sums.get(name)
            if before is not None:
                low, high = low + before.low, high + before.high
            self.facts.sums[name] = between(low, high)
        after = {}
        for state, value in self.body.updates:
            form = self.form(value)
            after[state] = within(state, form.low, form.high)
        self.facts.states.update(after)

    def recur(self, stage: Stage) -> None:
        """Bound what goes round from step to step."""
        free = self.free if self.body.section is Section.ECHO_STEP else frozenset[str]()
        chains = {s: p.values[:-1] for s, p in paths(self.body).items() if s in stage.states}
        for state in [s for s in stage.states if s in free]:
            form, reach = self.retraced[state]
            self.forms[state] = form
            for value in chains[state]:
                self.forms[value] = form
                self.bounded(value, reach)
        moved = [s for s in stage.states if s not in free]
        if moved:
            self.go_round(_Loop(self, stage, moved, {s: chains[s] for s in moved}))
        else:
            self.follow([i for i in stage.recurrent if i.name not in self.forms])
        if self.body.section is Section.FORWARD_STEP:
            for state in moved:
                values = [self.facts.words[Word(self.body.section, v)] for v in chains[state]]
                reach = np.maximum.reduce([self.forms[v].reach for v in (state, *chains[state])])
                form = within(f"back {state}", -reach, reach)
                self.retraced[state] = form, max(b.reach for b in values)

    def go_round(self, loop: _Loop) -> None:
        """The states of a loop, and all else in it."""
        rest, words = loop.rest, loop.words
        reaches = loop.reaches()
        for name, reach in reaches.items():
            self.bounded(name, float(reach.max()))
        # Between steps all is as it was taken to be only if no word ever leaves its format.
        fits = {n: self.facts.words[Word(self.body.section, n)].fits for n in words}
        unknown = np.array([np.inf])
        if all(fits.values()):
            self.enclose(loop, reaches, words)
            self.follow(i for i in rest if i.name not in fits)
            return
        self.enclose(loop, dict.fromkeys(words, unknown), loop.moving)
        self.follow(i for i in rest if i.name not in loop.moving)
        for name in words:
            self.bounded(name, np.inf if fits[name] else float(reaches[name].max()))

    def bounded(self, name: str, reach: float) -> None:
        bound = Bound(reach, limit_of(self.types[name].q))
        self.facts.words[Word(self.body.section, name)] = bound

    def enclose(self, loop: _Loop, reaches: Mapping[str, Floats], words: Iterable[str]) -> None:
        """States, and these words on their way, no farther than this and than their formats."""
        ends = {name: reaches[name] for name in words}
        for state, chain in loop.chains.items():
            ends[state] = np.maximum(reaches[chain[0]], self.facts.states[state].reach)
        for name, reach in ends.items():
            held = anything(name, self.types[name].q, self.types[name].size)
            reach = np.minimum(reach, held.reach)
            self.forms[name] = within(name, -reach, reach)


@dataclass(frozen=True, eq=False)
class _Loop:
    """The recurrence of states, and `chains`: the values that each goes through in a step, the last
    one first."""

    walk: _Walk
    stage: Stage
    states: list[str]
    chains: Mapping[str, tuple[str, ...]]

    @property
    def moving(self) -> frozenset[str]:
        return frozenset(v for chain in self.chains.values() for v in chain)

    @cached_property
    def rest(self) -> list[Instr]:
        """What is not known yet."""
        return [i for i in self.stage.recurrent if i.name not in self.walk.forms]

    @cached_property
    def words(self) -> list[str]:
        """All that is rounded on the way round."""
        return [i.name for i in self.rest if isinstance(i.attr, Requant)]

    def reaches(self) -> dict[str, Floats]:
        """How far all words get, so long as none leaves its format; infinitely far where nothing is
        known."""
        words, walk = self.words, self.walk
        sizes = [walk.types[s].size for s in self.states]
        places = np.cumsum([0, *sizes])
        limits = [limit_of(walk.types[s].q) for s in self.states]
        held = np.repeat(limits, sizes)
        own = {
            s: Form(np.zeros(n), np.zeros(n), {STATE: np.eye(n, places[-1], a)})
            for s, n, a in zip(self.states, sizes, places, strict=False)
        }
        step = Unrolled(walk, own, held)
        step.follow(self.rest)
        updates = dict(walk.body.updates)
        starts = [np.broadcast_to(walk.facts.states[s].reach, n)
                  for s, n in zip(self.states, sizes, strict=True)]  # fmt: skip
        after = [updates[s] for s in self.states]
        lengths = [walk.types[name].size for name in words]
        ends = [limit_of(walk.types[name].q) for name in words]
        try:
            system = recurrence(step, after, words, starts)
            worst = worst_case(system, walk.facts.steps, np.repeat(ends, lengths))
        except TooLong:
            return {name: np.array([np.inf]) for name in words}
        return dict(zip(words, np.split(worst, np.cumsum(lengths)[:-1]), strict=True))
