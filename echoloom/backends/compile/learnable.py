"""Which coefficients of a program a board can update by itself, and why not the others."""

from __future__ import annotations

from collections import Counter

from echoloom.frontend.models.unfold import RawElements, Unfolding
from echoloom.ir.learning import Learned, Learning, Rule
from echoloom.ir.passes.assemble import IDENTITY
from echoloom.ir.program import Accumulator, Coefficient, Program


class NothingLearns(ValueError):
    """A rule names coefficients that cannot learn, or that there are not."""


def learning_of(program: Program, unfolding: Unfolding, rule: Rule, length: int) -> Learning:
    """What of a real program learns by this rule, in the order of its coefficients. `length` is T
    of the samples.

    NothingLearns names what the rule asks for and cannot have.
    """
    sums: dict[str, list[Accumulator]] = {}
    for a in program.accumulators:
        sums.setdefault(a.target, []).append(a)
    read = Counter(a for b in program.bodies for i in b.instrs for a in i.args)
    able: dict[str, Learned] = {}
    frozen: dict[str, str] = {}
    for d in program.coefficients:
        if d.fixed or d.half_of or d.name == IDENTITY:
            continue
        found = _learned(d, sums.get(d.name, []), read[d.name] > 0, unfolding)
        if isinstance(found, str):
            frozen[d.name] = found
        else:
            able[d.name] = found
    chosen = _chosen(rule, able, frozen)
    frozen |= {name: "it is not among those that the rule lets learn" for name in able
               if name not in chosen}  # fmt: skip
    return Learning(rule, tuple(able[n] for n in able if n in chosen), frozen, length)


def _learned(
    d: Coefficient, sums: list[Accumulator], read: bool, unfolding: Unfolding
) -> Learned | str:
    if not sums or not read:
        return "no gradient of it is summed"
    if len(sums) > 1:
        return f"its gradient is {len(sums)} sums, which only the host adds up"
    if sums[0].divisor:
        return "its gradient is a quotient, which only the host makes"
    if not d.type.shape:
        return "it is one number for all elements of a vector"
    place = unfolding.of(d.name)
    if not isinstance(place, RawElements):
        return place
    return Learned(d.name, sums[0].name, 1 if sums[0].scale > 0.0 else -1, place.positive)


def _chosen(rule: Rule, able: dict[str, Learned], frozen: dict[str, str]) -> frozenset[str]:
    """The coefficients that a rule's names begin."""
    if rule.learn is None:
        if not able:
            raise NothingLearns("nothing of this model can learn on a board: see `frozen`")
        return frozenset(able)
    chosen: set[str] = set()
    for wanted in rule.learn:
        found = {n for n in able if _begins(n, wanted)}
        if not found:
            stuck = [n for n in frozen if _begins(n, wanted)]
            if stuck:
                raise NothingLearns(
                    f"learn names {wanted!r}, but {stuck[0]} cannot learn on a board: "
                    f"{frozen[stuck[0]]}"
                )
            raise NothingLearns(f"learn names {wanted!r}, but what can learn is {', '.join(able)}")
        chosen |= found
    return frozenset(chosen)


def _begins(name: str, wanted: str) -> bool:
    return name == wanted or name.startswith(f"{wanted}.")
