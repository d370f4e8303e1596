"""Constant folding: what the host computes from a model's leaves, written so that it can be
computed again from others.

Both who takes a unit's energies apart (`canonical`) and who traces the compiler's functions
(`trace`) fold what depends on no run-time value. The one does it in JAX's operations, so that
gradients are chained back through them; the other in NumPy's.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class HostExpression:
    """A leaf, or an operation on other expressions.

    Those with equal operations (of equal operands) have equal values whatever the leaves are; equal
    values alone may be chance.
    """

    operation: Hashable  # of a leaf its name
    operands: tuple[HostExpression, ...] = ()
    compute: Callable[..., Any] | None = field(compare=False, default=None)  # None for a leaf

    def then(self, operation: Hashable, compute: Callable[[Any], Any]) -> HostExpression:
        """An operation on this alone."""
        return HostExpression(operation, (self,), compute)


def evaluate(wanted: Iterable[HostExpression], leaves: Mapping[Any, Any]) -> list[Any]:
    """Values of expressions, each operation made once, in the order in which they are given."""
    found: dict[int, Any] = {}

    def value(e: HostExpression) -> Any:
        if id(e) not in found:
            own = e.compute
            found[id(e)] = leaves[e.operation] if own is None else own(*map(value, e.operands))
        return found[id(e)]

    return [value(e) for e in wanted]
