"""What each JAX primitive of an energy becomes: one entry a primitive, in RULES.

A primitive not named here is refused with the user's line. Where JAX offers one function in many
pieces (log(cosh(x)), log(1 + exp(x))), a rule recognises it: its word differentiates better.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from echoloom.frontend.canonical.builder import Builder, Host, Operand, Run
from echoloom.frontend.canonical.plan import Kind
from echoloom.frontend.jaxpr import Equation
from echoloom.ir.parity import Parity

Rule = Callable[[Builder, Equation, list[Any]], list[Operand]]


def _sum(b: Builder, x: Operand, y: Operand) -> Operand:
    if isinstance(x, Host):
        x, y = y, x
    assert isinstance(x, Run)
    if isinstance(y, Host):
        return b.plus(x, y)
    shape = np.broadcast_shapes(x.shape, y.shape)
    return b.add(b.spread(x, shape), b.spread(y, shape))


def _difference(b: Builder, x: Operand, y: Operand) -> Operand:
    if isinstance(y, Host):
        return _sum(b, x, b.one(jnp.negative, y))
    if isinstance(x, Host):
        return _sum(b, b.factor(y, -1.0), x)
    shape = np.broadcast_shapes(x.shape, y.shape)
    return b.sub(b.spread(x, shape), b.spread(y, shape))


def _product(b: Builder, x: Operand, y: Operand) -> Operand:
    if isinstance(x, Host):
        x, y = y, x
    assert isinstance(x, Run)
    if isinstance(y, Host):
        return b.times(x, y)
    shape = np.broadcast_shapes(x.shape, y.shape)
    return b.mul(b.spread(x, shape), b.spread(y, shape))


def _quotient(b: Builder, x: Operand, y: Operand) -> Operand:
    if isinstance(y, Run):
        return _product(b, x, b.word("reciprocal", y))
    if (y.value == 0.0).any():
        raise b.refuse(
            "it divides by a parameter that is zero",
            "write the parameter as jax.nn.softplus(raw) or jnp.exp(raw), which is never zero",
        )
    return _product(b, x, b.one(lambda v: 1.0 / v, y))


def _power(b: Builder, x: Operand, exponent: float) -> Operand:
    assert isinstance(x, Run)
    whole = round(exponent)
    if exponent == whole:
        if whole == 0:
            return b.fixed(np.ones(x.shape))
        if whole < 0:
            return b.power(b.word("reciprocal", x), -whole)
        return b.power(x, whole)
    if exponent == 0.5:
        return b.word("sqrt", x)
    if exponent == -0.5:
        return b.word("rsqrt", x)
    if exponent == 1.5:
        return b.mul(x, b.word("sqrt", x))
    raise b.refuse(
        f"x ** {exponent:g} has no form in fabric",
        "use whole powers, sqrt, or jnp.exp(c * jnp.log(x)) for x with a declared range",
    )


def _pow(b: Builder, e: Equation, x: list[Any]) -> list[Operand]:
    if isinstance(x[0], Host) and (x[0].value > 0.0).all():
        return [b.word("exp", _run(_product(b, b.one(jnp.log, x[0]), x[1])))]
    exponent = x[1].number if isinstance(x[1], Host) else None
    if exponent is None or isinstance(x[0], Host):
        raise b.refuse(
            "a power with an exponent that is not a fixed number has no form in fabric",
            "write jnp.exp(y * jnp.log(x)) for x with a declared range",
        )
    return [_power(b, x[0], exponent)]


def _absolute(b: Builder, x: Run) -> Run:
    twice = b.factor(b.word("relu", x), 2.0)
    result = b.sub(twice, x)
    parity = Parity.EVEN if x.facts.parity in (Parity.ODD, Parity.EVEN) else x.facts.parity
    bounds = (0.0, max(abs(x.facts.lo), abs(x.facts.hi)))
    known = type(x.facts)(*bounds, parity, x.facts.inputs)
    b.facts[result.index] = known
    return Run(result.index, result.shape, known)


def _largest(b: Builder, x: Operand, y: Operand) -> Operand:
    """max(x, y) = y + relu(x - y)."""
    if isinstance(x, Host):
        x, y = y, x
    rise = b.word("relu", _run(_difference(b, x, y)))
    return _bounded(b, _sum(b, rise, y), max(_lo(x), _lo(y)), max(_hi(x), _hi(y)))


def _smallest(b: Builder, x: Operand, y: Operand) -> Operand:
    """min(x, y) = y - relu(y - x)."""
    if isinstance(x, Host):
        x, y = y, x
    drop = b.word("relu", _run(_difference(b, y, x)))
    return _bounded(b, _difference(b, y, drop), min(_lo(x), _lo(y)), min(_hi(x), _hi(y)))


def _run(x: Operand) -> Run:
    assert isinstance(x, Run)
    return x


def _lo(x: Operand) -> float:
    return float(x.value.min()) if isinstance(x, Host) else x.facts.lo


def _hi(x: Operand) -> float:
    return float(x.value.max()) if isinstance(x, Host) else x.facts.hi


def _bounded(b: Builder, x: Operand, lo: float, hi: float) -> Run:
    x = _run(x)
    known = type(x.facts)(lo, hi, x.facts.parity, x.facts.inputs)
    b.facts[x.index] = known
    return Run(x.index, x.shape, known)


def _clamp(b: Builder, e: Equation, x: list[Any]) -> list[Operand]:
    return [_smallest(b, _largest(b, x[1], x[0]), x[2])]


def _log(b: Builder, e: Equation, x: list[Any]) -> list[Operand]:
    before = b.steps[x[0].index - b.inputs] if x[0].index >= b.inputs else None
    if before is not None and before.word == "cosh":
        return [b.word("log_cosh", _earlier(b, before.args[0], x[0].shape))]
    if before is not None and before.kind is Kind.OFFSET and before.number == 1.0:
        inner = b.steps[before.args[0] - b.inputs] if before.args[0] >= b.inputs else None
        if inner is not None and inner.word == "exp":
            return [b.word("softplus", _earlier(b, inner.args[0], x[0].shape))]
    return [b.word("log", x[0])]


def _earlier(b: Builder, index: int, shape: tuple[int, ...]) -> Run:
    return Run(index, shape, b.facts[index])


def _log1p(b: Builder, e: Equation, x: list[Any]) -> list[Operand]:
    return _log(b, e, [b.offset(x[0], 1.0)])


def _log_add_exp(b: Builder, e: Equation, x: list[Any]) -> list[Operand]:
    """log(exp(x) + exp(y)) = y + softplus(x - y)."""
    return [_sum(b, b.word("softplus", _run(_difference(b, x[0], x[1]))), x[1])]


def _word(name: str) -> Rule:
    return lambda b, e, x: [b.word(name, x[0])]


def _truth(b: Builder, x: Run) -> Run:
    return Run(x.index, x.shape, x.facts, truth=True)


def _compare(swap: bool, strict: bool) -> Rule:
    """x > y and its kin as ones and zeros."""

    def rule(b: Builder, e: Equation, x: list[Any]) -> list[Operand]:
        left, right = x[::-1] if swap != strict else x
        at_least = b.word("unit_step", _run(_difference(b, left, right)))
        if strict:  # x > y is not (y >= x)
            at_least = b.offset(b.factor(at_least, -1.0), 1.0)
        return [_truth(b, at_least)]

    return rule


def _equal(b: Builder, e: Equation, x: list[Any]) -> list[Operand]:
    raise b.refuse(
        "equality of run-time numbers has no form in fabric",
        "compare with < or >= instead",
    )


def _both(b: Builder, e: Equation, x: list[Any]) -> list[Operand]:
    return [_truth(b, _run(_product(b, x[0], x[1])))]


def _either(b: Builder, e: Equation, x: list[Any]) -> list[Operand]:
    return [_truth(b, _run(_difference(b, _sum(b, x[0], x[1]), _product(b, x[0], x[1]))))]


def _not(b: Builder, e: Equation, x: list[Any]) -> list[Operand]:
    return [_truth(b, b.offset(b.factor(x[0], -1.0), 1.0))]


def _select(b: Builder, e: Equation, x: list[Any]) -> list[Operand]:
    """where(c, y, n) = n + c (y - n); JAX lists the false case first."""
    chosen, no, yes = x[0], x[1], x[2]
    if isinstance(chosen, Host):
        if chosen.parameter:
            raise b.refuse(
                "a choice made by a parameter's value has no gradient",
                "choose by the state or the input, or in plain Python",
            )
        mask = b.fixed(chosen.value.astype(np.float64))
        rest = b.fixed(1.0 - mask.value)
        return [_sum(b, _scaled(b, yes, mask), _scaled(b, no, rest))]
    if not chosen.truth or len(x) != 3:
        raise b.refuse("this selection is not between two cases", "use jnp.where with a comparison")
    if isinstance(yes, Host) and isinstance(no, Host):
        gap: Operand = b.one(jnp.subtract, yes, no)
    else:
        gap = _difference(b, yes, no)
    return [_sum(b, _product(b, chosen, gap), no)]


def _scaled(b: Builder, x: Operand, mask: Host) -> Operand:
    return b.one(jnp.multiply, x, mask) if isinstance(x, Host) else b.times(x, mask)


def _affine(b: Builder, e: Equation, x: list[Any]) -> list[Operand]:
    """A primitive that is linear in its run-time operands: each becomes a product by a matrix."""
    results: list[Operand] = []
    runs = [i for i, v in enumerate(x) if isinstance(v, Run)]
    hosts = [v for v in x if isinstance(v, Host)]

    def apply(run_values: dict[int, Any], host_values: list[Any]) -> list[Any]:
        rest = iter(host_values)
        return e.evaluate(
            *(run_values[i] if i in run_values else next(rest) for i in range(len(x)))
        )

    zeros = {i: np.zeros(x[i].shape) for i in runs}
    still = [v.value for v in hosts]
    base = b.compute(lambda *values: apply(zeros, list(values)), hosts)
    for k, shape in enumerate(e.shapes):
        total: Operand | None = None
        for i in runs:
            basis = np.eye(x[i].size).reshape(-1, *x[i].shape)

            def column(one: Any, i: int = i, k: int = k) -> Any:
                return apply({**zeros, i: one}, still)[k].reshape(-1)

            columns = np.asarray(jax.vmap(column, out_axes=1)(jnp.asarray(basis)), np.float64)
            matrix = b.fixed(columns - base[k].value.reshape(-1, 1))
            if not matrix.value.any():
                continue
            part = b.matrix(matrix, x[i], shape)
            total = part if total is None else _sum(b, total, part)
        if total is None:
            results.append(base[k])
        elif base[k].number == 0.0:
            results.append(total)
        else:
            results.append(_sum(b, total, base[k]))
    return results


def _dot(b: Builder, e: Equation, x: list[Any]) -> list[Operand]:
    (contract_a, contract_b), (batch_a, batch_b) = e.params["dimension_numbers"]
    shape = e.shapes[0]
    for side, (run, host) in enumerate(((x[1], x[0]), (x[0], x[1]))):
        if isinstance(host, Run):
            continue
        axes = (contract_a, contract_b)[side]
        plain = len(host.shape) == 2 and len(run.shape) == 1 and len(axes) == 1
        if plain and axes[0] == 1:
            return [b.matrix(host, run, shape)]
        if plain:
            return [b.transposed(host, run, shape)]

        def build(w: Any, run: Run = run, side: int = side) -> Any:
            basis = jnp.eye(run.size).reshape(-1, *run.shape)
            flip = (lambda one: e.evaluate(one, w)) if side else (lambda one: e.evaluate(w, one))
            return jax.vmap(lambda one: flip(one)[0].reshape(-1), out_axes=1)(basis)

        return [b.matrix(b.one(build, host), run, shape)]
    left, right = x
    joint = _Joint(left.shape, right.shape, contract_a, contract_b, batch_a, batch_b)
    spread = [
        b.matrix(b.fixed(_selection(joint.shape, axes, v.shape)), v, joint.shape)
        for v, axes in ((left, joint.left), (right, joint.right))
    ]
    product = b.mul(spread[0], spread[1])
    kept = _selection(joint.shape, joint.result, shape).T
    return [b.matrix(b.fixed(kept), product, shape)]


class _Joint:
    """The index space of a dot product of two run-time tensors, and each tensor's axes in it."""

    def __init__(
        self, a: Any, c: Any, contract_a: Any, contract_b: Any, batch_a: Any, batch_b: Any
    ):
        self.left = list(range(len(a)))
        free = [i for i in range(len(c)) if i not in (*contract_b, *batch_b)]
        paired = dict(zip((*contract_b, *batch_b), (*contract_a, *batch_a), strict=True))
        place = {i: len(a) + k for k, i in enumerate(free)}
        self.right = [paired.get(i, place.get(i, 0)) for i in range(len(c))]
        self.shape = (*a, *(c[i] for i in free))
        own = [i for i in range(len(a)) if i not in (*contract_a, *batch_a)]
        self.result = [*batch_a, *own, *(place[i] for i in free)]


def _selection(joint: tuple[int, ...], axes: list[int], shape: tuple[int, ...]) -> np.ndarray:
    """0/1 matrix [joint size, size]: the element of a tensor at every joint index."""
    grid = np.indices(joint).reshape(len(joint), -1)
    index = np.zeros(grid.shape[1], int)
    for axis, extent in zip(axes, shape, strict=True):
        index = index * extent + grid[axis]
    return np.eye(int(np.prod(shape)))[index]


def _refused(problem: str, advice: str) -> Rule:
    def rule(b: Builder, e: Equation, x: list[Any]) -> list[Operand]:
        raise b.refuse(problem, advice)

    return rule


_LOOP = (
    "a loop ({0}) has no form in a static schedule, whose length must not depend on data",
    "write a Python loop with a fixed count, which unrolls while tracing",
)
_EXTREME = (
    "{0} over an axis has no form in fabric",
    "use a smooth sum such as jnp.mean(jnp.exp(x)), or jnp.maximum of two slices",
)

RULES: Mapping[str, Rule] = {
    "add": lambda b, e, x: [_sum(b, *x)],
    "add_any": lambda b, e, x: [_sum(b, *x)],
    "sub": lambda b, e, x: [_difference(b, *x)],
    "neg": lambda b, e, x: [b.factor(x[0], -1.0)],
    "mul": lambda b, e, x: [_product(b, *x)],
    "div": lambda b, e, x: [_quotient(b, *x)],
    "square": lambda b, e, x: [b.power(x[0], 2)],
    "integer_pow": lambda b, e, x: [_power(b, x[0], e.params["y"])],
    "pow": _pow,
    "dot_general": _dot,
    "exp": _word("exp"),
    "exp2": lambda b, e, x: [b.word("exp", b.factor(x[0], float(np.log(2.0))))],
    "expm1": lambda b, e, x: [b.offset(b.word("exp", x[0]), -1.0)],
    "log": _log,
    "log1p": _log1p,
    "tanh": _word("tanh"),
    "logistic": _word("sigmoid"),
    "sin": _word("sin"),
    "cos": _word("cos"),
    "sinh": _word("sinh"),
    "cosh": _word("cosh"),
    "erf": _word("erf"),
    "sqrt": _word("sqrt"),
    "rsqrt": _word("rsqrt"),
    "abs": lambda b, e, x: [_absolute(b, x[0])],
    "sign": lambda b, e, x: [b.offset(b.factor(b.word("unit_step", x[0]), 2.0), -1.0)],
    "max": lambda b, e, x: [_largest(b, *x)],
    "min": lambda b, e, x: [_smallest(b, *x)],
    "clamp": _clamp,
    "ge": _compare(swap=False, strict=False),
    "le": _compare(swap=True, strict=False),
    "gt": _compare(swap=False, strict=True),
    "lt": _compare(swap=True, strict=True),
    "eq": _equal,
    "ne": _equal,
    "logaddexp": _log_add_exp,
    "and": _both,
    "or": _either,
    "not": _not,
    "select_n": _select,
    "convert_element_type": lambda b, e, x: [x[0]],
    "copy": lambda b, e, x: [x[0]],
    **dict.fromkeys(
        (
            "broadcast_in_dim", "concatenate", "cumsum", "dynamic_slice", "dynamic_update_slice",
            "expand_dims", "gather", "pad", "reduce_sum", "reshape", "rev", "scatter",
            "scatter-add", "slice", "split", "squeeze", "transpose",
        ),
        _affine,
    ),
    **{name: _refused(_LOOP[0].format(name), _LOOP[1]) for name in ("while", "scan", "cond")},
    **{
        name: _refused(_EXTREME[0].format(name), _EXTREME[1])
        for name in ("reduce_max", "reduce_min", "argmax", "argmin", "sort")
    },
    "stop_gradient": _refused(
        "stop_gradient cuts the force out of the energy, so the two no longer belong together",
        "leave it out: a force is always the whole derivative of the potential",
    ),
    "custom_vjp_call": _refused(
        "a custom_vjp function has a derivative that is not its own, so its force has no energy",
        "write the function in plain operations",
    ),
}  # fmt: skip
