"""Takes an energy H(q, p, u) apart into T(p) + V(q, u), term by term on the traced graph."""

from __future__ import annotations

from dataclasses import replace

from echoloom.frontend.energy.canonical.builder import Builder, Untraceable
from echoloom.frontend.energy.canonical.facts import Facts
from echoloom.frontend.energy.canonical.plan import Energy, Kind, Step
from echoloom.ir.parity import Parity

LINEAR = (Kind.MATRIX, Kind.TRANSPOSED, Kind.TIMES, Kind.FACTOR, Kind.SUM, Kind.SPREAD)
MOMENTUM = frozenset({"p"})


def separate(b: Builder, result: int) -> tuple[int | None, int | None]:
    """Steps that hold the parts with p and without it; Untraceable where one term has both."""
    return _part(b, result, momentum=True), _part(b, result, momentum=False)


def _part(b: Builder, index: int, momentum: bool) -> int | None:
    depends = b.facts[index].inputs
    if "p" not in depends:
        return None if momentum else index
    if depends == MOMENTUM:
        return index if momentum else None
    step = b.steps[index - b.inputs]
    if step.kind not in (*LINEAR, Kind.ADD, Kind.SUB, Kind.PLUS, Kind.OFFSET):
        raise _mixed(b, step)
    parts = [_part(b, a, momentum) for a in step.args]
    kept = [p for p in parts if p is not None]
    if step.kind in (Kind.PLUS, Kind.OFFSET):
        return kept[0] if kept else None
    if not kept:
        return None
    if step.kind is Kind.SUB and parts[0] is None:
        return _put(b, replace(step, kind=Kind.FACTOR, args=(kept[0],), number=-1.0))
    if len(kept) < len(parts):
        return kept[0]
    return _put(b, replace(step, args=tuple(kept)))


def _put(b: Builder, step: Step) -> int:
    known = b.facts[step.args[0]]
    inputs = frozenset().union(*(b.facts[a].inputs for a in step.args))
    parity = known.parity
    for a in step.args[1:]:
        parity &= b.facts[a].parity
    b.steps.append(step)
    b.facts.append(Facts(parity=parity, inputs=inputs))
    return b.inputs + len(b.steps) - 1


def _mixed(b: Builder, step: Step) -> Untraceable:
    b.where = step.where
    names = " and ".join(sorted(frozenset().union(*(b.facts[a].inputs for a in step.args))))
    return b.refuse(
        f"one term has {names} together, so H is not separable into T(p) + V(q, u), and the "
        "leapfrog step could not be run backwards",
        "write a T of p alone plus a V of q and u alone",
    )


def check_even(b: Builder, result: int | None) -> None:
    """Untraceable unless T is provably even and smooth in p, naming the first term that is not."""
    if result is None or result < b.inputs:
        if result is not None:
            raise _not_even(b, None)
        return
    for index in _reached(b.steps, b.inputs, result):
        step = b.steps[index - b.inputs]
        if step.cornered and "p" in b.facts[index].inputs:
            b.where = step.where
            raise b.refuse(
                "T has a corner in p (abs, max, min or where), so the velocity jumps and is not "
                "odd in integers",
                "write it smoothly, such as jnp.sqrt(p**2 + 0.01)",
            )
    if Parity.EVEN not in b.facts[result].parity:
        raise _not_even(b, _odd_term(b, result))


def _odd_term(b: Builder, index: int) -> Step | None:
    """The first additive term, from the result down, that is not even."""
    if index < b.inputs:
        return None
    step = b.steps[index - b.inputs]
    if step.kind in (*LINEAR, Kind.ADD, Kind.SUB, Kind.PLUS, Kind.OFFSET):
        for a in step.args:
            if Parity.EVEN not in b.facts[a].parity:
                return _odd_term(b, a) or step
    return step


def _not_even(b: Builder, step: Step | None) -> Untraceable:
    if step is not None:
        b.where = step.where
    return b.refuse(
        "T is not even in p as far as can be proven on its graph, so turning the momentum round "
        "would not turn the motion round, and there is no echo",
        "use even powers, products of two odd functions, cos or log cosh of p",
    )


def pruned(b: Builder, result: int | None) -> Energy:
    """The energy with only the steps that its result needs."""
    if result is None:
        return Energy(b.inputs, (), None)
    kept = _reached(b.steps, b.inputs, result)
    place = {i: i for i in range(b.inputs)}
    steps = []
    for index in kept:
        step = b.steps[index - b.inputs]
        place[index] = b.inputs + len(steps)
        steps.append(replace(step, args=tuple(place[a] for a in step.args)))
    return Energy(b.inputs, tuple(steps), place[result])


def _reached(steps: list[Step], inputs: int, result: int) -> list[int]:
    needed = {result}
    for index in range(inputs + len(steps) - 1, inputs - 1, -1):
        if index in needed:
            needed.update(steps[index - inputs].args)
    return sorted(i for i in needed if i >= inputs)
