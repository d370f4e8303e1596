"""Jaxprs as plain equations: the one file that touches their insides.

An `Interpreter` gives every live equation a meaning of its own: `canonical` does it for the
user's energies, `trace` for the compiler's functions. `split` takes what does not depend on a
state out of a loop.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend import core as jex

from echoloom.frontend.energy import places
from echoloom.ir.functions import FUNCTIONS, Corner

# Calls that compute what their body says.
CALLS = frozenset({
    "jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "remat", "remat2", "checkpoint",
})  # fmt: skip


@dataclass(frozen=True, eq=False)
class Equation:
    """One operation. `evaluate` runs it on values, traced or not, and can be differentiated."""

    eqn: Any

    @property
    def name(self) -> str:
        return self.eqn.primitive.name

    @property
    def params(self) -> dict[str, Any]:
        return self.eqn.params

    @cached_property
    def where(self) -> str:
        """The user's file, line and column; empty inside functions of JAX's own."""
        return places.of_traceback(self.eqn.source_info.traceback)

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        return [tuple(v.aval.shape) for v in self.eqn.outvars]

    @property
    def types(self) -> list[np.dtype]:
        """Element types of the results."""
        return [np.dtype(v.aval.dtype) for v in self.eqn.outvars]

    @property
    def operand_types(self) -> list[np.dtype]:
        return [np.dtype(v.aval.dtype) for v in self.eqn.invars]

    @property
    def is_written_by_user(self) -> bool:
        """Whether a call's body is a function of the user's, not of JAX's or of this package."""
        found = self.inner
        return found is not None and places.is_users(
            found[0].debug_info.func_src_info.rpartition(" at ")[2].rpartition(":")[0]
        )

    @cached_property
    def primitives(self) -> frozenset[str]:
        """Names of this operation and of all in its body."""
        return frozenset(_names(self.eqn))

    @cached_property
    def evaluate(self) -> Callable[..., list[Any]]:
        inputs = [jex.Var(v.aval) if isinstance(v, jex.Literal) else v for v in self.eqn.invars]
        unique = [v if v not in inputs[:i] else jex.Var(v.aval) for i, v in enumerate(inputs)]
        eqn = self.eqn.replace(invars=unique)
        debug = jax.make_jaxpr(lambda: None)().jaxpr.debug_info
        jaxpr = jex.Jaxpr([], unique, list(eqn.outvars), [eqn], debug_info=debug)
        return jex.jaxpr_as_fun(jex.ClosedJaxpr(jaxpr, []))

    @property
    def body(self) -> Callable[..., list[Any]]:
        """What a call computes, as a function with the derivatives of its operations."""
        assert self.inner is not None
        return jex.jaxpr_as_fun(jex.ClosedJaxpr(*self.inner))

    @property
    def inner(self) -> tuple[jex.Jaxpr, Sequence[Any]] | None:
        """Body and constants of a call, None for an operation that is no call."""
        if self.name not in CALLS:
            return None
        closed: Any = self.params.get("jaxpr") or self.params.get("call_jaxpr")
        return getattr(closed, "jaxpr", closed), getattr(closed, "consts", ())


def staged(
    function: Callable[..., Any], *shapes: tuple[int, ...]
) -> tuple[jex.Jaxpr, Sequence[Any]]:
    """Jaxpr and constants of a function of flat float64 arguments."""
    arguments = [jax.ShapeDtypeStruct(s, np.float64) for s in shapes]
    with jax.enable_x64(True):
        closed = jax.make_jaxpr(function)(*arguments)
    return closed.jaxpr, closed.consts


class Interpreter(ABC):
    """Runs a jaxpr on operands of its own kind; equations whose results nobody uses are skipped."""

    @abstractmethod
    def constant(self, value: Any) -> Any:
        """The operand of a number or array that is written into the function."""

    @abstractmethod
    def equation(self, equation: Equation, operands: list[Any]) -> list[Any]:
        """The operands of an equation's results."""

    def run(self, jaxpr: jex.Jaxpr, consts: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
        env: dict[Any, Any] = dict(zip(jaxpr.constvars, map(self.constant, consts), strict=True))
        env.update(zip(jaxpr.invars, arguments, strict=True))

        def read(atom: Any) -> Any:
            return self.constant(atom.val) if isinstance(atom, jex.Literal) else env[atom]

        for eqn in _live(jaxpr):
            results = self.equation(Equation(eqn), [read(v) for v in eqn.invars])
            env.update(zip(eqn.outvars, results, strict=True))
        return [read(v) for v in jaxpr.outvars]


@dataclass(frozen=True, eq=False)
class Split:
    """f(q, u, *constants) in three: what neither q nor u reach, what q does not, and the rest.

    f(q, u, *constants) == late(q, *timed(u, *constants), *lasting(*constants)). All three can be
    differentiated and mapped.
    """

    lasting: Callable[..., list[Any]]
    timed: Callable[..., list[Any]]
    late: Callable[..., list[Any]]


def split(function: Callable[..., Any], q: Any, u: Any, *constants: Any) -> Split:
    """`function` of arrays (or their shapes and types) like these, in three.

    A call counts as one operation: what it does is not taken apart.
    """
    closed = jax.make_jaxpr(function)(q, u, *constants)
    jaxpr, debug = closed.jaxpr, jax.make_jaxpr(lambda: None)().jaxpr.debug_info
    (in_q, in_u, *in_constants), equations = jaxpr.invars, _live(jaxpr)
    late, beside_q = _reached(equations, {in_q})
    early, timed = [e for e in equations if e not in late], _reached(equations, {in_u})[1]
    needed = [v for e in late for v in e.invars] + list(jaxpr.outvars)
    crossing = list(dict.fromkeys(v for v in needed if _is_early(v, beside_q)))
    at_times = [v for v in crossing if v in timed]
    at_once = [v for v in crossing if v not in timed]

    def function_of(invars: list[Any], equations: list[Any], outvars: list[Any], consts: bool):
        own = (jaxpr.constvars, closed.consts) if consts else ([], [])
        body = jex.Jaxpr(own[0], invars, outvars, equations, debug_info=debug)
        return jex.jaxpr_as_fun(jex.ClosedJaxpr(body, own[1]))

    still = [e for e in early if timed.isdisjoint(e.outvars)]
    return Split(
        function_of(in_constants, still, at_once, True),
        function_of([in_u, *in_constants], early, at_times, True),
        function_of([in_q, *at_times, *at_once], late, list(jaxpr.outvars), False),
    )


def is_affine(function: Callable[..., Any], at: Any) -> bool:
    """Whether the slope of a function of one array is seen to be the same wherever `at` is."""
    slope = jax.make_jaxpr(lambda here, way: jax.jvp(function, (here,), (way,))[1])(at, at).jaxpr
    here = slope.invars[0]
    used = [v for e in _live(slope) for v in e.invars] + list(slope.outvars)
    return all(v is not here for v in used)


# What compares numbers, or takes one of several: where it changes its mind a slope may jump.
_CORNERS = frozenset({
    "max", "min", "abs", "sign", "clamp", "ge", "gt", "le", "lt", "floor", "ceil", "round",
    "reduce_max", "reduce_min", "argmax", "argmin", "cummax", "cummin", "sort", "top_k",
    *(name for name, function in FUNCTIONS.items() if function.corner is Corner.JUMP),
})  # fmt: skip


def is_cornered(function: Callable[..., Any], at: Any, *others: Any) -> bool:
    """Whether a function of arrays like these is seen to change its mind by the first of them.

    What a function with a custom derivative is made of does not count: it has no slope.
    """
    jaxpr = jax.make_jaxpr(function)(at, *others).jaxpr
    reached, _ = _reached(_live(jaxpr), {jaxpr.invars[0]})
    names = {name for eqn in reached for name in _performed(eqn)}
    return not names.isdisjoint(_CORNERS)


def _performed(eqn: Any) -> Iterator[str]:
    yield eqn.primitive.name
    if eqn.primitive.name == "custom_jvp_call":
        return
    for body in jax.tree.leaves(list(eqn.params.values()), is_leaf=lambda v: hasattr(v, "eqns")):
        for inner in getattr(getattr(body, "jaxpr", body), "eqns", ()):
            yield from _performed(inner)


def _is_early(atom: Any, beside_q: set[Any]) -> bool:
    return not isinstance(atom, jex.Literal) and atom not in beside_q


def _reached(equations: list[Any], roots: set[Any]) -> tuple[list[Any], set[Any]]:
    """The equations that depend on `roots`, and all variables that do, the roots among them."""
    reached, found = set(roots), []
    for eqn in equations:
        if any(not isinstance(v, jex.Literal) and v in reached for v in eqn.invars):
            found.append(eqn)
            reached.update(eqn.outvars)
    return found, reached


def _names(eqn: Any) -> Iterator[str]:
    yield eqn.primitive.name
    for value in jax.tree.leaves(list(eqn.params.values())):
        body = getattr(value, "jaxpr", value)
        for inner in getattr(body, "eqns", ()):
            yield from _names(inner)


def _live(jaxpr: jex.Jaxpr) -> list[Any]:
    """Equations that a result depends on; differentiation leaves many others behind."""
    needed = {v for v in jaxpr.outvars if not isinstance(v, jex.Literal)}
    kept = []
    for eqn in reversed(jaxpr.eqns):
        if not needed.isdisjoint(eqn.outvars):
            kept.append(eqn)
            needed.update(v for v in eqn.invars if not isinstance(v, jex.Literal))
    return kept[::-1]


def same_code(a: Equation, function: Callable[..., Any]) -> bool:
    """Whether a call's body is what JAX makes of `function`, whatever the call is named."""
    avals = [v.aval for v in a.eqn.invars]
    with jax.enable_x64(True):
        other = jax.make_jaxpr(function)(*avals).jaxpr.eqns
    inner = a.inner
    if len(other) != 1 or inner is None:
        return False
    theirs = Equation(other[0]).inner
    return theirs is not None and str(inner[0]) == str(theirs[0])


class NamedKey(NamedTuple):
    """A pytree key that is a whole dotted name already, as `path_name` made it."""

    dotted: str


def path_name(path: tuple[Any, ...]) -> str:
    """Dotted name of a pytree path: ('block', .unit, .drive) -> block.unit.drive.

    Different paths have different names, and each can be written in a program's text: what is no
    letter of ASCII, digit or _ in a key is its code in hexadecimal, as -20- for a blank.
    """
    return ".".join(map(_key_name, path))


def _key_name(key: Any) -> str:
    if isinstance(key, NamedKey):
        return key.dotted
    for attribute in ("key", "name", "idx"):
        if hasattr(key, attribute):
            key = getattr(key, attribute)
            break
    if isinstance(key, str):
        # An index is a number: the text of one is told apart by its first letter.
        first = _code(key[0]) if key.isdecimal() else _PLAIN.sub(_coded, key[:1])
        return first + _PLAIN.sub(_coded, key[1:]) if key else "--"
    if type(key) is int and key >= 0:
        return str(key)
    return "--" + _PLAIN.sub(_coded, repr(key))


_PLAIN = re.compile(r"[^A-Za-z0-9_]")


def _coded(found: re.Match[str]) -> str:
    return _code(found[0])


def _code(letter: str) -> str:
    return f"-{ord(letter):x}-"
