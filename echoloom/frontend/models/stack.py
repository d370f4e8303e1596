"""Traces every function of an HSSM's time step: what the compiler starts from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from echoloom.frontend.energy.canonical import CanonicalUnit, Plan, canonicalise
from echoloom.frontend.energy.folding import HostExpression, evaluate
from echoloom.frontend.energy.jaxpr import path_name
from echoloom.frontend.energy.trace import trace
from echoloom.frontend.models import parts
from echoloom.frontend.models.coefficients import BlockCoefficients, StackCoefficients
from echoloom.frontend.models.hssm import HSSM
from echoloom.ir.passes.assemble import IDENTITY, BlockGraphs, StackGraphs
from echoloom.ir.program import Graph

Values = dict[str, np.ndarray]
T = TypeVar("T")
BLOCK = "block"  # what traced functions call the one block that they know


@dataclass(frozen=True, eq=False)
class Folding:
    """How a model's raw parameters become the numbers that its program uses, worked out once.

    It holds for every model that differs from the traced one in its parameters only, and so do the
    `graphs` that use the numbers.
    """

    graphs: StackGraphs
    plans: tuple[Plan, ...]
    # By part of the stack, what traced functions fold from its coefficients: `<part>.<name>`.
    folded: Mapping[str, Mapping[str, HostExpression]]
    constants: Mapping[str, np.ndarray]

    def values(self, model: HSSM) -> Values:
        """The float64 coefficients of `model` by the names that the program uses."""
        with jax.enable_x64(True):
            trees = _trees(canonical(float64(model.resolve()), self.plans))
        found = dict(self.constants)
        for name, (argument, tree) in trees.items():
            own = {
                path_name(path): np.asarray(leaf, np.float64)
                for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
            }
            traced = {f"{argument}.{leaf}": value for leaf, value in own.items()}
            expressions = self.folded.get(name, {})
            own |= zip(expressions, evaluate(expressions.values(), traced), strict=True)
            found |= {f"{name}.{leaf}": value for leaf, value in own.items()}
        return found


def _trees(coefficients: StackCoefficients) -> dict[str, tuple[str, Any]]:
    """The coefficients of every part of the stack by its name in the program, and what traced
    functions call them."""
    outer = {"encoder": coefficients.encoder, "head": coefficients.head}
    blocks = {f"b{i}": (BLOCK, block) for i, block in enumerate(coefficients.blocks)}
    return {**{name: (name, own) for name, own in outer.items()}, **blocks}


def float64(tree: T) -> T:
    """The same model, or any part of one, in float64; JAX's x64 mode must be on."""

    def widened(leaf: Any) -> Any:
        return jnp.asarray(np.asarray(leaf), jnp.float64) if eqx.is_array(leaf) else leaf

    return jax.tree.map(widened, tree)


def canonical(coefficients: StackCoefficients, units: Sequence[Plan]) -> StackCoefficients:
    """The stack with its units in canonical form; differentiable, in float64 mode only."""
    blocks = tuple(
        eqx.tree_at(lambda b: b.unit, block, plan.fold(block.unit))
        for block, plan in zip(coefficients.blocks, units, strict=True)
    )
    return eqx.tree_at(lambda c: c.blocks, coefficients, blocks)


def canonical_units(model: HSSM) -> tuple[Plan, ...]:
    """Every block's energies in canonical form. Raises Untraceable (a ValueError)."""
    return tuple(
        canonicalise(block.unit, block.step.size, model.hidden) for block in model.resolve().blocks
    )


def folded_stack(model: HSSM, units: tuple[Plan, ...] | None = None) -> Folding:
    """Traced graphs of all blocks, encoder and head (shapes as in `parts`), and where the
    coefficients come from. `units` are the model's `canonical_units`, which are worked out where
    they are not given. Raises Untraceable (a ValueError)."""
    units = canonical_units(model) if units is None else units
    with jax.enable_x64(True):
        return _traced(model, canonical(float64(model.resolve()), units), units)


class _Tracer:
    """Traces functions of the parts of a stack, and collects what they fold."""

    def __init__(self, coefficients: StackCoefficients) -> None:
        self.trees = _trees(coefficients)
        self.folded: dict[str, dict[str, HostExpression]] = {}

    def trace(self, part: str, label: str, function: Any, **arguments: Any) -> Graph:
        argument, own = self.trees[part]
        traced = trace(function, label, {argument: own}, **arguments)
        self.folded.setdefault(part, {}).update(
            {name: folded.expression for name, folded in traced.folded.items()}
        )
        return traced.graph


def _traced(model: HSSM, coefficients: StackCoefficients, units: tuple[Plan, ...]) -> Folding:
    x, h = np.zeros(model.inputs), np.zeros(model.hidden)
    outputs = np.zeros(model.outputs)
    classification = model.task == "classification"
    t = _Tracer(coefficients)

    def encode_back(encoder, x, g):  # type: ignore[no-untyped-def]
        return {"encoder": jax.vjp(lambda e: parts.encode(e, x), encoder)[1](g)[0]}

    def head(head, h):  # type: ignore[no-untyped-def]
        return {"out": parts.head(head, h) if classification else jnp.tanh(parts.head(head, h))}

    def head_back(head, h, g):  # type: ignore[no-untyped-def]
        by_head, by_h = jax.vjp(parts.head, head, h)[1](g)
        return {"head": by_head, "h": by_h}

    if classification:
        pulled = t.trace("head", "head_back", head_back, h=h, g=outputs)
    else:
        ends = {"target": outputs, "gain": np.zeros(())}
        pulled = t.trace("head", "head_back", _regression_back, h=h, **ends)
    graphs = StackGraphs(
        t.trace("encoder", "encode", lambda encoder, x: {"out": parts.encode(encoder, x)}, x=x),
        t.trace("encoder", "encode_back", encode_back, x=x, g=h),
        tuple(_block_graphs(t, f"b{i}", b, h) for i, b in enumerate(coefficients.blocks)),
        t.trace("head", "head", head, h=h),
        pulled,
        classification,
        model.inputs,
        model.outputs,
        model.hidden,
    )
    constants = {} if classification else {IDENTITY: np.eye(model.outputs)}
    return Folding(graphs, units, t.folded, constants)


def _regression_back(head, h, target, gain):  # type: ignore[no-untyped-def]
    """Gradient of half a step's squared error times the step's gain (0 without output)."""
    prediction, pull = jax.vjp(lambda c, at: jnp.tanh(parts.head(c, at)), head, h)
    by_head, by_h = pull(gain * (prediction - target))
    return {"head": by_head, "h": by_h}


def _trainable(unit: CanonicalUnit) -> CanonicalUnit:
    own = {n: unit.coefficients[n] for n in sorted(unit.plan.learned & unit.coefficients.keys())}
    return CanonicalUnit(own, unit.plan)


def _block_graphs(t: _Tracer, name: str, block: BlockCoefficients, h: np.ndarray) -> BlockGraphs:
    q = np.zeros(block.step.shape)

    def mix_back(block, q, u, x, g):  # type: ignore[no-untyped-def]
        by_block, by_q, by_u, by_x = jax.vjp(parts.mix, block, q, u, x)[1](g)
        return {"block": by_block, "q": by_q, "u": by_u, "x": by_x}

    def drive_back(block, x, g):  # type: ignore[no-untyped-def]
        by_block, by_x = jax.vjp(parts.drive, block, x)[1](g)
        return {"block": by_block, "x": by_x}

    def beside(block, q, u, sides):  # type: ignore[no-untyped-def]
        return {"f": jax.grad(block.unit.potential)(q, u, sides)}

    def potential_contrast(block, q, u, sides):  # type: ignore[no-untyped-def]
        by_unit, by_u = jax.grad(lambda unit, at: unit.potential(q, at, sides), argnums=(0, 1))(
            block.unit, u
        )
        return {"block": {"unit": _trainable(by_unit)}, "u": by_u}

    def kinetic_contrast(block, p):  # type: ignore[no-untyped-def]
        return {"block": {"unit": _trainable(jax.grad(lambda unit: unit.kinetic(p))(block.unit))}}

    def traced(label: str, function, **arguments: Any) -> Graph:  # type: ignore[no-untyped-def]
        return t.trace(name, label, function, **arguments)

    force = traced("force", lambda block, q, u: {"f": parts.force(block.unit, q, u)}, q=q, u=h)
    sides = traced("sides", lambda block, q, u: {"sides": block.unit.sides(q, u)}, q=q, u=h)
    canonical_unit = block.unit
    assert isinstance(canonical_unit, CanonicalUnit)
    of_free = tuple(np.zeros(s.shape) for s in jax.eval_shape(canonical_unit.sides, q, h))
    return BlockGraphs(
        drive=traced("drive", lambda block, x: {"u": parts.drive(block, x)}, x=h),
        velocity=traced("velocity", lambda block, p: {"v": parts.velocity(block.unit, p)}, p=q),
        force=force,
        sides=sides,
        beside=traced("beside", beside, q=q, u=h, sides=of_free) if of_free else force,
        mix=traced("mix", lambda block, q, u, x: {"out": parts.mix(block, q, u, x)}, q=q, u=h, x=h),
        mix_back=traced("mix_back", mix_back, q=q, u=h, x=h, g=h),
        potential_contrast=traced("contrast", potential_contrast, q=q, u=h, sides=of_free),
        kinetic_contrast=traced("kinetic", kinetic_contrast, p=q),
        drive_back=traced("drive_back", drive_back, x=h, g=h),
        positions=int(block.step.size),
        stages=parts.stages(block),
    )
