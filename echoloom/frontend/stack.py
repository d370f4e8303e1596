"""Traces every function of an HSSM's time step: what the compiler starts from."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from echoloom.frontend import parts
from echoloom.frontend.coefficients import BlockCoefficients
from echoloom.frontend.hssm import HSSM
from echoloom.frontend.trace import path_name, trace
from echoloom.ir.passes.assemble import IDENTITY, BlockGraphs, StackGraphs


def stack_graphs(model: HSSM) -> StackGraphs:
    """Traced graphs of all blocks, encoder and head; shapes as in `parts`."""
    coefficients = model.resolve()
    x = np.zeros(model.inputs)
    h = np.zeros(model.hidden)
    classification = model.task == "classification"
    encode = trace(
        lambda encoder, x: {"out": parts.encode(encoder, x)}, encoder=coefficients.encoder, x=x
    )
    encode_back = trace(
        lambda encoder, x, g: {"encoder": jax.vjp(lambda e: parts.encode(e, x), encoder)[1](g)[0]},
        encoder=coefficients.encoder,
        x=x,
        g=h,
    )
    if classification:
        head = trace(lambda head, h: {"out": parts.head(head, h)}, head=coefficients.head, h=h)
        head_back = trace(
            lambda head, h, g: dict(
                zip(("head", "h"), jax.vjp(parts.head, head, h)[1](g), strict=True)
            ),
            head=coefficients.head,
            h=h,
            g=np.zeros(model.outputs),
        )
    else:
        head = trace(
            lambda head, h: {"out": jnp.tanh(parts.head(head, h))}, head=coefficients.head, h=h
        )
        head_back = trace(
            _regression_back,
            head=coefficients.head,
            h=h,
            target=np.zeros(model.outputs),
            gain=np.zeros(()),
        )
    return StackGraphs(
        encode,
        encode_back,
        tuple(_block_graphs(b, model.hidden) for b in coefficients.blocks),
        head,
        head_back,
        classification,
        model.inputs,
        model.outputs,
        model.hidden,
    )


def _regression_back(head, h, target, gain):  # type: ignore[no-untyped-def]
    """Gradient of half a step's squared error times the step's gain (0 without output)."""
    prediction, pull = jax.vjp(lambda c, at: jnp.tanh(parts.head(c, at)), head, h)
    by_head, by_h = pull(gain * (prediction - target))
    return {"head": by_head, "h": by_h}


def _block_graphs(block: BlockCoefficients, hidden: int) -> BlockGraphs:
    h = np.zeros(hidden)
    q = np.zeros(block.step.shape)

    def mix_back(block, q, u, x, g):  # type: ignore[no-untyped-def]
        by_block, by_q, by_u, by_x = jax.vjp(parts.mix, block, q, u, x)[1](g)
        return {"block": by_block, "q": by_q, "u": by_u, "x": by_x}

    def drive_back(block, x, g):  # type: ignore[no-untyped-def]
        by_block, by_x = jax.vjp(parts.drive, block, x)[1](g)
        return {"block": by_block, "x": by_x}

    def potential_contrast(block, q, u):  # type: ignore[no-untyped-def]
        by_block, by_u = jax.grad(lambda b, at: b.unit.potential(q, at), argnums=(0, 1))(block, u)
        return {"block": by_block, "u": by_u}

    def kinetic_contrast(block, p):  # type: ignore[no-untyped-def]
        return {"block": jax.grad(lambda b: b.unit.kinetic(p))(block)}

    return BlockGraphs(
        drive=trace(lambda block, x: {"u": parts.drive(block, x)}, block=block, x=h),
        velocity=trace(lambda block, p: {"v": parts.velocity(block.unit, p)}, block=block, p=q),
        force=trace(
            lambda block, q, u: {"f": parts.force(block.unit, q, u)}, block=block, q=q, u=h
        ),
        mix=trace(
            lambda block, q, u, x: {"out": parts.mix(block, q, u, x)}, block=block, q=q, u=h, x=h
        ),
        mix_back=trace(mix_back, block=block, q=q, u=h, x=h, g=h),
        potential_contrast=trace(potential_contrast, block=block, q=q, u=h),
        kinetic_contrast=trace(kinetic_contrast, block=block, p=q),
        drive_back=trace(drive_back, block=block, x=h, g=h),
        positions=int(block.step.size),
    )


def coefficient_values(model: HSSM) -> dict[str, np.ndarray]:
    """The resolved coefficients by the names the program uses: float64 arrays."""
    coefficients = model.resolve()
    values: dict[str, np.ndarray] = {}
    trees = [("encoder", coefficients.encoder), ("head", coefficients.head)]
    trees += [(f"b{i}", block) for i, block in enumerate(coefficients.blocks)]
    for prefix, tree in trees:
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
            values[f"{prefix}.{path_name(path)}"] = np.asarray(leaf, np.float64)
    if model.task == "regression":
        values[IDENTITY] = np.eye(model.outputs)
    return values
