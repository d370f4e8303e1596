"""A sample's stages written as code, forwards and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from echoloom.ir.ops import Op
from echoloom.ir.passes.graphs import BlockGraphs
from echoloom.ir.passes.writer import Writer
from echoloom.ir.places import Copy, Label, block_label
from echoloom.ir.scheme import Stage, merged


@dataclass(frozen=True)
class Visit:
    """One stage of one copy: `at` is the p of a drift or the q of a kick, `rate` its v or F.

    `kicks` counts the kicks before it. `sides` are those of V's corners at `at`: of the free copy's
    kicks, on the way back.
    """

    stage: Stage
    at: str
    rate: str
    kicks: int
    sides: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Walk:
    """One copy taken through a sample: where it ends, and what it saw on the way."""

    q: str
    p: str
    visits: tuple[Visit, ...]


def walk_forward(w: Writer, block: BlockGraphs, index: int, q: str, p: str, u: str) -> Walk:
    """The forward pass's stages of the free copy."""
    stages = merged(block.stages)
    return _walk(w, block, index, Copy.FREE, stages, _forward_names(stages), q, p, u)


def walk_back(
    w: Writer,
    block: BlockGraphs,
    index: int,
    copy: Copy,
    q: str,
    p: str,
    u: str,
    free: Walk | None = None,
) -> Walk:
    """The echo's: the same stages in reverse order, for a momentum turned round.

    The nudged copies take the sides of V's corners that the `free` one (None for itself) is on, as
    a derivative does: copies that are really apart would see both sides of a corner between them.
    """
    stages = merged(block.stages)[::-1]
    walk = _walk(w, block, index, copy, stages, _echo_names(stages), q, p, u, free)
    if free is not None or not block.sides.outputs:
        return walk
    visits = tuple(replace(visit, sides=_sides(w, block, index, visit, u)) for visit in walk.visits)
    return replace(walk, visits=visits)


def _sides(w: Writer, block: BlockGraphs, index: int, visit: Visit, u: str) -> dict[str, str]:
    if visit.stage.kind == "drift":
        return {}
    label = block_label(index, Copy.FREE).part(numbered("sides", visit.kicks + 1))
    return w.inline(block.sides, label, {"block": f"b{index}", "q": visit.at, "u": u})


def numbered(name: str, number: int) -> str:
    """The name of the second and later ones of several equal things."""
    return f"{name}.{number}" if number > 1 else name


@dataclass(frozen=True)
class _Name:
    """What a stage is called; what its words are called in other copies and passes (`alike`); and
    the name of a kick's force."""

    text: str
    alike: str = ""
    force: str = ""


def _walk(
    w: Writer,
    block: BlockGraphs,
    index: int,
    copy: Copy,
    stages: Sequence[Stage],
    names: Sequence[_Name],
    q: str,
    p: str,
    u: str,
    free: Walk | None = None,
) -> Walk:
    """Every increment is one product by the step, rounded on its own."""
    own, step, unit = {"block": f"b{index}"}, f"b{index}.step", block_label(index, copy)
    visits: list[Visit] = []
    kicks = 0
    for stage, name in zip(stages, names, strict=True):
        label = unit.part(name.text, name.alike)
        if stage.kind == "drift":
            rate = w.inline(block.velocity, label, {**own, "p": p})["v"]
            visits.append(Visit(stage, p, rate, kicks))
            increment = _part(w, label, w.put(label.part("hv"), Op.MUL, step, rate), stage.fraction)
            q = w.put(label.part("q"), Op.ADD, q, increment)
        else:
            force = unit.part(name.force)
            bindings = {**own, "q": q, "u": u}
            if free is None:
                rate = w.inline(block.force, force, bindings)["f"]
            else:
                sides = free.visits[len(visits)].sides
                rate = w.inline(block.beside, force, {**bindings, **sides})["f"]
            visits.append(Visit(stage, q, rate, kicks))
            increment = _part(w, label, w.put(label.part("hf"), Op.MUL, step, rate), stage.fraction)
            p = w.put(label.part("p"), Op.SUB, p, increment)
            kicks += 1
    return Walk(q, p, tuple(visits))


def _part(w: Writer, label: Label, increment: str, fraction: float) -> str:
    if fraction == 1.0:
        return increment
    return w.scale(label.part("half" if fraction == 0.5 else "part"), increment, fraction)


FIRST = _Name("first")
SECOND = _Name("second", alike="first")


def _echo_names(stages: Sequence[Stage]) -> list[_Name]:
    """Drifts are `first`, before any kick, `between` kicks, or `second`, after the last."""
    last = sum(stage.kind == "kick" for stage in stages)
    names: list[_Name] = []
    kicks = 0
    for stage in stages:
        if stage.kind == "kick":
            kicks += 1
            names.append(_Name(numbered("kick", kicks), force=numbered("force", kicks)))
        elif kicks == 0:
            names.append(FIRST)
        else:
            names.append(SECOND if kicks == last else _Name(numbered("between", kicks)))
    return names


def _forward_names(stages: Sequence[Stage]) -> list[_Name]:
    """A stage has the name of the one that undoes it, because equal names have equal formats.

    The outer drifts of a symmetric scheme are called in their own order all the same: what one
    sees in a step the other sees in the next, so their ranges, and formats, are equal.
    """
    names = _echo_names(stages[::-1])[::-1]
    if names[0] is SECOND:
        names[0], names[-1] = names[-1], names[0]
    return names
