"""What functions of JAX become: instructions, coefficients, or nothing at all."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoloom.frontend.energy.trace import Traced, Untraceable, trace
from echoloom.frontend.energy.vocabulary import log_cosh
from echoloom.ir.interpret import Machine
from echoloom.ir.ops import Constant, Scale, Table
from echoloom.ir.program import Body, Graph, Program
from echoloom.ir.real import REAL_RULES
from echoloom.ir.sections import Section

RANDOM = np.random.default_rng(0)
A, B = RANDOM.normal(size=3), RANDOM.normal(size=3)
K, W = RANDOM.normal(size=(3, 3)), RANDOM.normal(size=(2, 3))
Q, U, S = RANDOM.normal(size=3), RANDOM.normal(size=2), np.array([0.7])
HELD = {"a": A, "b": B, "k": K, "w": W}
GIVEN = {"q": Q, "u": U, "s": S}
Function = Callable[..., Any]


def traced(function: Function) -> Traced:
    """`function` of a dict of coefficients and a dict of run-time values, both above."""
    return trace(lambda c, x: {"out": function(c, x)}, "f", {"c": HELD}, x=GIVEN)


def shown(graph: Graph) -> str:
    """The code, one instruction after the other; computed operands are _, prefixes left out."""
    computed = {i.name for i in graph.instrs}
    lines = []
    for i in graph.instrs:
        name = i.attr.function if isinstance(i.attr, Table) else i.op.value
        args = ["_" if a in computed else a[2:] for a in i.args]
        if isinstance(i.attr, Scale | Constant):
            args.append(f"{i.attr.factor if isinstance(i.attr, Scale) else i.attr.value:g}")
        lines.append(f"{name}({', '.join(args)})")
    return "; ".join(lines)


def run(t: Traced) -> np.ndarray:
    """The graph's result in float64."""
    graph, (_, name) = t.graph, t.graph.outputs[0]
    body = Body(Section.FORWARD_STEP, graph.inputs, graph.instrs, emits=(name,))
    machine = Machine(Program("t", (), (), (), (), (body,)), REAL_RULES, {})
    own = {f"c.{n}": v for n, v in HELD.items()} | {f"x.{n}": v for n, v in GIVEN.items()}
    machine.run(Section.FORWARD_STEP, [{**own, **t.values}])
    return machine.emitted[0]


# function -> its code, and the shapes of the coefficients that it folds
CASES: dict[str, tuple[Function, str, list[tuple[int, ...]]]] = {
    "coefficients are multiplied on the host": (
        lambda c, x: c["a"] * c["b"] * x["q"], "mul(f.w0, q)", [(3,)]
    ),
    "and added, transposed too": (
        lambda c, x: (c["k"] + c["k"].T) @ x["q"], "matvec(f.w0, q)", [(3, 3)]
    ),
    "what is folded twice is held once": (
        lambda c, x: (c["a"] * c["b"]) * x["q"] + jnp.tanh((c["a"] * c["b"]) * x["q"]),
        "mul(f.w0, q); mul(f.w0, q); tanh(_); add(_, _)", [(3,)],
    ),
    "a number leaves the coefficient its name": (
        lambda c, x: (0.5 * c["a"]) * x["q"], "mul(a, q); scale(_, 0.5)", []
    ),
    "so do several, and a sign": (
        lambda c, x: (-(3.0 * c["k"]) * 2.0) @ x["q"], "matvec(k, q); scale(_, -6)", []
    ),
    "but not a division": (lambda c, x: (1.0 / c["a"]) * x["q"], "mul(f.w0, q)", [(3,)]),
    "an addend is held with its factor": (
        lambda c, x: x["q"] + 2.0 * c["a"], "add(q, f.w0)", [(3,)]
    ),
    "a plain one by its own name": (lambda c, x: x["q"] - c["a"], "sub(q, a)", []),
    "numbers fold while tracing": (
        lambda c, x: jnp.ones(3) * (2.0 * (0.5 * x["q"]) + jnp.zeros(3)),
        "scale(q, 0.5); scale(_, 2)", [],
    ),
    "a factor of zero ends it": (lambda c, x: x["q"] + 0.0 * jnp.tanh(x["q"]), "tanh(q)", []),
    "one number times a coefficient": (lambda c, x: x["s"] * c["a"], "matvec(f.w0, s)", [(3, 1)]),
    "one number times a vector": (lambda c, x: x["s"] * x["q"], "mul(s, q)", []),
    "one number is spread to be added": (
        lambda c, x: x["s"] + x["q"], "matvec(f.w0, s); add(_, q)", [(3, 1)]
    ),
    "a sum is a row of ones": (
        lambda c, x: jnp.sum(x["q"]) * x["u"], "matvec(f.w0, q); mul(_, u)", [(1, 3)]
    ),
    "a sum that is added": (
        lambda c, x: jnp.sum(jnp.tanh(x["q"])) + x["u"],
        "tanh(q); matvec(f.w0, _); matvec(f.w1, _); add(_, u)", [(1, 3), (2, 1)],
    ),
    "a dot product": (
        lambda c, x: jnp.reshape(x["q"] @ x["q"], (1,)), "mul(q, q); matvec(f.w0, _)", [(1, 3)]
    ),
    "a matrix": (lambda c, x: c["w"] @ x["q"], "matvec(w, q)", []),
    "a matrix from the right": (lambda c, x: x["u"] @ c["w"], "tmatvec(w, u)", []),
    "a transposed matrix is a view": (lambda c, x: c["w"].T @ x["u"], "tmatvec(w, u)", []),
    "also from the right": (lambda c, x: x["q"] @ c["w"].T, "matvec(w, q)", []),
    "an outer product": (lambda c, x: jnp.tensordot(x["u"], x["q"], axes=0), "outer(u, q)", []),
    "a transposed one is made anew, and the first left to simplify": (
        lambda c, x: jax.vjp(lambda w: x["u"] @ w, c["w"])[1](x["q"])[0],
        "outer(q, u); outer(u, q)", [],
    ),
    "powers by squaring": (lambda c, x: x["q"] ** 5, "mul(q, q); mul(_, _); mul(q, _)", []),
    "a result that is a coefficient": (
        lambda c, x: c["a"] * 2.0, "constant(1); matvec(f.w0, _)", [(3, 1)]
    ),
    "dead code of a derivative": (
        jax.grad(lambda q: jnp.sum(log_cosh(q))), "tanh(q)", []
    ),
    "and of a product rule": (
        jax.grad(lambda q: jnp.sum(A * log_cosh(2.0 * q))),
        "scale(q, 2); tanh(_); mul(f.w0, _); scale(_, 2)", [(3,)],
    ),
}  # fmt: skip
OF_Q = {"dead code of a derivative", "and of a product rule"}


@pytest.mark.parametrize("case", CASES)
def test_each_form(case: str) -> None:
    given_, code, folded = CASES[case]
    function: Function = (lambda c, x: given_(x["q"])) if case in OF_Q else given_
    t = traced(function)
    assert shown(t.graph) == code
    assert [v.shape for v in t.values.values()] == folded
    assert all(name == f"c.f.w{n}" for n, name in enumerate(t.values))
    exact = np.asarray(function(HELD, GIVEN))
    np.testing.assert_allclose(run(t), exact, rtol=1e-12, atol=1e-12)


def test_leaves_are_named_by_their_paths() -> None:
    t = traced(lambda c, x: c["a"] * x["q"])
    assert [d.name for d in t.graph.inputs][:4] == ["c.a", "c.b", "c.k", "c.w"]
    assert [(d.name, d.type.shape) for d in t.graph.inputs][4:] == [
        ("x.q", (3,)), ("x.s", (1,)), ("x.u", (2,))
    ]  # fmt: skip
    folded = traced(lambda c, x: c["a"] * c["b"] * x["q"])
    assert folded.graph.inputs[-1].name == "c.f.w0", "a folded coefficient is declared like a leaf"
    assert list(folded.values) == ["c.f.w0"]
    np.testing.assert_allclose(folded.values["c.f.w0"], A * B)


def test_a_value_that_is_an_input_needs_no_code() -> None:
    t = traced(lambda c, x: x["q"])
    assert t.graph.instrs == () and t.graph.outputs == (("out", "x.q"),)


REFUSED: dict[str, tuple[Function, str]] = {
    "a primitive": (lambda c, x: jnp.cumsum(x["q"]), "the primitive 'cumsum' has no operation"),
    "a power": (lambda c, x: jax.lax.integer_pow(x["q"], -1), "the power -1 is not supported"),
    "a slice": (lambda c, x: x["q"][:2], "the primitive 'slice' has no operation"),
    "a matrix product of signals": (
        lambda c, x: jnp.tensordot(x["q"], x["u"], axes=0) @ x["u"],
        "a product of shapes (3, 2) and (2,)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_ir_cannot_say_is_refused_with_its_line(case: str) -> None:
    function, message = REFUSED[case]
    with pytest.raises(Untraceable, match=r"^f at \S*test_traced_graphs\.py:\d+.*: ") as caught:
        traced(function)
    assert re.search(re.escape(message), str(caught.value))
    line = int(re.findall(r"\.py:(\d+)", str(caught.value))[0])
    first = function.__code__.co_firstlineno
    assert first <= line <= first + 1
