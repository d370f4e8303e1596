"""An energy in canonical form: flat vectors, named coefficients, a dozen kinds of steps.

Whatever depends on parameters alone is *folded* on the host (`Plan.fold`): exp(raw), c / w, K + K.T
become coefficients of their own, and JAX chains their gradients back. What is left at run time is
what an engine has instructions for: products by coefficients, sums, products, functions by table.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp

from echoloom.frontend.energy.folding import HostExpression, evaluate
from echoloom.frontend.energy.jaxpr import NamedKey
from echoloom.frontend.energy.vocabulary import FUNCTIONS, RELUS, SLOPES, relu_beside, unit_step
from echoloom.ir import functions
from echoloom.ir.functions import Corner


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
    CORNER = "corner"  # max(x, 0), whose slope at 0 is n
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

    @property
    def cornered(self) -> bool:
        """Whether its slope, or itself, jumps at 0."""
        jumps = self.word and functions.FUNCTIONS[self.word].corner is Corner.JUMP
        return self.kind is Kind.CORNER or bool(jumps)


STEP_VALUES: Mapping[Kind, Callable[[Step, Any, list[Any]], Any]] = {
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
    Kind.CORNER: lambda s, w, x: RELUS[s.number](x[0]),
    Kind.SUM: lambda s, w, x: jnp.sum(x[0], keepdims=True),
    Kind.SPREAD: lambda s, w, x: jnp.broadcast_to(x[0], (s.size,)),
}


@dataclass(frozen=True)
class Energy:
    """A scalar function of flat run-time vectors: the result of step `result`, None for zero.

    Where the first input meets a corner, `sides` says which side the energy is on. Given the sides
    of one place it can be evaluated at another, as if what it is there went on for ever.
    """

    inputs: int
    steps: tuple[Step, ...]
    result: int | None

    def __str__(self) -> str:
        """A line for every step that is not an input: its number, what it does and its length."""
        lines = (
            " ".join(map(str, filter(None, (
                f"  {number} =", s.kind.value, s.word, *map(str, s.args), s.coefficient,
                s.number, f": [{s.size}]",
            ))))
            for number, s in enumerate(self.steps, self.inputs)
        )  # fmt: skip
        return "\n".join((*lines, f"  result {self.result}"))

    def __call__(
        self,
        coefficients: Mapping[str, jax.Array],
        *inputs: jax.Array,
        sides: Sequence[jax.Array] | None = None,
    ) -> jax.Array:
        """The energy at `inputs`, a scalar; on the sides given, or on those of `inputs`."""
        if self.result is None:
            return jnp.zeros(())
        return jnp.sum(self._values(coefficients, inputs, sides)[self.result])

    def sides(
        self, coefficients: Mapping[str, jax.Array], *inputs: jax.Array
    ) -> tuple[jax.Array, ...]:
        """The slopes that JAX gives to every corner of `corners` at `inputs`: 0, 1/2 or 1."""
        values = self._values(coefficients, inputs) if self.corners else []
        steps = [self.steps[i - self.inputs] for i in self.corners]
        return tuple(_side(step)(values[step.args[0]]) for step in steps)

    @cached_property
    def corners(self) -> tuple[int, ...]:
        """The values that take a side of a corner by the first input."""
        reached, found = {0}, []
        for number, step in enumerate(self.steps, self.inputs):
            if not reached.isdisjoint(step.args):
                reached.add(number)
                if step.cornered:
                    found.append(number)
        return tuple(found)

    @cached_property
    def _bounding(self) -> frozenset[int]:
        """The values of which functions with a pole are made: a corner there keeps them off it."""
        needed: set[int] = set()
        for number, step in reversed([*enumerate(self.steps, self.inputs)]):
            if number in needed or (step.word and functions.FUNCTIONS[step.word].positive):
                needed.update(step.args)
        return frozenset(needed)

    def _values(
        self,
        coefficients: Mapping[str, jax.Array],
        inputs: Sequence[jax.Array],
        sides: Sequence[jax.Array] | None = None,
    ) -> list[Any]:
        taken = {} if sides is None else dict(zip(self.corners, sides, strict=True))
        values: list[Any] = list(inputs)
        for number, step in enumerate(self.steps, self.inputs):
            w = coefficients[step.coefficient] if step.coefficient else None
            x = [values[a] for a in step.args]
            if number not in taken:
                values.append(STEP_VALUES[step.kind](step, w, x))
            elif step.kind is not Kind.CORNER:
                values.append(taken[number])
            elif number in self._bounding:
                values.append(relu_beside(x[0], taken[number]))
            else:
                values.append(taken[number] * x[0])
        return values


def _side(step: Step) -> Callable[[jax.Array], jax.Array]:
    return SLOPES[step.number] if step.kind is Kind.CORNER else unit_step


@dataclass(frozen=True, eq=False)
class Plan:
    """How a unit's leaves become coefficients, and its two energies in terms of them."""

    host: tuple[HostExpression, ...]  # host values; a leaf of the unit is called by its number
    coefficients: tuple[tuple[str, int], ...]  # name and host value
    learned: frozenset[str]  # names of those that depend on parameters; the others never change
    potential: Energy  # of q, u
    kinetic: Energy  # of p

    def __str__(self) -> str:
        names = (n if n in self.learned else f"{n} (fixed)" for n, _ in self.coefficients)
        return (
            f"coefficients {', '.join(names)}; {len(self.host)} steps on the host\n"
            f"potential of 0 = q, 1 = u\n{self.potential}\nkinetic of 0 = p\n{self.kinetic}"
        )

    def fold(self, unit: Any) -> CanonicalUnit:
        """The unit's coefficients; differentiable in its leaves."""
        values = evaluate(self.host, dict(enumerate(jax.tree.leaves(unit))))
        used = {name: values[index] for name, index in self.coefficients}
        return CanonicalUnit(used, self)


@jax.tree_util.register_pytree_with_keys_class
class CanonicalUnit:
    """A unit as the compiler sees it: coefficients by name, energies like a Hamiltonian's."""

    def __init__(self, coefficients: Mapping[str, jax.Array], plan: Plan):
        self.coefficients, self.plan = dict(coefficients), plan

    def potential(
        self, q: jax.Array, u: jax.Array, sides: Sequence[jax.Array] | None = None
    ) -> jax.Array:
        """V(q [m], u [H]) -> scalar; on the sides of its corners that are given, or on q's own."""
        return self.plan.potential(self.coefficients, q, u, sides=sides)

    def sides(self, q: jax.Array, u: jax.Array) -> tuple[jax.Array, ...]:
        """Of V's corners in q, in a fixed order."""
        return self.plan.potential.sides(self.coefficients, q, u)

    def kinetic(self, p: jax.Array) -> jax.Array:
        """T(p [m]) -> scalar."""
        return self.plan.kinetic(self.coefficients, p)

    def tree_flatten_with_keys(self) -> tuple[Any, Any]:
        names = tuple(self.coefficients)
        children = [(NamedKey(n), self.coefficients[n]) for n in names]
        return children, (names, self.plan)

    @classmethod
    def tree_unflatten(cls, auxiliary: tuple[tuple[str, ...], Plan], children: Sequence[Any]):  # type: ignore[no-untyped-def]
        names, plan = auxiliary
        unit = cls.__new__(cls)
        unit.coefficients, unit.plan = dict(zip(names, children, strict=True)), plan
        return unit
