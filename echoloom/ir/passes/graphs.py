"""The traced functions that a program is assembled from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from echoloom.ir.formats import real
from echoloom.ir.linearity import is_affine
from echoloom.ir.program import Coefficient, Graph
from echoloom.ir.scheme import Stage

IDENTITY = "identity"  # the coefficient that brings a streamed target into the lanes


@dataclass(frozen=True)
class BlockGraphs:
    """Traced functions of one block. Coefficients are called `block.<path>` in all of them.

    A fixed number of the unit's own has no derivatives among the contrasts' results.
    """

    drive: Graph  # x -> u
    velocity: Graph  # p -> v
    force: Graph  # q, u -> f
    sides: Graph  # q, u -> sides.*: on which side of every corner of V q is
    beside: Graph  # q, u, sides.* -> f, on the sides given
    mix: Graph  # q, u, x -> out
    mix_back: Graph  # q, u, x, g -> q, u, x, block.*
    potential_contrast: Graph  # q, u, sides.* -> u, block.unit.*: derivatives of V
    kinetic_contrast: Graph  # p -> block.unit.*: derivatives of T
    drive_back: Graph  # x, g -> x, block.*
    positions: int
    stages: tuple[Stage, ...]  # of one sample, in the forward pass's order

    @property
    def curved(self) -> bool:
        """Whether a contrast's quality depends on the nudge's size."""
        return not is_affine(self.beside, "f", "q") or not is_affine(self.velocity, "v", "p")


@dataclass(frozen=True)
class StackGraphs:
    """Traced functions of a stack; the head's coefficients are `head.*`, the encoder's `encoder.*`.

    Classification: head: h -> out and head_back: h, g -> h, head.*.
    Regression: head: h -> out and head_back: h, target -> h, head.* of half the squared error.
    """

    encode: Graph  # x -> out
    encode_back: Graph  # x, g -> encoder.*
    blocks: tuple[BlockGraphs, ...]
    head: Graph
    head_back: Graph
    classification: bool
    inputs: int
    outputs: int
    hidden: int

    def __str__(self) -> str:
        parts: list[tuple[str, object]] = [("", self), *(
            (f"block {index}: ", block) for index, block in enumerate(self.blocks)
        )]  # fmt: skip
        return "\n".join(
            f"{whose}{f.name}\n{graph}"
            for whose, part in parts
            for f in fields(part)  # type: ignore[arg-type]
            if isinstance(graph := getattr(part, f.name), Graph)
        )


def coefficients(graphs: StackGraphs) -> tuple[Coefficient, ...]:
    """Every coefficient that the traced functions read, by its name in the program."""
    seen: dict[str, Coefficient] = {}
    sources: list[tuple[Graph, str, int | None]] = []
    for encode, head in ((graphs.encode, graphs.head), (graphs.encode_back, graphs.head_back)):
        sources += [(encode, "encoder", None), (head, "head", None)]
    for index, block in enumerate(graphs.blocks):
        sources += [(graph, f"b{index}", index) for graph in _functions(block)]
    for graph, target, index in sources:
        for leaf in graph.leaves().values():
            name = leaf.of(target)
            seen.setdefault(name, Coefficient(name, leaf.type, block=index))
    if not graphs.classification:
        seen[IDENTITY] = Coefficient(IDENTITY, real(graphs.outputs, graphs.outputs))
    return tuple(seen.values())


def _functions(block: BlockGraphs) -> Iterable[Graph]:
    return (
        block.drive, block.velocity, block.force, block.mix,
        block.mix_back, block.potential_contrast, block.kinetic_contrast, block.drive_back,
        block.sides, block.beside,
    )  # fmt: skip
