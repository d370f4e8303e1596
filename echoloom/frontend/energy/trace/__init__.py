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
from echoloom.frontend.energy.jaxpr import Equation, Interpreter, path_name, staged
from echoloom.frontend.energy.trace.operands import (
    Code,
    Floats,
    Held,
    Known,
    Operand,
    Origin,
    Ref,
    leaf,
    numbers,
)
from echoloom.frontend.energy.trace.rules import RULES
from echoloom.ir.formats import real
from echoloom.ir.program import Declaration, Graph

# Operations that may leave a coefficient as it is, whatever its numbers are.
SAME = frozenset({"convert_element_type", "copy", "reshape", "squeeze", "broadcast_in_dim"})


@dataclass(frozen=True)
class Traced:
    """A graph, and the coefficients that its code needs beside the leaves: their values, and how
    they are made of the leaves."""

    graph: Graph
    values: Mapping[str, Floats]
    origins: Mapping[str, Origin]


def trace(
    function: Callable[..., Any],
    label: str = "",
    coefficients: Mapping[str, Any] | None = None,
    **arguments: Any,
) -> Traced:
    """Graph of `function(**coefficients, **arguments)`; leaves are named by their path.

    `coefficients` are pytrees of arrays whose numbers are known, `arguments` pytrees of which only
    shapes matter. The result is a dict of pytrees. Folded coefficients are called
    `<first coefficient>.<label>.<number>`. Untraceable names the primitive, and the line, that has
    no IR op.
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
    for path, value in leaves:
        name = path_name(path)
        if path[0].key in given:
            operands.append(Held(np.asarray(value, np.float64), leaf(name), name))
        else:
            operands.append(Ref(name, np.shape(value)))
            tracer.ir_shapes[name] = np.shape(value)
    with jax.enable_x64(True):
        results = tracer.run(jaxpr, consts, operands)
    outputs = [(n, tracer.settled(value)) for n, value in zip(structure, results, strict=True)]
    declarations = [Declaration(o.name, real(*o.shape)) for o in operands]  # type: ignore[union-attr]
    declarations += [Declaration(n, real(*v.shape)) for n, v in tracer.folded.items()]
    graph = Graph(tuple(declarations), tuple(tracer.instrs), tuple(outputs))
    return Traced(
        graph,
        {name: held.value for name, held in tracer.folded.items()},
        {name: held.origin for name, held in tracer.folded.items()},
    )


class _Tracer(Code, Interpreter):
    def constant(self, value: Any) -> Known | Held:
        array = np.asarray(value, np.float64)
        if array.size and (array == array.flat[0]).all():
            return Known(float(array.flat[0]), array.shape)
        return numbers(array)

    def equation(self, equation: Equation, operands: list[Any]) -> list[Any]:
        self.where = equation.where or self.where
        if equation.inner is not None:
            return self.run(*equation.inner, operands)
        if any(isinstance(x, Held) for x in operands) and not any(
            isinstance(x, Ref) for x in operands
        ):
            return self.on_host(equation, operands)
        rule = RULES.get(equation.name)
        if rule is None:
            raise self.untraceable(f"the primitive {equation.name!r} has no operation in the IR")
        return [rule(self, operands, equation.params)]

    def on_host(self, equation: Equation, operands: list[Any]) -> list[Operand]:
        """Arithmetic on coefficients; a matrix's transpose stays a view of the matrix."""
        first = operands[0]
        if equation.name == "transpose" and isinstance(first, Held) and first.name:
            return [first.turned()]
        factor = _numeric_factor(equation, operands)
        if factor is not None:
            return [factor]
        sources = [_whole(x) for x in operands]
        results = [
            np.asarray(r, np.float64) for r in equation.evaluate(*(s.value for s in sources))
        ]
        if equation.name in SAME and np.array_equal(results[0], sources[0].value):
            return [first]
        origins = tuple(s.origin for s in sources)

        def again(number: int) -> Origin:
            return Origin(
                f"{equation.name} {equation.params} {number}",
                origins,
                lambda *values: np.asarray(equation.evaluate(*values)[number], np.float64),
            )

        return [Held(value, again(number)) for number, value in enumerate(results)]


def _whole(x: Known | Held) -> Held:
    return numbers(np.full(x.shape, x.value)) if isinstance(x, Known) else x.plain


def _numeric_factor(equation: Equation, operands: list[Any]) -> Held | None:
    """A coefficient of the same name times another number, where that is all that happens."""
    if equation.name == "neg":
        return replace(operands[0], factor=-operands[0].factor)
    if equation.name != "mul" or len(operands) != 2:
        return None
    known, held = operands if isinstance(operands[0], Known) else operands[::-1]
    if not isinstance(known, Known) or not isinstance(held, Held) or known.shape not in (
        (), held.shape,
    ):  # fmt: skip
        return None
    return replace(held, factor=held.factor * known.value) if known.value else None
