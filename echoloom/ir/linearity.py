"""Whether a traced function is affine in one of its inputs, decided on the code."""

from __future__ import annotations

from echoloom.ir.ops import PRODUCTS, Op
from echoloom.ir.program import Graph


def is_affine(graph: Graph, output: str, input: str) -> bool:
    """Whether `output` provably has no curvature in `input`, all other inputs held."""
    affine, curved = {input}, set[str]()
    for instr in graph.instrs:
        touched = [a for a in instr.args if a in affine]
        bends = instr.op is Op.TABLE or (instr.op in PRODUCTS and len(touched) > 1)
        if any(a in curved for a in instr.args) or (touched and bends):
            curved.add(instr.name)
        elif touched:
            affine.add(instr.name)
    return dict(graph.outputs)[output] not in curved
