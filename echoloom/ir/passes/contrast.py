"""What the echoes' difference says of a unit's parameters: one step's gradients, accumulated.

With P = p / h the stages are those of T(h P) + V(q, u) with step 1, which is why the nudge of p
carries a factor h and the contrasts carry none (`frontend/rhel.py` derives them).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from echoloom.ir.ops import SUMS, Op, Scale
from echoloom.ir.passes.walk import BlockWriter, Visit, Walk, numbered
from echoloom.ir.passes.writer import Writer
from echoloom.ir.places import Copy, Label
from echoloom.ir.program import Graph, Instr, Leaf


@dataclass(frozen=True)
class Contrast:
    """Writes the contrasts of a block; `factor` is -1 / 2 epsilon."""

    block: BlockWriter
    walks: Mapping[Copy, Walk]
    factor: float

    @property
    def w(self) -> Writer:
        return self.block.w

    def write(self, u: str) -> list[str]:
        """Accumulates the unit's and the steps' gradients; returns the summands of u's."""
        drive = self._potential(u)
        self._kinetic()
        self._step()
        return drive

    def _potential(self, u: str) -> list[str]:
        drive: list[str] = []
        for free, plus, minus in self._visits("kick"):
            factor = self.factor * free.stage.fraction
            beside = {"u": u, **free.sides}
            sides = [
                self._slopes(self.block.graphs.potential_contrast, copy, "dV", {"q": at, **beside})
                for copy, at in ((Copy.PLUS, plus.at), (Copy.MINUS, minus.at))
            ]
            leaves = self.block.graphs.potential_contrast.leaves()
            for leaf, value in sides[0].items():
                if leaf == "u" and not self.w.vanishes(value):
                    label = self.block.label("contrast")
                    difference = self.w.put(label.part("u"), Op.SUB, value, sides[1][leaf])
                    drive.append(self.w.scale(label.part("drive"), difference, factor))
                elif leaf in leaves:
                    self._accumulate(leaves[leaf], value, sides[1][leaf], _energy(free), factor)
        return drive

    def _kinetic(self) -> None:
        for free, plus, minus in self._visits("drift"):
            sides = [
                self._slopes(self.block.graphs.kinetic_contrast, copy, "dT", {"p": at})
                for copy, at in ((Copy.PLUS, plus.at), (Copy.MINUS, minus.at))
            ]
            factor = self.factor * free.stage.fraction
            leaves = self.block.graphs.kinetic_contrast.leaves()
            for leaf, value in sides[0].items():
                self._accumulate(leaves[leaf], value, sides[1][leaf], _energy(free), factor)

    def _step(self) -> None:
        # dL/dh_i pairs the free copy's force and velocities with the echoes' differences. The
        # nudge carries a factor h_i, so the host divides by it.
        contrast, target = self.block.label("contrast").part("step"), self.block.step
        for free, plus, minus in (*self._visits("kick"), *self._visits("drift")):
            term = _energy(free)
            label = self.block.label("difference").part(term)
            difference = self.w.put(label, Op.SUB, plus.at, minus.at)
            product = self.w.put(contrast.part(term), Op.MUL, difference, free.rate)
            scale = self.factor * free.stage.fraction
            self.w.accumulate(f"{target}/{term}", product, target, scale, target)

    def _visits(self, kind: str) -> Iterator[tuple[Visit, Visit, Visit]]:
        copies = (self.walks[copy].visits for copy in Copy)
        return (seen for seen in zip(*copies, strict=True) if seen[0].stage.kind == kind)

    def _slopes(
        self, graph: Graph, copy: Copy, name: str, bindings: Mapping[str, str]
    ) -> dict[str, str]:
        return self.block.inline(graph, self.block.label(name, copy), **bindings)

    def _accumulate(self, leaf: Leaf, plus: str, minus: str, term: str, factor: float) -> None:
        if self.w.vanishes(plus):
            return
        target = leaf.of(self.block.name)
        parts = _difference(self.w, self.block.label("contrast").part(leaf.name), plus, minus)
        for number, (value, weight) in enumerate(parts, 1):
            name = f"{target}/{term}" + (f".part.{number}" if number > 1 else "")
            self.w.accumulate(name, value, target, factor * weight)


def _energy(visit: Visit) -> str:
    """The name of a stage's terms: which energy, and after how many kicks."""
    if visit.stage.kind == "kick":
        return numbered("potential", visit.kicks + 1)
    return numbered("kinetic.after", visit.kicks) if visit.kicks else "kinetic.before"


def _difference(w: Writer, label: Label, plus: str, minus: str) -> list[tuple[str, float]]:
    """plus - minus as values times numbers; a sum of outer products as one value for each.

    An accumulator takes one outer product an instruction, so a sum of several is added up by the
    host. One whose right factors are equal is left as a difference, which `simplify` factors.
    """
    ours, theirs = _outer_terms(w, plus), _outer_terms(w, minus)
    if not ours or len(ours) != len(theirs):
        return [(w.put(label, Op.SUB, plus, minus), 1.0)]
    whole = len(ours) == 1 and w.equal(ours[0][0].args[1], theirs[0][0].args[1])
    if whole:
        return [(w.put(label, Op.SUB, plus, minus), 1.0)]
    parts: list[tuple[str, float]] = []
    for (a, weight), (b, _) in zip(ours, theirs, strict=True):
        shape = w.types[a.name].shape
        if not w.equal(a.args[0], b.args[0]):
            left = w.put(label.part("left"), Op.SUB, a.args[0], b.args[0])
            parts.append((w.put(label, Op.OUTER, left, a.args[1], shape=shape), weight))
        if not w.equal(a.args[1], b.args[1]):
            right = w.put(label.part("right"), Op.SUB, a.args[1], b.args[1])
            parts.append((w.put(label, Op.OUTER, b.args[0], right, shape=shape), weight))
    return parts


def _outer_terms(w: Writer, value: str, weight: float = 1.0) -> list[tuple[Instr, float]]:
    """The outer products that `value` is a sum of, with their factors; none if it is not one."""
    definition = w.definitions.get(value)
    if definition is None:
        return []
    if definition.op is Op.OUTER:
        return [(definition, weight)]
    if isinstance(definition.attr, Scale):
        return _outer_terms(w, definition.args[0], weight * definition.attr.factor)
    if definition.op in SUMS:
        sign = 1.0 if definition.op is Op.ADD else -1.0
        left = _outer_terms(w, definition.args[0], weight)
        right = _outer_terms(w, definition.args[1], sign * weight)
        return [*left, *right] if left and right else []
    return []
