"""Canonical energies equal the ones written: random expressions, all words, all shapes."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from jax.ad_checkpoint import checkpoint_name
from written_energies import (
    BINARY,
    LEAVES,
    SETTINGS,
    UNARY,
    Expression,
    H,
    M,
    Written,
    points,
    summed,
    trees,
    written,
)  # fmt: skip

from echoloom.frontend.energy.canonical import canonicalise
from echoloom.frontend.energy.canonical.plan import Plan


def assert_same(unit: Written, seeds: range = range(3)) -> Plan:
    """Values and the derivatives by q, u, p and every leaf."""
    plan = canonicalise(unit, M, H)

    def pair(method: str, names: tuple[str, ...]) -> None:
        def ours(own: Any, *at: jax.Array) -> jax.Array:
            return getattr(plan.fold(own), method)(*at)

        def theirs(own: Any, *at: jax.Array) -> jax.Array:
            return getattr(own, method)(*at)

        inputs = tuple(range(len(names) + 1))
        for seed in seeds:
            at = [points(seed)[n] for n in names]
            found, wanted = (jax.value_and_grad(f, inputs)(unit, *at) for f in (ours, theirs))
            largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(wanted))
            for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * max(largest, 1.0))

    pair("potential", ("q", "u"))
    pair("kinetic", ("p",))
    return plan


@SETTINGS
@given(trees)
def test_random_potentials(tree: Expression) -> None:
    assert_same(written(summed(tree)))


@pytest.mark.parametrize("name", UNARY)
def test_every_function_of_one_argument(name: str) -> None:
    assert_same(written(summed(lambda unit, at: UNARY[name](at["q"] + unit.w @ at["u"]))))


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("right", ["u", "a", "constants"])
def test_every_function_of_two(name: str, right: str) -> None:
    def tree(unit: Any, at: dict[str, jax.Array]) -> jax.Array:
        y = LEAVES["w u" if right == "u" else right](unit, at)
        return BINARY[name](at["q"], y) + 0.3 * BINARY[name](y, at["q"])

    assert_same(written(summed(tree)))


@jax.custom_jvp
def squared(x: jax.Array) -> jax.Array:
    return x**2


squared.defjvp(lambda p, t: (p[0] ** 2, 2.0 * p[0] * t[0]))


@jax.custom_jvp
def scaled(k: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A rule for several operands and results, on a part of the real line alone."""
    return k * jnp.log(x), k + x


scaled.defjvp(lambda p, t: (scaled(*p), (t[0] * jnp.log(p[1]) + p[0] / p[1] * t[1], t[0] + t[1])))


FIXED = np.array([True, False, True, True])

# What has no effect on numbers, or is there for numbers that a run never has.
LOOKED_THROUGH: dict[str, Expression] = {
    "checkpoint": lambda unit, at: jax.checkpoint(lambda q: jnp.sum(unit.a * jnp.sin(q)))(at["q"]),
    "a checkpoint's policy": lambda unit, at: jnp.sum(
        jax.checkpoint(
            lambda q: checkpoint_name(jnp.sin(q), "kept") ** 2,
            policy=jax.checkpoint_policies.save_only_these_names("kept"),
        )(at["q"])
    ),
    "named_call": lambda unit, at: jax.named_call(jnp.sum, name="all of it")(at["q"] ** 3),
    "named_scope": lambda unit, at: jax.named_scope("inner")(jnp.sum)(at["q"] ** 3),
    "jit in jit": lambda unit, at: jax.jit(lambda q: jax.jit(jnp.sin)(q) @ unit.a)(at["q"]),
    "jit with a static argument": lambda unit, at: jnp.sum(
        jax.jit(lambda x, n: x**n, static_argnums=1)(at["q"], 3)
    ),
    "Equinox's calls": lambda unit, at: jnp.sum(
        eqx.filter_checkpoint(eqx.filter_jit(jnp.sin))(at["q"]) * unit.a
    ),
    "a barrier": lambda unit, at: jnp.sum(jax.lax.optimization_barrier(at["q"]) ** 3),
    "a device": lambda unit, at: jnp.sum(jax.device_put(at["q"]) ** 3),
    "a rule": lambda unit, at: unit.a @ squared(jnp.sin(at["q"])),
    "a rule in vmap and jit": lambda unit, at: unit.a @ jax.vmap(jax.jit(squared))(at["q"]),
    "a rule of two": lambda unit, at: jnp.sum(
        scaled(unit.a, 1.0 + at["q"] ** 2)[0] * scaled(unit.s, jnp.full(M, 2.0))[1]
    ),
    "var": lambda unit, at: jnp.var(unit.a * at["q"], ddof=1),
    "var of some": lambda unit, at: jnp.var(at["q"], where=FIXED),
    "a root of var": lambda unit, at: jnp.sqrt(0.1 + jnp.var(at["q"])),
    "nanmean": lambda unit, at: jnp.nanmean(at["q"] ** 3) * unit.s,
    "nan_to_num": lambda unit, at: jnp.sum(jnp.nan_to_num(at["q"]) ** 3),
    "isfinite": lambda unit, at: jnp.sum(jnp.where(jnp.isfinite(at["q"]), at["q"] ** 3, jnp.nan)),
    "isinf": lambda unit, at: jnp.sum(jnp.where(jnp.isinf(at["q"]), jnp.inf, unit.a * at["q"])),
    "all chosen": lambda unit, at: jnp.sum(jnp.where(np.ones(M, bool), at["q"] ** 3, jnp.nan)),
    "none chosen": lambda unit, at: jnp.sum(jnp.where(np.zeros(M, bool), jnp.inf, at["q"] ** 3)),
    "infinite under a mask": lambda unit, at: jnp.sum(
        jnp.where(FIXED, jnp.exp(-jnp.where(FIXED, at["q"] ** 2, 0.0)), 0.0)
        * jnp.where(FIXED, unit.a, np.where(FIXED, np.nan, 1.0))
    ),
}
SHAPES: dict[str, Expression] = {
    "a product of scalars": lambda unit, at: jnp.dot(jnp.sum(at["q"]), jnp.sum(at["u"] ** 2)),
    "an outer sum": lambda unit, at: jnp.einsum("i,j->", jnp.sin(at["q"]), at["u"]),
    "a product of no axes": lambda unit, at: jnp.sum(
        jnp.tanh(jnp.tensordot(jnp.sum(at["q"]), at["u"], axes=0)) * unit.w
    ),
    "an outer product of matrices": lambda unit, at: jnp.sum(
        jnp.einsum("ij,k->ikj", at["q"].reshape(2, 2), at["u"]) ** 2 * unit.k.transpose(0, 2, 1)
    ),
    "batches of scalars": lambda unit, at: jnp.einsum(
        "b,b,->b", at["q"], jnp.sin(at["q"]), jnp.sum(at["u"])
    ) @ unit.a,
    "a product of nothing": lambda unit, at: jnp.dot(at["q"][:0], at["u"][:0]) + unit.s,
    "scalars": lambda unit, at: unit.s * at["q"][0] * at["u"][-1],
    "length one": lambda unit, at: jnp.sum(at["q"][:1] * at["u"] * unit.s),
    "a matrix that is not square": lambda unit, at: at["q"] @ (unit.w @ jnp.tanh(at["u"])),
    "a matrix from the right": lambda unit, at: jnp.sum(jnp.tanh(at["q"] @ unit.w) * at["u"]),
    "its transpose": lambda unit, at: jnp.sum(jnp.tanh(unit.w.T @ at["q"]) * at["u"]),
    "two dimensions": lambda unit, at: jnp.sum(at["q"].reshape(2, 2).T @ unit.w.T[:2, :2]),
    "three dimensions": lambda unit, at: jnp.sum(jnp.cos(at["q"].reshape(2, 1, 2)) ** 2),
    "(n, 1) with (1, n)": lambda unit, at: jnp.sum(
        jnp.sin(at["q"][:, None] - at["q"][None, :]) ** 2
    ),
    "(n, 1) with (m,)": lambda unit, at: jnp.sum(jnp.tanh(at["q"][:, None] * at["u"] + unit.w)),
    "a batched product": lambda unit, at: jnp.sum(
        jnp.matmul(unit.k.T, jnp.tanh(at["q"].reshape(2, 2)))
    ),
    "a product of run-time matrices": lambda unit, at: jnp.sum(
        jnp.tanh(at["q"].reshape(2, 2) @ jnp.outer(at["q"][:2], at["u"]))
    ),
    "run-time batches": lambda unit, at: jnp.sum(
        jnp.einsum("bi,bi->b", at["q"].reshape(2, 2), jnp.outer(at["u"][:2], at["q"][:2])) ** 2
    ),
    "run-time batches kept": lambda unit, at: jnp.sum(
        jnp.einsum("bij,bj->bi", at["q"].reshape(2, 1, 2) * at["u"][:, None], at["q"].reshape(2, 2))
        * unit.k[0, :, :].reshape(2, 3)
    ),
    "three run-time factors": lambda unit, at: jnp.einsum(
        "ijk,i,j,k->", unit.k, at["q"][:2], at["q"][2:], at["u"]
    ),
    "an integer index": lambda unit, at: at["q"][2] ** 2 * at["u"][1],
    "strides": lambda unit, at: jnp.sum(at["q"][::-2] * at["q"][::2]),
    "constants on both ends": lambda unit, at: jnp.sum(
        jnp.diff(jnp.concatenate([jnp.array([1.0]), at["q"], jnp.array([-2.0])])) ** 2
    ),
    "parameters on an end": lambda unit, at: jnp.sum(
        jnp.diff(jnp.concatenate([unit.a, at["q"]])) ** 4
    ),
    "pad": lambda unit, at: jnp.sum(jnp.cos(jnp.pad(at["q"], (1, 2), constant_values=0.3))),
    "pad at the edge": lambda unit, at: jnp.sum(jnp.pad(at["q"], 1, mode="wrap") ** 3),
    "diff": lambda unit, at: jnp.sum(jnp.diff(at["q"], n=2) ** 2),
    "cumsum": lambda unit, at: jnp.sum(jnp.cumsum(at["q"].reshape(2, 2), axis=1) ** 2),
    "a constant mask": lambda unit, at: jnp.sum(
        jnp.where(np.arange(M) % 2 == 0, at["q"] ** 2, unit.a * at["q"])
    ),
    "a mask with a parameter": lambda unit, at: jnp.sum(
        jnp.where(np.arange(M) < 2, unit.a, at["q"])
    ),
    "a run-time mask, broadcast": lambda unit, at: jnp.sum(
        jnp.where((at["q"] > 0.1)[:, None], unit.w, at["u"] * unit.s)
    ),
    "masks of masks": lambda unit, at: jnp.sum(
        jnp.where((at["q"] > 0) & np.array([True, False, True, False]), at["q"], 0.1)
    ),
    "masks that were chosen": lambda unit, at: jnp.sum(
        jnp.where(jnp.where(at["q"] > 0, at["u"][0] > 0, at["u"][1] > 0), at["q"] ** 2, 0.3)
    ),
    "counts": lambda unit, at: jnp.sum(at["q"] > 0) * at["u"][0] + jnp.sum(at["q"]),
    "gather": lambda unit, at: jnp.sum(at["q"][np.array([[0, 3], [1, 1]])] ** 2 * unit.s),
    "take": lambda unit, at: jnp.sum(jnp.take(jnp.outer(at["q"], at["u"]), 2, axis=1) ** 2),
    "add at": lambda unit, at: jnp.sum(unit.a.at[np.array([1, 1, 3])].add(at["u"]) * at["q"] ** 2),
    "set at": lambda unit, at: jnp.sum(at["q"].at[1:3].set(at["u"][:2]) ** 2),
    "set to a large parameter": lambda unit, at: jnp.sum(
        (1e9 * unit.a).at[0].add(at["q"][0]) * 1e-9
    ),
    "dynamic slice": lambda unit, at: jnp.sum(jax.lax.dynamic_slice(at["q"], (1,), (2,)) ** 2),
    "split": lambda unit, at: jnp.prod(jnp.stack([1.0]))
    * jnp.dot(*jnp.split(at["q"], 2)),
    "stack": lambda unit, at: jnp.sum(jnp.stack([at["q"], unit.a, 2.0 * at["q"]]) ** 2),
    "tile": lambda unit, at: jnp.sum(jnp.tile(at["q"], 2) * jnp.arange(2.0 * M)),
    "repeat": lambda unit, at: jnp.sum(jnp.repeat(at["u"], 2) ** 2 * jnp.arange(2.0 * H)),
    "an empty vector": lambda unit, at: jnp.sum(jnp.diff(at["q"][:1]) ** 2),
    "vmap": lambda unit, at: jnp.sum(jax.vmap(lambda x: jnp.tanh(x * at["u"]) @ at["u"])(at["q"])),
    "a slope": lambda unit, at: jnp.sum(jax.grad(lambda x: jnp.sum(jnp.sin(x) * unit.a))(at["q"])),
    "a clip by parameters": lambda unit, at: jnp.sum(jnp.clip(at["q"], unit.s - 1.0, None)),
    "clamp": lambda unit, at: jnp.sum(jax.lax.clamp(-0.5, at["q"], 0.5 + unit.a)),
    "clamped numbers": lambda unit, at: jnp.sum(jax.lax.clamp(jnp.zeros(M), 0.2 * jnp.ones(M),
                                                              at["q"])),
    "casts": lambda unit, at: jnp.sum((at["q"] > 0).astype(float) * at["q"].astype(jnp.float64)),
    "zeroth power": lambda unit, at: jnp.sum(at["q"] ** 0 * at["q"] ** 1),
}  # fmt: skip


@pytest.mark.parametrize("name", [*SHAPES, *LOOKED_THROUGH])
def test_shapes(name: str) -> None:
    tree = (SHAPES | LOOKED_THROUGH)[name]
    assert_same(written(lambda unit, at: tree(unit, at) + jnp.sum(at["q"] ** 2)))
