"""Primitives that are linear in their run-time operands, as products by matrices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from echoloom.frontend.energy.canonical.builder import Builder, Host, Operand, Run
from echoloom.frontend.energy.jaxpr import Equation

INDEXED = {"gather": 1, "dynamic_slice": 1, "dynamic_update_slice": 2, "scatter": 1,
           "scatter-add": 1}  # fmt: skip


def indexed(b: Builder, e: Equation, x: list[Any]) -> list[Operand]:
    """An affine primitive some of whose operands are places, which must be fixed."""
    first = INDEXED[e.name]
    last = first + 1 if e.name in ("gather", "scatter", "scatter-add") else len(x)
    for place in x[first:last]:
        if isinstance(place, Run) or place.parameter:
            source = "a parameter" if isinstance(place, Host) else "run-time data"
            raise b.no_form(
                f"an index is computed from {source}, but every element's way through the circuit "
                "is fixed when it is compiled",
                "index by Python numbers or constant arrays, or weigh all elements by jnp.where "
                "with comparisons",
            )
    return affine(b, e, x)


def affine(b: Builder, e: Equation, x: list[Any]) -> list[Operand]:
    """A primitive that is linear in its real operands together: a product by a matrix for each."""
    x = [b.real(v) for v in x]
    runs = [i for i, v in enumerate(x) if isinstance(v, Run)]
    hosts = [i for i, v in enumerate(x) if isinstance(v, Host)]
    zeros = {i: np.zeros(x[i].shape) for i in runs}
    still = {i: np.zeros_like(x[i].value) if _is_real(x[i].value) else x[i].value for i in hosts}

    def apply(values: Mapping[int, Any]) -> list[Any]:
        return e.evaluate(*(values[i] for i in range(len(x))))

    base = b.compute(
        lambda *own: apply({**zeros, **dict(zip(hosts, own, strict=True))}), [x[i] for i in hosts]
    )
    results: list[Operand] = []
    for k, shape in enumerate(e.shapes):
        result: Operand = base[k]
        for i in runs:
            basis = np.eye(x[i].size).reshape(-1, *x[i].shape)

            def column(one: Any, i: int = i, k: int = k) -> Any:
                return apply({**zeros, **still, i: one})[k].reshape(-1)

            matrix = b.fixed(
                np.asarray(jax.vmap(column, out_axes=1)(jnp.asarray(basis)), np.float64)
            )
            if matrix.value.any():
                part = b.matrix(matrix, x[i], shape)
                nothing = isinstance(result, Host) and result.number == 0.0
                result = part if nothing else b.add(result, part)
        results.append(result)
    return results


def _is_real(value: np.ndarray) -> bool:
    return np.issubdtype(value.dtype, np.floating)


def dot(b: Builder, e: Equation, x: list[Any]) -> list[Operand]:
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
    grid = np.indices(joint).reshape(len(joint), math.prod(joint))
    index = np.zeros(grid.shape[1], int)
    for axis, extent in zip(axes, shape, strict=True):
        index = index * extent + grid[axis]
    return np.eye(int(np.prod(shape)))[index]
