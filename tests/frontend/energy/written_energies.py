"""Random energies of the vocabulary, and points to evaluate them at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from echoloom.frontend.energy.hamiltonian import Hamiltonian
from echoloom.frontend.energy.vocabulary import FUNCTIONS

M, H = 4, 3
Expression = Callable[[Any, dict[str, jax.Array]], jax.Array]
SETTINGS = settings(max_examples=60, deadline=None, derandomize=True)


class Written(Hamiltonian):
    """An energy given as a function of the unit and its inputs."""

    a: jax.Array  # [M]
    w: jax.Array  # [M, H]
    s: jax.Array  # scalar
    k: jax.Array  # [2, 2, H]
    potential_of: Expression = eqx.field(static=True)
    kinetic_of: Expression = eqx.field(static=True)

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        return self.potential_of(self, {"q": q, "u": u})

    def kinetic(self, p: jax.Array) -> jax.Array:
        return self.kinetic_of(self, {"p": p})


def square(unit: Any, at: dict[str, jax.Array]) -> jax.Array:
    return 0.5 * jnp.sum(at["p"] ** 2)


def written(potential: Expression, kinetic: Expression = square, seed: int = 0) -> Written:
    rng = np.random.default_rng(seed)
    arrays = [rng.uniform(0.3, 1.2, shape) for shape in ((M,), (M, H), (), (2, 2, H))]
    a, w, s, k = map(jnp.asarray, arrays)
    return Written(a, w, s, k, potential, kinetic)


def points(seed: int) -> dict[str, jax.Array]:
    rng = np.random.default_rng(seed)
    return {n: jnp.asarray(rng.normal(size=s)) for n, s in (("q", M), ("u", H), ("p", M))}


# Expressions: a tree yields a vector [M], from vectors [M] by the vocabulary.

LEAVES: dict[str, Expression] = {
    "q": lambda unit, at: at["q"],
    "w u": lambda unit, at: unit.w @ at["u"],
    "a": lambda unit, at: unit.a,
    "s": lambda unit, at: jnp.broadcast_to(unit.s, (M,)),
    "exp(a) q": lambda unit, at: jnp.exp(unit.a) * at["q"],
    "constants": lambda unit, at: jnp.array([0.5, -1.0, 0.0, 2.0]),
    "one": lambda unit, at: jnp.ones(M),
}
UNARY: dict[str, Callable[[jax.Array], jax.Array]] = {
    "neg": lambda x: -x,
    "half": lambda x: 0.5 * x,
    "offset": lambda x: x - 0.7,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "sin": jnp.sin,
    "cos": jnp.cos,
    "erf": jax.lax.erf,
    "exp": lambda x: jnp.exp(jnp.tanh(x)),
    "exp2": lambda x: jnp.exp2(jnp.sin(x)),
    "expm1": lambda x: jnp.expm1(0.5 * jnp.cos(x)),
    "power of two": lambda x: 2.0 ** jnp.tanh(x),
    "sinh": lambda x: jnp.sinh(jnp.tanh(x)),
    "cosh": lambda x: jnp.cosh(jnp.sin(x)),
    "asinh": jnp.arcsinh,
    "log cosh": lambda x: jnp.log(jnp.cosh(jnp.tanh(x))),
    "softplus": jax.nn.softplus,
    "log(1 + exp)": lambda x: jnp.log(1.0 + jnp.exp(jnp.tanh(x))),
    "log1p(exp)": lambda x: jnp.log1p(jnp.exp(jnp.tanh(x))),
    "log1p": lambda x: jnp.log1p(x**2),
    "sqrt": lambda x: jnp.sqrt(1.0 + x**2),
    "rsqrt": lambda x: jax.lax.rsqrt(2.0 + jnp.sin(x)),
    "reciprocal": lambda x: 1.0 / (1.5 + jnp.cos(x)),
    "log": lambda x: jnp.log(0.5 + jax.nn.sigmoid(x)),
    "square": jnp.square,
    "cube": lambda x: jnp.tanh(x) ** 3,
    "inverse square": lambda x: (1.0 + x**2) ** -2,
    "1.5": lambda x: (1.0 + jnp.tanh(x) ** 2) ** 1.5,
    "abs": lambda x: jnp.abs(x - 0.1234),
    "relu": lambda x: jax.nn.relu(x - 0.1234),
    "gelu": FUNCTIONS["gelu"],
    "clip": lambda x: jnp.clip(x, -0.4321, 0.5432),
    "roll": lambda x: jnp.roll(x, 1),
    "reverse": lambda x: x[::-1],
    "cumsum": jnp.cumsum,
    "mean": lambda x: x - jnp.mean(x),
    "gather": lambda x: x[jnp.array([3, 0, 0, 2])],
    "masked": lambda x: jnp.where(jnp.array([True, False, True, True]), x, 2.0 * x),
}
BINARY: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: jnp.tanh(x) * jnp.tanh(y),
    "/": lambda x, y: jnp.tanh(x) / (1.5 + jnp.sin(y)),
    "max": lambda x, y: jnp.maximum(x, y + 0.0123),
    "min": lambda x, y: jnp.minimum(x, y - 0.0123),
    "logaddexp": jnp.logaddexp,
    "where >": lambda x, y: jnp.where(x > y + 0.0123, x, 0.5 * y),
    "where <=": lambda x, y: jnp.where(x <= y + 0.0123, y, 1.0),
    "and": lambda x, y: jnp.where((x >= 0.0123) & ~(y < 0.0123), x, y),
    "or": lambda x, y: jnp.where((x > 0.0123) | (y > 0.4321), x, 0.0),
    "dot": lambda x, y: x * jnp.dot(jnp.tanh(x), jnp.tanh(y)),
    "outer": lambda x, y: jnp.sum(jnp.tanh(x)[:, None] * jnp.cos(y)[None, :], axis=1),
    "einsum": lambda x, y: jnp.einsum("i,j,i->j", jnp.tanh(x), jnp.tanh(y), jnp.cos(x)),
    "concatenate": lambda x, y: jnp.concatenate([x[:2], y[2:]]),
}


def joined(children: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    def unary(name: str, x: Expression) -> Expression:
        return lambda unit, at: UNARY[name](x(unit, at))

    def binary(name: str, x: Expression, y: Expression) -> Expression:
        return lambda unit, at: BINARY[name](x(unit, at), y(unit, at))

    return st.one_of(
        st.builds(unary, st.sampled_from(sorted(UNARY)), children),
        st.builds(binary, st.sampled_from(sorted(BINARY)), children, children),
    )


trees = st.recursive(st.sampled_from(sorted(LEAVES)).map(LEAVES.__getitem__), joined, max_leaves=6)


def summed(tree: Expression) -> Expression:
    """A scalar that q surely takes part in."""
    return lambda unit, at: jnp.sum(tree(unit, at)) + 0.5 * jnp.sum(unit.a * at["q"] ** 2)
