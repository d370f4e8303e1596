"""The Hamiltonian state-space model: raw trainable parameters and their folding.

arXiv 2506.05259, section 4 (the stack used in its experiments): encoder, blocks of norm, unit,
GELU, gated linear unit and skip, then a head. The forward pass is `parts.advance` under a scan over
the resolved coefficients, so the model, the tracer and both gradients share one time step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp

from echoloom.frontend import parts
from echoloom.frontend.check import check as check
from echoloom.frontend.check import check_arguments
from echoloom.frontend.coefficients import Affine, BlockCoefficients, StackCoefficients
from echoloom.frontend.data import check_input
from echoloom.frontend.hamiltonian import Hamiltonian
from echoloom.frontend.units import CustomUnit, LinearUnit, RawUnit

Task = Literal["classification", "regression"]


class AffineNorm(eqx.Module):
    """A batch norm whose statistics are frozen: scale, shift, mean and variance are all [H]."""

    scale: jax.Array
    shift: jax.Array
    mean: jax.Array
    variance: jax.Array
    eps: float = eqx.field(static=True)

    def resolve(self) -> tuple[jax.Array, jax.Array]:
        """The scale [H] and shift [H] of u = scale * x + shift."""
        mean, variance = jax.lax.stop_gradient((self.mean, self.variance))
        scale = self.scale / jnp.sqrt(variance + self.eps)
        return scale, self.shift - mean * scale


class Block(eqx.Module):
    """One block's raw parameters."""

    norm: AffineNorm
    unit: RawUnit
    feedthrough: jax.Array  # [H]
    value: Affine  # [H, H]
    gate: Affine  # [H, H]

    def resolve(self) -> BlockCoefficients:
        """The block as the fabric holds it."""
        scale, shift = self.norm.resolve()
        unit, step, readout = self.unit.resolve()
        return BlockCoefficients(
            scale, shift, unit, step, readout, self.feedthrough, self.value, self.gate
        )


class HSSM(eqx.Module):
    """A stack of Hamiltonian units over sequences x [T, inputs].

    Arguments: `hidden` is the width H; `state` the number n of oscillators a block (of positions m
    if `unit` is a Hamiltonian); `unit` is "linear", one Hamiltonian for every block, or a sequence
    of one a block; `complex` (linear unit only) gives every oscillator two copies; `output_step`
    (regression) emits every so manyth step; `step` in (0, 1) is the initial step of every
    oscillator, spread over 0.5 to 0.73 if None. New parameters have JAX's default float type.

    Raises ValueError, in one sentence, for arguments that describe no model.
    """

    encoder: Affine
    blocks: tuple[Block, ...]
    head: Affine
    inputs: int = eqx.field(static=True)
    outputs: int = eqx.field(static=True)
    hidden: int = eqx.field(static=True)
    state: int = eqx.field(static=True)
    complex: bool = eqx.field(static=True)
    task: Task = eqx.field(static=True)
    output_step: int = eqx.field(static=True)

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: int,
        state: int,
        blocks: int,
        unit: str | Hamiltonian | Sequence[Hamiltonian] = "linear",
        complex: bool = True,
        task: Task = "classification",
        output_step: int = 1,
        step: float | None = None,
        *,
        key: jax.Array,
    ):
        check_arguments(
            inputs=inputs,
            outputs=outputs,
            hidden=hidden,
            state=state,
            blocks=blocks,
            unit=unit,
            task=task,
            output_step=output_step,
            step=step,
        )
        encoder_key, head_key, *block_keys = jax.random.split(key, 2 + blocks)
        self.encoder = _affine(inputs, hidden, encoder_key)
        self.head = _affine(hidden, outputs, head_key)
        stack: list[Block] = []
        for index, block_key in enumerate(block_keys):
            keys = jax.random.split(block_key, 4)
            if isinstance(unit, str):
                raw: RawUnit = LinearUnit(hidden, state, complex, step, keys[0])
            else:
                own = unit if isinstance(unit, Hamiltonian) else unit[index]
                raw = CustomUnit(own, hidden, state, step, keys[0])
            stack.append(
                Block(
                    norm=_norm(hidden),
                    unit=raw,
                    feedthrough=jax.random.normal(keys[1], (hidden,)),
                    value=_affine(hidden, hidden, keys[2]),
                    gate=_affine(hidden, hidden, keys[3]),
                )
            )
        self.blocks = tuple(stack)
        self.inputs, self.outputs, self.hidden, self.state = inputs, outputs, hidden, state
        self.complex = complex and isinstance(unit, str)
        self.task, self.output_step = task, output_step

    def resolve(self) -> StackCoefficients:
        """Everything foldable folded: what the fabric holds. Differentiable."""
        return StackCoefficients(
            self.encoder, tuple(block.resolve() for block in self.blocks), self.head
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        """x [T, inputs] -> logits [outputs], or predictions [T // output_step, outputs] in (-1, 1).

        Classification: the head of the time mean of the last block's output. Regression: tanh of
        the head at steps output_step - 1, 2 * output_step - 1, and so on. Raises ValueError if x
        has another shape, or too few steps for one output.
        """
        check_input(self, x)
        coefficients = self.resolve()
        features = run(coefficients, x)
        if self.task == "classification":
            return parts.head(coefficients.head, jnp.mean(features, axis=0))
        emitted = features[self.output_step - 1 :: self.output_step]
        return jnp.tanh(jax.vmap(lambda h: parts.head(coefficients.head, h))(emitted))


def rest(coefficients: StackCoefficients) -> tuple[parts.State, ...]:
    """Every block's state at rest: q = p = 0, shape [m] each."""
    zeros = [jnp.zeros_like(block.step) for block in coefficients.blocks]
    return tuple(parts.State(zero, zero) for zero in zeros)


def run(coefficients: StackCoefficients, x: jax.Array) -> jax.Array:
    """The last block's output at every step: x [T, inputs] -> [T, H], from rest."""
    _, features = jax.lax.scan(
        lambda states, at: parts.advance(coefficients, states, at), rest(coefficients), x
    )
    return features


def trainable(model: HSSM) -> HSSM:
    """A filter spec like `model`: True at trainable arrays, False at the norm statistics."""
    spec = jax.tree.map(eqx.is_inexact_array, model)
    return eqx.tree_at(
        lambda m: [s for b in m.blocks for s in (b.norm.mean, b.norm.variance)],
        spec,
        replace_fn=lambda _: False,
    )


def with_statistics(model: HSSM, samples: jax.Array) -> HSSM:
    """`model` with its norm statistics measured on samples [N, T, inputs], block by block.

    A block is measured with the blocks below it already set, so that every norm sees the inputs
    that it will have.
    """
    for index in range(len(model.blocks)):
        coefficients = model.resolve()
        below = StackCoefficients(
            coefficients.encoder, coefficients.blocks[:index], coefficients.head
        )
        features = jax.vmap(lambda x, c=below: run(c, x))(samples)
        model = eqx.tree_at(
            lambda m, i=index: (m.blocks[i].norm.mean, m.blocks[i].norm.variance),
            model,
            (jnp.mean(features, axis=(0, 1)), jnp.var(features, axis=(0, 1))),
        )
    return model


def _affine(inputs: int, outputs: int, key: jax.Array) -> Affine:
    """Uniform in +-1/sqrt(inputs), weights and bias."""
    weight_key, bias_key = jax.random.split(key)
    bound = 1.0 / math.sqrt(inputs)
    return Affine(
        jax.random.uniform(weight_key, (outputs, inputs), minval=-bound, maxval=bound),
        jax.random.uniform(bias_key, (outputs,), minval=-bound, maxval=bound),
    )


def _norm(hidden: int) -> AffineNorm:
    ones, zeros = jnp.ones(hidden), jnp.zeros(hidden)
    return AffineNorm(scale=ones, shift=zeros, mean=zeros, variance=ones, eps=1e-5)
