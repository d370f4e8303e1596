"""Collects the host and run-time steps of one energy while its jaxpr is interpreted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from echoloom.frontend.energy.canonical import facts
from echoloom.frontend.energy.canonical.facts import Facts
from echoloom.frontend.energy.canonical.plan import Kind, Step
from echoloom.frontend.energy.folding import HostExpression
from echoloom.ir.functions import FUNCTIONS


class Untraceable(ValueError):
    """A function uses something that the IR cannot say or learning cannot run backwards."""


class NoForm(Untraceable):
    """Floats could run and learn it, but fabric has nothing to make it of."""


@dataclass(frozen=True, eq=False)
class Host:
    """A value known before the run: number `index` of the host values, and what it is now."""

    index: int
    value: np.ndarray
    parameter: bool

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @property
    def number(self) -> float | None:
        """The value of all elements, where it is one fixed number."""
        flat = self.value.reshape(-1)
        if self.parameter or flat.size == 0 or (flat != flat[0]).any():
            return None
        return float(flat[0])


@dataclass(frozen=True)
class Run:
    """A run-time vector: number `index` of the steps' values; `shape` is what JAX sees."""

    index: int
    shape: tuple[int, ...]
    facts: Facts

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    def shaped(self, shape: tuple[int, ...]) -> Run:
        return replace(self, shape=tuple(shape))


Operand = Host | Run


class Names:
    """Names for what is folded (`folded.<number>`) and for fixed numbers (`constant.<number>`).

    No path of the user's begins with either word: where one would, as that of a field `folded`
    does, the word gets underscores until it is free.
    """

    def __init__(self, paths: Iterable[str]):
        taken = {path.split(".")[0] for path in paths}
        self._folded, self._fixed = (_free(word, taken) for word in ("folded", "constant"))
        self._counts: Counter[str] = Counter()

    def fold(self) -> str:
        """The next name of a coefficient that is computed from parameters."""
        return self._next(self._folded)

    def fix(self) -> str:
        """The next name of a fixed number."""
        return self._next(self._fixed)

    def _next(self, word: str) -> str:
        self._counts[word] += 1
        return f"{word}.{self._counts[word] - 1}"


def _free(word: str, taken: set[str]) -> str:
    while word in taken:
        word += "_"
    return word


@dataclass
class Builder:
    """Host values are shared by both energies of a unit, run-time steps belong to one."""

    unit: str
    leaf_names: dict[int, str]  # of the leaves that may be coefficients as they are
    own: Names
    host: list[HostExpression] = field(default_factory=list)
    coefficients: dict[str, Host] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    facts: list[Facts] = field(default_factory=list)
    inputs: int = 0
    where: str = ""
    what: str = ""
    _constants: dict[object, Host] = field(default_factory=dict)

    def refuse(self, problem: str, advice: str) -> Untraceable:
        """The refusal of what no machine could learn by an echo, or even evaluate."""
        return Untraceable(self._sentence(problem, advice))

    def no_form(self, problem: str, advice: str) -> NoForm:
        """The refusal of what only fabric cannot do."""
        return NoForm(self._sentence(problem, advice))

    def _sentence(self, problem: str, advice: str) -> str:
        return f"{self.unit}.{self.what} at {self.where}: {problem}; {advice}."

    # Host values

    def fixed(self, value: Any) -> Host:
        """A number or array written into the function."""
        array = np.asarray(value)
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self.folded(HostExpression(key, (), lambda: array), array, False)
        return self._constants[key]

    def compute(self, function: Callable[..., list[Any]], args: Sequence[Host]) -> list[Host]:
        """Host arithmetic on host values."""
        if not any(a.parameter for a in args):
            return [self.fixed(v) for v in function(*(a.value for a in args))]
        operands = tuple(self.host[a.index] for a in args)

        def result(k: int, value: Any) -> Host:
            own = HostExpression(object(), operands, lambda *values: function(*values)[k])
            return self.folded(own, np.asarray(value), True)

        return [result(*r) for r in enumerate(function(*(jnp.asarray(a.value) for a in args)))]

    def one(self, function: Callable[..., Any], *args: Host) -> Host:
        return self.compute(lambda *values: [function(*values)], args)[0]

    def folded(self, expression: HostExpression, value: np.ndarray, parameter: bool) -> Host:
        """The next host value."""
        self.host.append(expression)
        return Host(len(self.host) - 1, value, parameter)

    def coefficient(self, host: Host) -> str:
        """Name under which the engine holds a host value."""
        self._check_finite(host)
        for name, other in self.coefficients.items():
            if other.index == host.index:
                return name
        if host.index in self.leaf_names:
            name = self.leaf_names[host.index]
        else:
            name = self.own.fold() if host.parameter else self.own.fix()
        self.coefficients[name] = host
        return name

    def _check_finite(self, host: Host) -> None:
        bad = host.value[~np.isfinite(host.value)]
        if bad.size:
            origin = "computes from parameters" if host.parameter else "holds"
            raise self.refuse(
                f"a number that it {origin} is {bad[0]:g}, which no word of the fabric can hold",
                "keep every number finite, for instance with jax.nn.softplus(raw) under a log or a "
                "root",
            )

    # Run-time values

    def put(
        self,
        kind: Kind,
        *args: Run,
        known: Facts,
        shape: tuple[int, ...] | None = None,
        coefficient: Host | None = None,
        number: float = 0.0,
        word: str = "",
    ) -> Run:
        name = "" if coefficient is None else self.coefficient(coefficient)
        shape = args[0].shape if shape is None else shape
        size = int(np.prod(shape))
        step = Step(kind, tuple(a.index for a in args), size, name, number, word, self.where)
        self.steps.append(step)
        self.facts.append(known)
        return Run(self.inputs + len(self.steps) - 1, tuple(shape), known)

    def input(self, name: str, shape: tuple[int, ...], known: Facts) -> Run:
        self.inputs += 1
        self.facts.append(known)
        return Run(self.inputs - 1, shape, known)

    def spread(self, a: Run, shape: tuple[int, ...]) -> Run:
        """`a` broadcast to `shape`."""
        if a.size == int(np.prod(shape)):
            return a.shaped(shape)
        if a.size == 1:
            return self.put(Kind.SPREAD, a, known=a.facts, shape=shape)
        index = np.broadcast_to(np.arange(a.size).reshape(a.shape), shape).reshape(-1)
        return self.matrix(self.fixed(np.eye(a.size)[index]), a, shape)

    def factor(self, a: Run, number: float) -> Run:
        if number == 1.0:
            return a
        bounds = facts.product(a.facts, facts.of_constant(np.array([number])))
        return self.put(Kind.FACTOR, a, known=bounds, number=number)

    def add(self, x: Operand, y: Operand) -> Run:
        """x + y, of which one at least is a run-time value; shapes broadcast, as below."""
        if isinstance(x, Host):
            x, y = y, x
        assert isinstance(x, Run)
        if isinstance(y, Host):
            return self.plus(x, y)
        x, y = self._alike(x, y)
        return self.put(Kind.ADD, x, y, known=facts.total(x.facts, y.facts))

    def sub(self, x: Operand, y: Operand) -> Run:
        if isinstance(y, Host):
            return self.add(x, self.one(jnp.negative, y))
        if isinstance(x, Host):
            return self.add(self.factor(y, -1.0), x)
        x, y = self._alike(x, y)
        return self.put(Kind.SUB, x, y, known=facts.total(x.facts, facts.negative(y.facts)))

    def mul(self, x: Operand, y: Operand) -> Run:
        if isinstance(x, Host):
            x, y = y, x
        assert isinstance(x, Run)
        if isinstance(y, Host):
            return self.times(x, y)
        x, y = self._alike(x, y)
        if x.index == y.index:
            return self.power(x, 2)
        return self.put(Kind.MUL, x, y, known=facts.product(x.facts, y.facts))

    def _alike(self, x: Run, y: Run) -> tuple[Run, Run]:
        shape = np.broadcast_shapes(x.shape, y.shape)
        return self.spread(x, shape), self.spread(y, shape)

    def real(self, x: Operand) -> Operand:
        """A fixed mask of truths as ones and zeros."""
        if isinstance(x, Host) and x.value.dtype == np.bool_:
            return self.one(lambda v: jnp.asarray(v, jnp.float64), x)
        return x

    def power(self, a: Run, exponent: int) -> Run:
        if exponent == 1:
            return a
        known = facts.power(a.facts, exponent)
        return self.put(Kind.POWER, a, known=known, number=exponent)

    def offset(self, a: Run, number: float) -> Run:
        if number == 0.0:
            return a
        known = facts.total(a.facts, facts.of_constant(np.array([number])))
        return self.put(Kind.OFFSET, a, known=known, number=number)

    def plus(self, a: Run, host: Host) -> Run:
        """a + host, shapes broadcast."""
        shape = np.broadcast_shapes(a.shape, host.shape)
        a = self.spread(a, shape)
        self._check_finite(host)
        if host.number is not None:
            return self.offset(a, host.number)
        flat = self._flat(host, shape)
        known = facts.total(a.facts, facts.of_constant(host.value))
        return self.put(Kind.PLUS, a, known=known, coefficient=flat)

    def times(self, a: Run, host: Host) -> Run:
        """host * a, shapes broadcast."""
        shape = np.broadcast_shapes(a.shape, host.shape)
        a = self.spread(a, shape)
        self._check_finite(host)
        if host.number is not None:
            return self.factor(a, host.number)
        flat = self._flat(host, shape)
        known = facts.product(a.facts, facts.of_constant(host.value))
        return self.put(Kind.TIMES, a, known=known, coefficient=flat)

    def _flat(self, host: Host, shape: tuple[int, ...]) -> Host:
        if len(shape) == 1 and host.shape == shape:
            return host
        return self.one(lambda v: jnp.broadcast_to(v, shape).reshape(-1), host)

    def matrix(self, host: Host, a: Run, shape: tuple[int, ...]) -> Run:
        """host [size of `shape`, size of a] @ a."""
        self._check_finite(host)
        value = host.value
        if not host.parameter:
            if value.shape[0] == value.shape[1] and (value == np.eye(len(value))).all():
                return a.shaped(shape)
            if value.shape[1] == 1 and (value == 1.0).all():
                return self.spread(a, shape)
            if value.shape[0] == 1 and (value == 1.0).all():
                return self.put(Kind.SUM, a, known=facts.linear(value, a.facts), shape=shape)
        known = facts.linear(value, a.facts)
        return self.put(Kind.MATRIX, a, known=known, shape=shape, coefficient=host)

    def transposed(self, host: Host, a: Run, shape: tuple[int, ...]) -> Run:
        """host.T @ a, with the matrix held as it is."""
        self._check_finite(host)
        known = facts.linear(host.value.T, a.facts)
        return self.put(Kind.TRANSPOSED, a, known=known, shape=shape, coefficient=host)

    def corner(self, a: Run, slope: float) -> Run:
        """max(a, 0), whose slope at the corner is 0, 1/2 or 1."""
        return self.put(Kind.CORNER, a, known=facts.word("relu", a.facts), number=slope)

    def word(self, name: str, a: Run) -> Run:
        """A function of the vocabulary."""
        function = FUNCTIONS[name]
        if function.positive and not a.facts.lo > 0.0:
            raise self.no_form(
                f"{function.written or f'{name}(x)'} has an argument that is only known to lie in "
                f"[{a.facts.lo:g}, {a.facts.hi:g}], so the energy or its slope is infinite there "
                "and no table can hold it",
                "declare the range with jnp.maximum(x, 0.01) or jnp.clip, or add a positive number",
            )
        return self.put(Kind.WORD, a, known=facts.word(name, a.facts), word=name)
