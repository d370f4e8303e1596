"""A sample's stages written as code, forwards and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from echoloom.ir.ops import Op
from echoloom.ir.passes.graphs import BlockGraphs
from echoloom.ir.passes.writer import Writer
from echoloom.ir.places import Copy, Label, block_label
from echoloom.ir.program import Graph
from echoloom.ir.scheme import Stage, merged


@dataclass(frozen=True)
class BlockWriter:
    """Writes the code of block number `index`, whose traced functions are `graphs`."""

    w: Writer
    graphs: BlockGraphs
    index: int

    @property
    def name(self) -> str:
        return f"b{self.index}"

    @property
    def step(self) -> str:
        """The coefficient that holds its steps."""
        return f"{self.name}.step"

    def label(self, name: str, copy: Copy | None = None) -> Label:
        return block_label(self.index, copy).part(name)

    def inline(self, graph: Graph, label: Label, **bindings: str) -> dict[str, str]:
        """`Writer.inline` of one of the block's functions."""
        return self.w.inline(graph, label, {"block": self.name, **bindings})


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


def walk_forward(block: BlockWriter, q: str, p: str, u: str) -> Walk:
    """The forward pass's stages of the free copy."""
    stages = merged(block.graphs.stages)
    return _walk(block, Copy.FREE, stages, _forward_names(stages), q, p, u)


def walk_back(
    block: BlockWriter, copy: Copy, q: str, p: str, u: str, free: Walk | None = None
) -> Walk:
    """The echo's: the same stages in reverse order, for a momentum turned round.

    The nudged copies take the sides of V's corners that the `free` one (None for itself) is on, as
    a derivative does: copies that are really apart would see both sides of a corner between them.
    """
    stages = merged(block.graphs.stages)[::-1]
    walk = _walk(block, copy, stages, _echo_names(stages), q, p, u, free)
    if free is not None or not block.graphs.sides.outputs:
        return walk
    visits = tuple(replace(visit, sides=_sides(block, visit, u)) for visit in walk.visits)
    return replace(walk, visits=visits)


def _sides(block: BlockWriter, visit: Visit, u: str) -> dict[str, str]:
    if visit.stage.kind == "drift":
        return {}
    label = block.label(numbered("sides", visit.kicks + 1), Copy.FREE)
    return block.inline(block.graphs.sides, label, q=visit.at, u=u)


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
    block: BlockWriter,
    copy: Copy,
    stages: Sequence[Stage],
    names: Sequence[_Name],
    q: str,
    p: str,
    u: str,
    free: Walk | None = None,
) -> Walk:
    """Every increment is one product by the step, rounded on its own."""
    w, graphs, visits = block.w, block.graphs, list[Visit]()
    kicks = 0

    def increment(rate: str, name: str) -> str:
        whole = w.put(label.part(name), Op.MUL, block.step, rate)
        return _part(w, label, whole, stage.fraction)

    for stage, name in zip(stages, names, strict=True):
        label = block_label(block.index, copy).part(name.text, name.alike)
        if stage.kind == "drift":
            rate = block.inline(graphs.velocity, label, p=p)["v"]
            visits.append(Visit(stage, p, rate, kicks))
            q = w.put(label.part("q"), Op.ADD, q, increment(rate, "hv"))
        else:
            graph = graphs.force if free is None else graphs.beside
            sides = {} if free is None else free.visits[len(visits)].sides
            rate = block.inline(graph, block.label(name.force, copy), q=q, u=u, **sides)["f"]
            visits.append(Visit(stage, q, rate, kicks))
            p = w.put(label.part("p"), Op.SUB, p, increment(rate, "hf"))
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
