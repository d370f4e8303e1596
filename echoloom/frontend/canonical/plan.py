"""An energy in canonical form: flat vectors, named coefficients, a dozen kinds of steps.

Whatever depends on parameters alone is *folded* on the host (`Plan.fold`): exp(raw), c / w, K + K.T
become coefficients of their own, and JAX chains their gradients back. What is left at run time is
what an engine has instructions for: products by coefficients, sums, products, functions by table.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from echoloom.frontend.vocabulary import FUNCTIONS

Evaluate = Callable[..., list[Any]]


class Kind(enum.Enum):
    """What a step does; x, y are results of earlier steps, w a coefficient, n a number."""

    MATRIX = "matrix"  # w @ x
    TRANSPOSED = "transposed"  # w.T @ x
    TIMES = "times"  # w * x
    PLUS = "plus"  # x + w
    FACTOR = "factor"  # n * x
    OFFSET = "offset"  # x + n
    ADD = "add"  # x + y
    SUB = "sub"  # x - y
    MUL = "mul"  # x * y
    POWER = "power"  # x ** n, n a whole number >= 2
    WORD = "word"  # a function of the vocabulary
    SUM = "sum"  # [m] -> [1]
    SPREAD = "spread"  # [1] -> [n]


@dataclass(frozen=True)
class Step:
    """One step; `size` is the length of its result, `where` the user's line."""

    kind: Kind
    args: tuple[int, ...]
    size: int
    coefficient: str = ""
    number: float = 0.0
    word: str = ""
    where: str = ""


@dataclass(frozen=True)
class HostStep:
    """Host arithmetic on parameters: results number `index` of `evaluate` on earlier values."""

    evaluate: Evaluate
    args: tuple[int, ...]
    index: int = 0


RULES: Mapping[Kind, Callable[[Step, Any, list[Any]], Any]] = {
    Kind.MATRIX: lambda s, w, x: w @ x[0],
    Kind.TRANSPOSED: lambda s, w, x: x[0] @ w,
    Kind.TIMES: lambda s, w, x: w * x[0],
    Kind.PLUS: lambda s, w, x: x[0] + w,
    Kind.FACTOR: lambda s, w, x: s.number * x[0],
    Kind.OFFSET: lambda s, w, x: x[0] + s.number,
    Kind.ADD: lambda s, w, x: x[0] + x[1],
    Kind.SUB: lambda s, w, x: x[0] - x[1],
    Kind.MUL: lambda s, w, x: x[0] * x[1],
    Kind.POWER: lambda s, w, x: x[0] ** int(s.number),
    Kind.WORD: lambda s, w, x: FUNCTIONS[s.word](x[0]),
    Kind.SUM: lambda s, w, x: jnp.sum(x[0], keepdims=True),
    Kind.SPREAD: lambda s, w, x: jnp.broadcast_to(x[0], (s.size,)),
}


@dataclass(frozen=True)
class Energy:
    """A scalar function of flat run-time vectors: the result of step `result`, None for zero."""

    inputs: int
    steps: tuple[Step, ...]
    result: int | None

    def __call__(self, coefficients: Mapping[str, jax.Array], *inputs: jax.Array) -> jax.Array:
        """The energy at `inputs`, a scalar."""
        if self.result is None:
            return jnp.zeros(())
        values: list[Any] = list(inputs)
        for step in self.steps:
            w = coefficients[step.coefficient] if step.coefficient else None
            values.append(RULES[step.kind](step, w, [values[a] for a in step.args]))
        return jnp.sum(values[self.result])


@dataclass(frozen=True, eq=False)
class Plan:
    """How a unit's leaves become coefficients, and its two energies in terms of them."""

    leaves: int
    host: tuple[HostStep, ...]
    coefficients: tuple[tuple[str, int], ...]  # name and host value
    learned: frozenset[str]  # names of those that depend on parameters; the others never change
    potential: Energy  # of q, u
    kinetic: Energy  # of p

    def fold(self, unit: Any) -> CanonicalUnit:
        """The unit's coefficients; differentiable in its leaves."""
        values: list[Any] = list(jax.tree.leaves(unit))
        for step in self.host:
            values.append(step.evaluate(*(values[a] for a in step.args))[step.index])
        used = {name: values[index] for name, index in self.coefficients}
        return CanonicalUnit(used, self)


@jax.tree_util.register_pytree_with_keys_class
class CanonicalUnit:
    """A unit as the compiler sees it: coefficients by name, energies like a Hamiltonian's."""

    def __init__(self, coefficients: Mapping[str, jax.Array], plan: Plan):
        self.coefficients, self.plan = dict(coefficients), plan

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        """V(q [m], u [H]) -> scalar."""
        return self.plan.potential(self.coefficients, q, u)

    def kinetic(self, p: jax.Array) -> jax.Array:
        """T(p [m]) -> scalar."""
        return self.plan.kinetic(self.coefficients, p)

    def tree_flatten_with_keys(self) -> tuple[Any, Any]:
        names = tuple(self.coefficients)
        children = [(jax.tree_util.DictKey(n), self.coefficients[n]) for n in names]
        return children, (names, self.plan)

    @classmethod
    def tree_unflatten(cls, auxiliary: tuple[tuple[str, ...], Plan], children: Sequence[Any]):  # type: ignore[no-untyped-def]
        names, plan = auxiliary
        unit = cls.__new__(cls)
        unit.coefficients, unit.plan = dict(zip(names, children, strict=True)), plan
        return unit
