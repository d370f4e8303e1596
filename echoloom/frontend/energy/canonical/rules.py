"""What each JAX primitive of an energy becomes: one entry a primitive, in PRIMITIVES.

A primitive not named here is refused with the user's line. Where JAX offers one function in many
pieces (log(cosh(x)), log(1 + exp(x))), a rule recognises it: its word differentiates better.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from echoloom.frontend.energy.canonical import facts
from echoloom.frontend.energy.canonical.affine import INDEXED, affine, dot, indexed
from echoloom.frontend.energy.canonical.builder import Builder, Host, Operand, Run
from echoloom.frontend.energy.canonical.plan import Kind
from echoloom.frontend.energy.jaxpr import Equation
from echoloom.ir.functions import OPERATIONS
from echoloom.ir.parity import Parity

Rule = Callable[[Builder, Equation, list[Any]], list[Operand]]

# Operations that hand their operands on, whatever they tell a compiler or an allocator.
SAME = ("copy", "device_put", "name", "optimization_barrier", "sharding_constraint")


def _quotient(b: Builder, x: Operand, y: Operand) -> Operand:
    if isinstance(y, Run):
        return b.mul(x, b.word("reciprocal", y))
    if (y.value == 0.0).any():
        raise b.refuse(
            "it divides by a parameter that is zero",
            "write the parameter as jax.nn.softplus(raw) or jnp.exp(raw), which is never zero",
        )
    return b.mul(x, b.one(lambda v: 1.0 / v, y))


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
    raise b.no_form(
        f"x ** {exponent:g} is no product of whole powers and square roots, the powers that fabric "
        "has",
        f"use a whole power, jnp.sqrt, or jnp.exp({exponent:g} * jnp.log(x)) for x with a declared "
        "range",
    )


def _pow(b: Builder, e: Equation, x: list[Any]) -> list[Operand]:
    if isinstance(x[0], Host) and (x[0].value > 0.0).all():
        return [b.word("exp", b.mul(b.one(jnp.log, x[0]), x[1]))]
    exponent = x[1].number if isinstance(x[1], Host) else None
    if exponent is None or isinstance(x[0], Host):
        raise b.no_form(
            "the exponent of this power is not a fixed number, and only a fixed one unrolls into "
            "products",
            "write jnp.exp(y * jnp.log(x)) for x with a declared range",
        )
    return [_power(b, x[0], exponent)]


@cache
def _slope_of_abs() -> float:
    """JAX's, at 0: it has been 0 and 1."""
    return float(jax.grad(jnp.abs)(0.0))


def _absolute(b: Builder, x: Run) -> Run:
    """|x| = 2 relu(x) - x."""
    twice = b.factor(b.corner(x, 0.5 + 0.5 * _slope_of_abs()), 2.0)
    even = x.facts.parity in (Parity.ODD, Parity.EVEN)
    parity = Parity.EVEN if even else x.facts.parity
    largest = max(abs(x.facts.lo), abs(x.facts.hi))
    return _proven(b, b.sub(twice, x), lo=0.0, hi=largest, parity=parity)


def _proven(b: Builder, x: Run, **known: Any) -> Run:
    """`x`, of which more is known than its operations say."""
    b.facts[x.index] = replace(x.facts, **known)
    return replace(x, facts=b.facts[x.index])


def _sign(b: Builder, x: Run) -> Run:
    return b.sub(b.word("unit_step", x), b.word("unit_step", b.factor(x, -1.0)))


def _largest(b: Builder, x: Operand, y: Operand, slope: float = 0.5) -> Operand:
    """max(x, y) = y + relu(x - y); where they are equal its slope is shared by both."""
    if isinstance(x, Host):
        x, y = y, x
    rise = b.corner(b.sub(x, y), slope)
    (lo, hi), (other_lo, other_hi) = _ends(x), _ends(y)
    return _proven(b, b.add(rise, y), lo=max(lo, other_lo), hi=max(hi, other_hi))


def _smallest(b: Builder, x: Operand, y: Operand, slope: float = 0.5) -> Operand:
    """min(x, y) = y - relu(y - x)."""
    if isinstance(x, Host):
        x, y = y, x
    drop = b.corner(b.sub(y, x), slope)
    (lo, hi), (other_lo, other_hi) = _ends(x), _ends(y)
    return _proven(b, b.sub(y, drop), lo=min(lo, other_lo), hi=min(hi, other_hi))


def _ends(x: Operand) -> tuple[float, float]:
    known = facts.of_constant(x.value) if isinstance(x, Host) else x.facts
    return known.lo, known.hi


def _clamp(b: Builder, e: Equation, x: list[Any]) -> list[Operand]:
    """max(min(x, high), low), of which JAX lists low first, and which is level at both corners."""
    low, value, high = x
    if isinstance(value, Host) and isinstance(low, Host):
        return [_smallest(b, b.one(jnp.maximum, value, low), high)]
    return [_smallest(b, _largest(b, value, low, 0.0), high, 0.0)]


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
    return [b.add(b.word("softplus", b.sub(x[0], x[1])), x[1])]


def _word(name: str) -> Rule:
    return lambda b, e, x: [b.word(name, x[0])]


def _compare(swap: bool, strict: bool) -> Rule:
    """x > y and its kin as ones and zeros."""

    def rule(b: Builder, e: Equation, x: list[Any]) -> list[Operand]:
        left, right = x[::-1] if swap != strict else x
        at_least = b.word("unit_step", b.sub(left, right))
        if strict:  # x > y is not (y >= x)
            at_least = b.offset(b.factor(at_least, -1.0), 1.0)
        return [at_least]

    return rule


def _equal(b: Builder, e: Equation, x: list[Any]) -> list[Operand]:
    if _never_differ(x) or _never_equal(x):
        return [b.fixed(np.full(e.shapes[0], _never_differ(x) == (e.name == "eq")))]
    raise b.no_form(
        "two run-time numbers are compared for equality, which rounded words hardly ever show",
        "compare with < or >= instead, for instance jnp.abs(x - y) < 0.01",
    )


def _never_differ(x: list[Any]) -> bool:
    """One and the same, as in `jnp.isnan`: run-time numbers are finite."""
    return all(isinstance(v, Run) for v in x) and x[0].index == x[1].index


def _never_equal(x: list[Any]) -> bool:
    """A finite number and one that is not, as in `jnp.isinf`."""
    return any(isinstance(v, Host) and not np.isfinite(v.value).any() for v in x)


def _logic(rule: Callable[[Builder, list[Any]], Operand]) -> Rule:
    """A rule for outcomes of comparisons, held as ones and zeros; whole numbers are refused."""

    def checked(b: Builder, e: Equation, x: list[Any]) -> list[Operand]:
        if e.types[0] != np.bool_:
            raise b.no_form(
                f"{e.name!r} acts on the bits of whole numbers, and fabric computes with reals",
                "write it with & | ~ between comparisons, or with arithmetic",
            )
        return [rule(b, [b.real(v) for v in x])]

    return checked


def _either(b: Builder, x: list[Any]) -> Operand:
    return b.sub(b.add(x[0], x[1]), b.mul(x[0], x[1]))


def _select(b: Builder, e: Equation, x: list[Any]) -> list[Operand]:
    """where(c, y, n) = n + c (y - n); JAX lists the false case first."""
    if len(x) != 3:
        raise b.no_form(
            f"it selects among {len(x) - 1} cases, and fabric only between two",
            "use jnp.where with a comparison, one inside the other",
        )
    chosen, no, yes = x
    if isinstance(chosen, Host):
        if chosen.parameter:
            raise b.no_form(
                "a parameter's value chooses between two cases, but the circuit is made for one of "
                "them, and the choice has no gradient",
                "choose by q, u or p, or in plain Python by a static field",
            )
        return [_chosen(b, chosen.value, b.real(yes), b.real(no), e.shapes[0])]
    if isinstance(yes, Host) and isinstance(no, Host):
        gap: Operand = b.one(lambda y, n: jnp.subtract(1.0 * y, n), yes, no)
    else:
        gap = b.sub(b.real(yes), b.real(no))
    return [b.add(b.mul(chosen, gap), b.real(no))]


def _chosen(
    b: Builder, mask: np.ndarray, yes: Operand, no: Operand, shape: tuple[int, ...]
) -> Operand:
    """where(mask, yes, no) for a fixed mask; what it leaves out may be anything, nan too."""
    if mask.all() or not mask.any():
        return yes if mask.all() else no
    return b.add(_where_true(b, mask, yes), _where_true(b, ~mask, no))


def _where_true(b: Builder, mask: np.ndarray, x: Operand) -> Operand:
    if isinstance(x, Run):
        return b.times(x, b.fixed(mask.astype(np.float64)))
    kept = b.one(lambda v: jnp.where(mask, v, 0.0), x)
    if not np.isfinite(kept.value).all():
        raise b.no_form(
            "where puts numbers that are not finite in the place of some elements, and no word of "
            "the fabric can hold them",
            "put a finite number there and choose again afterwards, as in "
            "jnp.where(mask, f(jnp.where(mask, q, 0.0)), 0.0)",
        )
    return kept


def _convert(b: Builder, e: Equation, x: list[Any]) -> list[Operand]:
    old, new = e.operand_types[0], e.types[0]
    whole = not np.issubdtype(old, np.floating)  # ones and zeros, and what is counted of them
    if np.issubdtype(new, np.floating) or old == np.bool_ or (whole and new != np.bool_):
        return [x[0]]
    raise b.no_form(
        f"a run-time number is rounded to {new}, a staircase without slope",
        "stay with real numbers, and use jnp.where with a comparison to switch",
    )


PRIMITIVES: Mapping[str, Rule] = {
    **{operation: _word(name) for operation, name in OPERATIONS.items()},
    "add": lambda b, e, x: [b.add(*x)],
    "add_any": lambda b, e, x: [b.add(*x)],
    "sub": lambda b, e, x: [b.sub(*x)],
    "neg": lambda b, e, x: [b.factor(x[0], -1.0)],
    "mul": lambda b, e, x: [b.mul(*x)],
    "div": lambda b, e, x: [_quotient(b, *x)],
    "square": lambda b, e, x: [b.power(x[0], 2)],
    "integer_pow": lambda b, e, x: [_power(b, x[0], e.params["y"])],
    "pow": _pow,
    "dot_general": dot,
    "exp2": lambda b, e, x: [b.word("exp", b.factor(x[0], float(np.log(2.0))))],
    "expm1": lambda b, e, x: [b.offset(b.word("exp", x[0]), -1.0)],
    "log": _log,
    "log1p": _log1p,
    "abs": lambda b, e, x: [_absolute(b, x[0])],
    "sign": lambda b, e, x: [_sign(b, x[0])],
    "relu": lambda b, e, x: [b.corner(x[0], 0.0)],
    "relu6": lambda b, e, x: [_smallest(b, b.corner(x[0], 0.0), b.fixed(6.0), 0.0)],
    "max": lambda b, e, x: [_largest(b, *x)],
    "min": lambda b, e, x: [_smallest(b, *x)],
    "clamp": _clamp,
    "ge": _compare(swap=False, strict=False),
    "le": _compare(swap=True, strict=False),
    "gt": _compare(swap=False, strict=True),
    "lt": _compare(swap=True, strict=True),
    "is_finite": lambda b, e, x: [b.fixed(np.ones(e.shapes[0], bool))],
    "eq": _equal,
    "ne": _equal,
    "logaddexp": _log_add_exp,
    "and": _logic(lambda b, x: b.mul(*x)),
    "or": _logic(_either),
    "not": _logic(lambda b, x: b.offset(b.factor(x[0], -1.0), 1.0)),
    "select_n": _select,
    "convert_element_type": _convert,
    **dict.fromkeys(SAME, lambda b, e, x: x),
    **dict.fromkeys(INDEXED, indexed),
    **dict.fromkeys(
        (
            "broadcast_in_dim", "concatenate", "cumsum", "expand_dims", "pad", "reduce_sum",
            "reshape", "rev", "slice", "split", "squeeze", "stack", "tile", "transpose", "unstack",
        ),
        affine,
    ),
}  # fmt: skip
