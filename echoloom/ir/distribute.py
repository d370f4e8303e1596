"""Loop distribution: what of a step has to be done step by step, and what for many steps at once.

Only the oscillators' own recurrences (q and p, from one step to the next) are sequential. Matrix
products, activations and contrasts depend on them but nothing leads back, so a whole chunk of steps
can be computed together, in the order: a recurrence, all that depends on it alone, the next
recurrence. Integers do not mind the order, so the results are the same. Of q, driven by x, and s, a
sum of its squares, one loop becomes two, with all that lies between done for every step at once:

    each step: q' = q + x            each step: q' = q + x
               y = q * q        ->   all steps: y = q * q
               s' = s + y            each step: s' = s + y
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from echoloom.ir.ops import Op
from echoloom.ir.program import Body, Instr, uses


@dataclass(frozen=True)
class Stage:
    """One recurrence over the steps of a chunk, then what can be computed for all its steps.

    `states` are carried from step to step by `recurrent`; both are empty in a stage that comes
    before every recurrence.
    """

    states: tuple[str, ...]
    recurrent: tuple[Instr, ...]
    parallel: tuple[Instr, ...]


def stages(body: Body) -> tuple[Stage, ...]:
    """The stages of a step body, in an order in which they can run, each for all steps at once."""
    levels = _Levels(body)
    result = []
    for level in range(max((*levels.values.values(), *levels.recurrences.values()), default=0) + 1):
        own = [i for i in body.instrs if levels.values[i.name] == level]
        states = tuple(s for s in levels.carried if levels.of(s) == level)
        recurrent = tuple(i for i in own if i.name in levels.owner)
        parallel = tuple(i for i in own if i.name not in levels.owner)
        result.append(Stage(states, recurrent, parallel))
    return tuple(result)


def only_summed(body: Body) -> dict[str, Instr]:
    """Outer products by name that nothing but accumulators uses: over a chunk of steps their sum is
    a matrix product, and they need not exist."""
    counts, summed = uses(body), [value for _, value in body.accumulates]
    return {
        i.name: i
        for i in body.instrs
        if i.op is Op.OUTER and counts.get(i.name) == summed.count(i.name)
    }


class _Levels:
    """The stage of every value: how many recurrences lie between it and the frame.

    `carried` are the states that a step both reads and changes; `owner` names, for an instruction
    within a recurrence, one state that stands for the recurrence.
    """

    def __init__(self, body: Body):
        self.body = body
        self.next = {state: value for state, value in body.updates if state != value}
        read = {a for i in body.instrs for a in i.args} | set(self.next.values())
        read |= {value for _, value in body.accumulates} | set(body.emits)
        self.carried = tuple(s for s in self.next if s in read)
        before = self._states_before()
        behind = {s: before.get(self.next[s], self._own(self.next[s])) for s in self.carried}
        self.behind = _closure(behind)
        self.owner = self._owners(before)
        self.values = {i.name: 0 for i in body.instrs}
        self.recurrences = dict.fromkeys(self.carried, 0)
        while self._raise():
            pass

    def _own(self, name: str) -> frozenset[str]:
        return frozenset({name} & set(self.carried))

    def _states_before(self) -> dict[str, frozenset[str]]:
        """By value: the states that it is made from within one step."""
        before: dict[str, frozenset[str]] = {}
        for instr in self.body.instrs:
            before[instr.name] = _union(before.get(a, self._own(a)) for a in instr.args)
        return before

    def _owners(self, before: dict[str, frozenset[str]]) -> dict[str, str]:
        """By instruction on a way from a state to itself: that state."""
        after: dict[str, frozenset[str]] = {}
        for state in self.carried:
            after[self.next[state]] = after.get(self.next[state], frozenset()) | {state}
        for instr in reversed(self.body.instrs):
            for a in instr.args:
                after[a] = after.get(a, frozenset()) | after.get(instr.name, frozenset())
        owner = {}
        for instr in self.body.instrs:
            made_from = before[instr.name]
            made_from |= _union(self.behind[s] for s in made_from)
            cycles = after.get(instr.name, frozenset()) & made_from
            if cycles:
                owner[instr.name] = self._class(min(cycles))
        return owner

    def _class(self, state: str) -> str:
        """The first of the states that depend on each other."""
        return next(
            s
            for s in self.carried
            if s == state or (s in self.behind[state] and state in self.behind[s])
        )

    def of(self, name: str) -> int:
        """The stage of any name; what is there before the step is in the first."""
        if name in self.recurrences:
            return self.recurrences[self._class(name)]
        return self.values.get(name, 0)

    def _raise(self) -> bool:
        """One round of raising values above what they are made from; whether anything rose."""
        earlier = dict(self.values), dict(self.recurrences)
        for instr in self.body.instrs:
            owner = self.owner.get(instr.name)
            if owner is None:
                self.values[instr.name] = max(map(self.of, instr.args), default=0)
                continue
            for a in instr.args:
                if self.owner.get(a) != owner and not (
                    a in self.recurrences and self._class(a) == owner
                ):
                    self.recurrences[owner] = max(self.recurrences[owner], self.of(a) + 1)
            self.values[instr.name] = self.recurrences[owner] = max(1, self.recurrences[owner])
        for state in self.carried:
            own, value = self._class(state), self.next[state]
            if self.owner.get(value) != own and not (
                value in self.recurrences and self._class(value) == own
            ):
                self.recurrences[own] = max(self.recurrences[own], self.of(value) + 1)
        return earlier != (self.values, self.recurrences)


def _union(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset().union(*sets)


def _closure(behind: dict[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """Every state with all the states that it comes from, over any number of steps."""
    while True:
        further = {s: before | _union(behind[b] for b in before) for s, before in behind.items()}
        if further == behind:
            return behind
        behind = further
