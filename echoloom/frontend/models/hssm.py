"""The Hamiltonian state-space model: raw trainable parameters and their folding.

arXiv 2506.05259, section 4 (the stack used in its experiments): encoder, blocks of norm, unit,
GELU, gated linear unit and skip, then a head. The forward sweep is `parts.advance` under a scan
over the resolved coefficients, so the model, the tracer and both gradients share one time step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp

from echoloom.frontend.data.arrays import jax_array
from echoloom.frontend.data.samples import check_input
from echoloom.frontend.energy.hamiltonian import Hamiltonian
from echoloom.frontend.models import parts
from echoloom.frontend.models.arguments import checked_sizes
from echoloom.frontend.models.coefficients import Affine, BlockCoefficients, StackCoefficients
from echoloom.frontend.models.sizes import Activation, BlockSizes, Sizes, Task
from echoloom.frontend.models.units import CustomUnit, LinearUnit, NonlinearUnit, RawUnit
from echoloom.ir.scheme import Integrator

T = TypeVar("T")


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
    """One block's raw parameters, and how it steps."""

    norm: AffineNorm
    unit: RawUnit
    feedthrough: jax.Array  # [H]
    value: Affine  # [H, H]
    gate: Affine  # [H, H]
    integrator: Integrator = eqx.field(static=True)
    substeps: int = eqx.field(static=True)
    activation: Activation = eqx.field(static=True)

    def resolve(self) -> BlockCoefficients:
        """The block as the fabric holds it."""
        scale, shift = self.norm.resolve()
        unit, step, readout = self.unit.resolve()
        return BlockCoefficients(
            scale, shift, unit, step, readout, self.feedthrough, self.value, self.gate,
            self.integrator, self.substeps, self.activation,
        )  # fmt: skip


class HSSM(eqx.Module):
    """A stack of Hamiltonian units over sequences x [T, inputs].

    Arguments: `hidden` is the width H, `blocks` their number. Six others say what a block is, and
    each is one value for all blocks or a sequence of one a block:

    - `unit`: "linear", "nonlinear" or a Hamiltonian;
    - `state`: the number n of oscillators (of positions m if the unit is a Hamiltonian);
    - `complex` (linear units only): two copies of every oscillator;
    - `step` in (0, 1): the initial step of every oscillator, spread over 0.5 to 0.73 if None;
    - `substeps`: how many such steps every sample makes, all with the same drive;
    - `integrator`: "leapfrog", or "imex" for the symplectic Euler step.

    `classes` (classification) are names, one for each output, that labels may then be given as.
    `activation` is "gelu" or, as in the published code, "gelu_tanh". `output_step` (regression)
    emits one output every so many samples. New parameters have JAX's default float type.

    The properties `state`, `complex`, `substeps` and `integrator` give one value where all blocks
    agree, else a tuple.

    Raises ValueError, in one sentence, for arguments that describe no model.
    """

    encoder: Affine
    blocks: tuple[Block, ...]
    head: Affine
    inputs: int = eqx.field(static=True)
    outputs: int = eqx.field(static=True)
    hidden: int = eqx.field(static=True)
    states: tuple[int, ...] = eqx.field(static=True)
    complexes: tuple[bool, ...] = eqx.field(static=True)
    task: Task = eqx.field(static=True)
    output_step: int = eqx.field(static=True)
    classes: tuple[str, ...] = eqx.field(static=True)

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: int,
        state: int | Sequence[int],
        blocks: int,
        unit: str | Hamiltonian | Sequence[str | Hamiltonian] = BlockSizes.unit,
        complex: bool | Sequence[bool] = BlockSizes.complex,
        task: Task = Sizes.task,
        output_step: int = Sizes.output_step,
        step: float | Sequence[float | None] | None = BlockSizes.step,
        substeps: int | Sequence[int] = BlockSizes.substeps,
        integrator: str | Sequence[str] = BlockSizes.integrator,
        activation: str = Sizes.activation,
        classes: Sequence[str] = Sizes.classes,
        *,
        key: jax.Array,
    ):
        sizes = checked_sizes(
            inputs, outputs, hidden, blocks, task, output_step, activation, classes,
            unit=unit, state=state, complex=complex, step=step, substeps=substeps,
            integrator=integrator,
        )  # fmt: skip
        encoder_key, head_key, *block_keys = jax.random.split(key, 2 + len(sizes.blocks))
        self.encoder = _affine(sizes.inputs, sizes.hidden, encoder_key)
        self.head = _affine(sizes.hidden, sizes.outputs, head_key)
        self.blocks = tuple(
            _block(own, sizes, block_key)
            for own, block_key in zip(sizes.blocks, block_keys, strict=True)
        )
        self.inputs, self.outputs, self.hidden = sizes.inputs, sizes.outputs, sizes.hidden
        self.states = tuple(own.state for own in sizes.blocks)
        self.complexes = tuple(
            own.complex and isinstance(own.unit, str) and own.unit == "linear"
            for own in sizes.blocks
        )
        self.task, self.output_step, self.classes = sizes.task, sizes.output_step, sizes.classes

    @property
    def state(self) -> int | tuple[int, ...]:
        """The number of oscillators in a block."""
        return _common(self.states)

    @property
    def complex(self) -> bool | tuple[bool, ...]:
        """Whether oscillators have two copies."""
        return _common(self.complexes)

    @property
    def substeps(self) -> int | tuple[int, ...]:
        """How many steps every sample makes."""
        return _common(tuple(block.substeps for block in self.blocks))

    @property
    def integrator(self) -> str | tuple[str, ...]:
        """How a step is made."""
        return _common(tuple(block.integrator for block in self.blocks))

    @property
    def activation(self) -> Activation:
        """Which GELU, the same in every block."""
        return self.blocks[0].activation

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
        x = jax_array("input", x)
        check_input(self, x)
        coefficients = self.resolve()
        features = run(coefficients, x.astype(self.encoder.weight.dtype))
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
    """A filter spec like `model`: True at trainable arrays, False at the norm statistics.

    It is also a mask for optax, of parameters or gradients: what is None there is None here.
    """
    spec = jax.tree.map(eqx.is_inexact_array, model)
    return eqx.tree_at(
        lambda m: [s for b in m.blocks for s in (b.norm.mean, b.norm.variance)],
        spec,
        replace_fn=lambda learned: None if learned is None else False,
        is_leaf=lambda node: node is None,
    )


def size(model: HSSM) -> int:
    """How many numbers a model holds, the norm statistics' too."""
    return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_array)))


def with_statistics(model: HSSM, samples: jax.Array) -> HSSM:
    """`model` with its norm statistics measured on samples [N, T, inputs], block by block.

    A block is measured with the blocks below it already set, so that every norm sees the inputs
    that it will have. Means and variances are taken in float64 whatever the model computes in: a
    sum of a million float32 is good for nothing.
    """
    samples = jax_array("samples", samples).astype(model.encoder.weight.dtype)
    for index in range(len(model.blocks)):
        coefficients = model.resolve()
        below = StackCoefficients(
            coefficients.encoder, coefficients.blocks[:index], coefficients.head
        )
        features = jax.vmap(lambda x, c=below: run(c, x))(samples)
        model = eqx.tree_at(
            lambda m, i=index: (m.blocks[i].norm.mean, m.blocks[i].norm.variance),
            model,
            _moments(features),
        )
    return model


def _moments(features: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and variance [H] of features [N, T, H], in their own type."""
    with jax.enable_x64(True):
        exact, axes = features.astype(jnp.float64), (0, 1)
        mean, variance = jnp.mean(exact, axis=axes), jnp.var(exact, axis=axes)
        return mean.astype(features.dtype), variance.astype(features.dtype)


def _block(own: BlockSizes, sizes: Sizes, key: jax.Array) -> Block:
    keys, hidden = jax.random.split(key, 4), sizes.hidden
    if isinstance(own.unit, Hamiltonian):
        unit: RawUnit = CustomUnit(own.unit, hidden, own.state, own.step, keys[0])
    elif own.unit == "nonlinear":
        unit = NonlinearUnit(hidden, own.state, own.step, keys[0])
    else:
        unit = LinearUnit(hidden, own.state, own.complex, own.step, keys[0])
    return Block(
        norm=_norm(hidden),
        unit=unit,
        feedthrough=jax.random.normal(keys[1], (hidden,)),
        value=_affine(hidden, hidden, keys[2]),
        gate=_affine(hidden, hidden, keys[3]),
        integrator=own.integrator,
        substeps=own.substeps,
        activation=sizes.activation,
    )


def _common(values: tuple[T, ...]) -> T | tuple[T, ...]:
    """The one value that all blocks have, else all of them."""
    return values[0] if len(set(values)) == 1 else values


def _affine(inputs: int, outputs: int, key: jax.Array) -> Affine:
    """Uniform in +-1/sqrt(inputs), weights and bias."""
    weight_key, bias_key = jax.random.split(key)
    bound = 1.0 / math.sqrt(inputs)
    return Affine(
        jax.random.uniform(weight_key, (outputs, inputs), minval=-bound, maxval=bound),
        jax.random.uniform(bias_key, (outputs,), minval=-bound, maxval=bound),
    )


def _norm(hidden: int) -> AffineNorm:
    # Four arrays: a buffer that is in a model twice cannot be donated.
    return AffineNorm(
        scale=jnp.ones(hidden),
        shift=jnp.zeros(hidden),
        mean=jnp.zeros(hidden),
        variance=jnp.ones(hidden),
        eps=1e-5,
    )
