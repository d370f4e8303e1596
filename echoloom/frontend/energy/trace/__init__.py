"""The compiler's functions (parts, energies, their derivatives) to IR graphs.

Numbers that are the same everywhere (0.5, 2.0, a broadcast one) are folded while tracing, so a
gradient's bookkeeping leaves only SCALE behind. What depends on coefficients alone is computed on
the host and becomes a coefficient of its own. A transposed matrix is a view, never an instruction:
W.T @ g becomes TMATVEC, (g x').T becomes OUTER with its operands exchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from echoloom.frontend.energy.canonical import Untraceable as Untraceable
from echoloom.frontend.energy.folding import HostExpression
from echoloom.frontend.energy.jaxpr import Equation, Interpreter, path_name, staged
from echoloom.frontend.energy.trace.operands import Code, Folded, Operand, Ref, Splat, numbers
from echoloom.frontend.energy.trace.rules import INSTRUCTIONS
from echoloom.ir.formats import real
from echoloom.ir.program import Declaration, Graph, Leaf

# Operations that may leave a coefficient as it is, whatever its numbers are.
SAME = frozenset({"convert_element_type", "copy", "reshape", "squeeze", "broadcast_in_dim"})


@dataclass(frozen=True)
class Traced:
    """A graph, and the coefficients `<owner>.<name>` that its code needs beside the leaves."""

    graph: Graph
    owner: str
    folded: Mapping[str, Folded]

    @property
    def values(self) -> dict[str, np.ndarray]:
        """The folded coefficients as the graph names them."""
        return {f"{self.owner}.{own}": folded.value for own, folded in self.folded.items()}


def trace(
    function: Callable[..., Any],
    label: str = "",
    coefficients: Mapping[str, Any] | None = None,
    **arguments: Any,
) -> Traced:
    """Graph of `function(**coefficients, **arguments)`; leaves are named by their path.

    `coefficients` are pytrees of arrays whose numbers are known, `arguments` pytrees of which only
    shapes matter. The result is a dict of pytrees. Folded coefficients belong to the first of
    `coefficients`. Untraceable names the primitive, and the line, that has no IR op.
    """
    given = dict(coefficients or {})
    everything = {**given, **arguments}
    leaves, treedef = jax.tree_util.tree_flatten_with_path(everything)
    structure: list[Any] = []

    def flat(*values: Any) -> Any:
        result = function(**jax.tree_util.tree_unflatten(treedef, list(values)))
        paths, _ = jax.tree_util.tree_flatten_with_path(result)
        structure[:] = [path_name(path) for path, _ in paths]
        return [leaf for _, leaf in paths]

    jaxpr, consts = staged(flat, *(np.shape(leaf) for _, leaf in leaves))
    tracer = _Tracer(next(iter(given), "fixed"), label)
    operands: list[Operand] = []
    declarations: list[Declaration] = []
    for path, value in leaves:
        name, owner, type_ = path_name(path), path[0].key, real(*np.shape(value))
        if owner in given:
            declarations.append(Leaf(name, type_, owner, path_name(path[1:])))
            operands.append(Folded(np.asarray(value, np.float64), HostExpression(name), name))
        else:
            declarations.append(Declaration(name, type_))
            operands.append(Ref(name, np.shape(value)))
            tracer.ir_shapes[name] = np.shape(value)
    with jax.enable_x64(True):
        results = tracer.run(jaxpr, consts, operands)
    outputs = [(n, tracer.materialised(value)) for n, value in zip(structure, results, strict=True)]
    for own, folded in tracer.folded.items():
        declarations.append(Leaf(tracer.named(own), real(*folded.shape), tracer.owner, own))
    graph = Graph(tuple(declarations), tuple(tracer.instrs), tuple(outputs))
    return Traced(graph, tracer.owner, tracer.folded)


class _Tracer(Code, Interpreter):
    def constant(self, value: Any) -> Splat | Folded:
        array = np.asarray(value, np.float64)
        if array.size and (array == array.flat[0]).all():
            return Splat(float(array.flat[0]), array.shape)
        return numbers(array)

    def equation(self, equation: Equation, operands: list[Any]) -> list[Any]:
        self.where = equation.where or self.where
        if equation.inner is not None:
            return self.run(*equation.inner, operands)
        kinds = {type(x) for x in operands}
        if Folded in kinds and Ref not in kinds:
            return self.on_host(equation, operands)
        rule = INSTRUCTIONS.get(equation.name)
        if rule is None:
            raise self.untraceable(f"the primitive {equation.name!r} has no operation in the IR")
        return [rule(self, operands, equation.params)]

    def on_host(self, equation: Equation, operands: list[Any]) -> list[Operand]:
        """Arithmetic on coefficients; a matrix's transpose stays a view of the matrix."""
        first = operands[0]
        if equation.name == "transpose" and isinstance(first, Folded) and first.name:
            return [first.turned()]
        factor = _numeric_factor(equation, operands)
        if factor is not None:
            return [factor]
        sources = [_whole(x) for x in operands]
        values = [s.value for s in sources]
        if equation.name in SAME and np.array_equal(equation.evaluate(*values)[0], values[0]):
            return [first]

        def result(number: int) -> Folded:
            def compute(*values: Any) -> Any:
                return np.asarray(equation.evaluate(*values)[number], np.float64)

            operation = f"{equation.name} {equation.params} {number}"
            operands = tuple(s.expression for s in sources)
            return Folded(compute(*values), HostExpression(operation, operands, compute))

        return [result(number) for number in range(len(equation.shapes))]


def _whole(x: Splat | Folded) -> Folded:
    return numbers(np.full(x.shape, x.value)) if isinstance(x, Splat) else x.plain


def _numeric_factor(equation: Equation, operands: list[Any]) -> Folded | None:
    """A coefficient of the same name times another number, where that is all that happens."""
    if equation.name == "neg":
        return replace(operands[0], factor=-operands[0].factor)
    if equation.name != "mul":
        return None
    splat, folded = operands if isinstance(operands[0], Splat) else operands[::-1]
    if not isinstance(splat, Splat) or splat.shape not in ((), folded.shape) or not splat.value:
        return None
    return replace(folded, factor=folded.factor * splat.value)
