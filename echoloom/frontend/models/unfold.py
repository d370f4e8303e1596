"""Back from coefficients to the raw parameters that fold to them, where each comes from one.

A coefficient whose every element is one raw parameter's, times a factor, can be moved by itself: a
model that folds to the moved one is found again. Which are, is asked of the folding's derivatives
at a point where none of them vanishes by chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from echoloom.frontend.energy.folding import HostExpression
from echoloom.frontend.energy.jaxpr import path_name
from echoloom.frontend.models.hssm import HSSM, trainable
from echoloom.frontend.models.stack import Folding, canonical, float64
from echoloom.ir.passes.graphs import coefficients

Floats = NDArray[np.float64]
STRAIGHT = 1e-9  # relative distance from a straight line that rounding explains
NORM = ("scale", "shift")  # of these a block's folded norm is made, which is inverted as a whole


@dataclass(frozen=True, eq=False)
class RawElements:
    """Which raw parameters a coefficient's elements are: element `index` of all raw parameters,
    times `slope`, plus `offset`; [size] each. `positive`: none below zero is reached."""

    index: NDArray[np.int64]
    slope: Floats
    offset: Floats
    positive: bool


@dataclass(frozen=True, eq=False)
class Unfolding:
    """How the coefficients of a model (of its parameters' shapes) come from raw parameters."""

    model: HSSM
    folding: Folding

    def of(self, name: str) -> RawElements | str:
        """Where a coefficient comes from, or why it cannot be moved by itself: "<name> is frozen:
        <why>" is a sentence."""
        block, _, own = name.rpartition(".")
        if own in NORM and "." not in block and block not in ("encoder", "head"):
            size = self._probe.values[name].size
            none = np.zeros(size)
            return RawElements(np.full(size, -1), none + 1.0, none, positive=False)
        if name not in self._probe.values:
            return "it is folded from several of the model's parameters"
        leaves = self._probe.leaves_of[name]
        if not leaves:
            return "no parameter of the model is behind it"
        if len(leaves) > 1:
            return "it is made of several of the model's parameters"
        (leaf,) = leaves
        shared = [n for n in self._users(leaf) if n != name]
        if shared:
            return f"{shared[0]} is made of the same parameters"
        return self._elements(name)

    def _elements(self, name: str) -> RawElements | str:
        probe = self._probe
        index = probe.sources(name)
        if index is None:
            return "its elements are each made of several parameters"
        if len(np.unique(index)) < len(index):
            return "one parameter stands for several of its elements"
        slope, at, base = probe.slopes[name], probe.values[name], probe.base[index]
        further = at + slope * base  # at twice the parameters, if the way there is straight
        if not np.allclose(probe.doubled[name], further, rtol=STRAIGHT, atol=0.0):
            return "its parameters reach it through a curve"
        offset = at - slope * base
        before, straight = probe.mirrored[name], offset - slope * base
        if np.array_equal(before, straight):
            return RawElements(index, slope, offset, positive=False)
        if offset.any() or (slope <= 0.0).any():
            return "its parameters reach it through a curve"
        return RawElements(index, slope, offset, positive=True)

    def _users(self, leaf: int) -> list[str]:
        """The program's coefficients that a raw leaf reaches, folded ones too."""
        probe = self._probe
        found = [n for n in self._used if leaf in probe.leaves_of.get(n, ())]
        for part, folded in self.folding.folded.items():
            for name, expression in folded.items():
                read = {f"{part}.{n}" for n in _leaves(expression)}
                if any(leaf in probe.leaves_of.get(n, ()) for n in read):
                    found.append(f"{part}.{name}")
        return found

    @cached_property
    def _used(self) -> tuple[str, ...]:
        return tuple(d.name for d in coefficients(self.folding.graphs))

    @cached_property
    def _probe(self) -> _Probe:
        with jax.enable_x64(True):
            return _probe(self.model, self.folding)

    def model_of(self, values: Mapping[str, Floats]) -> HSSM:
        """The model whose folding gives these coefficients, all others as they were. Its raw
        parameters keep their float type. ValueError for a coefficient that cannot be moved."""
        own, rest = eqx.partition(self.model, trainable(self.model))
        leaves, structure = jax.tree.flatten(own)
        flat = np.concatenate([np.asarray(leaf, np.float64).reshape(-1) for leaf in leaves])
        for name, value in values.items():
            place = self.of(name)
            if isinstance(place, str):
                raise ValueError(f"{name} is frozen: {place}")
            if place.index[0] >= 0:
                flat[place.index] = (np.asarray(value).reshape(-1) - place.offset) / place.slope
        ends = np.cumsum([leaf.size for leaf in leaves])[:-1]
        parts = [
            jnp.asarray(part.reshape(leaf.shape), leaf.dtype)
            for part, leaf in zip(np.split(flat, ends), leaves, strict=True)
        ]
        model = eqx.combine(jax.tree.unflatten(structure, parts), rest)
        for number in range(len(model.blocks)):
            found = {n: values[f"b{number}.{n}"] for n in NORM if f"b{number}.{n}" in values}
            if found:
                model = _with_norm(model, self.model, number, found)
        return model


def _leaves(expression: HostExpression) -> set[str]:
    """What an expression of a traced function reads, without the name of its argument."""
    if expression.compute is None:
        return {str(expression.operation).partition(".")[2]}
    return {name for operand in expression.operands for name in _leaves(operand)}


def _with_norm(model: HSSM, before: HSSM, number: int, wanted: Mapping[str, Floats]) -> HSSM:
    """With raw scales and shifts that fold to the wanted ones; the shift makes up for what a scale
    takes the mean by."""
    with jax.enable_x64(True):
        old = float64(before.blocks[number].norm)
        _, shift = (np.asarray(part) for part in old.resolve())
        scale = model.blocks[number].norm.scale
        if "scale" in wanted:
            deviation = np.sqrt(np.asarray(old.variance) + old.eps)
            scale = jnp.asarray(wanted["scale"] * deviation, scale.dtype)
        norm = eqx.tree_at(lambda n: n.scale, model.blocks[number].norm, scale)
        folded, _ = float64(norm).resolve()
        raw = wanted.get("shift", shift) + np.asarray(old.mean) * np.asarray(folded)
        norm = eqx.tree_at(lambda n: n.shift, norm, jnp.asarray(raw, norm.shift.dtype))
    return eqx.tree_at(lambda m: m.blocks[number].norm, model, norm)


@dataclass(frozen=True, eq=False)
class _Probe:
    """Canonical coefficients by name, flat: at a base point where all raw parameters are positive,
    twice as far, and at its mirror image; their derivatives, and what they depend on."""

    base: Floats
    values: Mapping[str, Floats]
    doubled: Mapping[str, Floats]
    mirrored: Mapping[str, Floats]
    slopes: Mapping[str, Floats]  # with all raw parameters moved alike
    bits: Mapping[str, NDArray[np.bool_]]  # [2, bits, size]: moved by those with the bit clear, set
    leaves_of: Mapping[str, frozenset[int]]

    def sources(self, name: str) -> NDArray[np.int64] | None:
        """The one raw element behind every element, None where there are several."""
        clear, set_ = self.bits[name]
        if not np.all(clear != set_):
            return None
        return (set_ * (1 << np.arange(len(set_)))[:, None]).sum(0)


def _probe(model: HSSM, folding: Folding) -> _Probe:
    own, rest = eqx.partition(float64(model), trainable(model))
    leaves, structure = jax.tree.flatten(own)
    sizes = [leaf.size for leaf in leaves]
    flat = np.concatenate([np.asarray(leaf).reshape(-1) for leaf in leaves])
    base = np.abs(flat) + np.random.default_rng(0).uniform(0.05, 0.1, flat.size)
    ends = np.cumsum(sizes)[:-1]

    def folded(at: Any) -> dict[str, Any]:
        parts = jnp.split(at, ends)
        raw = [part.reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]
        full = eqx.combine(jax.tree.unflatten(structure, raw), rest)
        tree = canonical(full.resolve(), folding.plans)
        trees = {"encoder": tree.encoder, "head": tree.head}
        trees |= {f"b{i}": block for i, block in enumerate(tree.blocks)}
        return {
            f"{part}.{path_name(path)}": jnp.reshape(leaf, -1)
            for part, of_part in trees.items()
            for path, leaf in jax.tree_util.tree_leaves_with_path(of_part)
            if eqx.is_inexact_array(leaf)
        }

    number = np.arange(flat.size)
    bits = 1 << np.arange(max(flat.size - 1, 1).bit_length())
    set_ = (number & bits[:, None]) > 0
    of_leaf = np.repeat(np.arange(len(sizes)), sizes) == np.arange(len(sizes))[:, None]
    tangents = np.concatenate([np.ones((1, flat.size)), ~set_, set_, of_leaf]).astype(np.float64)

    def moved(at: Any, along: Any) -> dict[str, Any]:
        return jax.vmap(lambda t: jax.jvp(folded, (at,), (t,))[1])(along)

    found = {k: np.asarray(v) for k, v in jax.jit(moved)(base, tangents).items()}
    points = jax.jit(jax.vmap(folded))(np.stack([base, 2.0 * base, -base]))
    n = len(bits)
    at = [{k: np.asarray(v[number]) for k, v in points.items()} for number in range(3)]
    moves = {k: v[1 : 1 + 2 * n].reshape(2, n, -1) != 0.0 for k, v in found.items()}
    reached = {k: np.flatnonzero((v[1 + 2 * n :] != 0.0).any(1)) for k, v in found.items()}
    return _Probe(
        base, at[0], at[1], at[2], {k: v[0] for k, v in found.items()}, moves,
        {k: frozenset(leaves.tolist()) for k, leaves in reached.items()},
    )  # fmt: skip
