"""One sequence's echo, every block at once, chunk by chunk: memory does not grow with time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from echoloom.frontend.energy.jaxpr import Split
from echoloom.frontend.gradients.rhel import rows
from echoloom.frontend.gradients.rhel.chunks import cut, downwards
from echoloom.frontend.gradients.rhel.contrast import (
    Contrast,
    contrast_adjoint,
    contrast_sides,
)
from echoloom.frontend.gradients.rhel.dynamics import (
    driven,
    flip,
    has_corners,
    prepare,
    retrace,
    split_potential,
)
from echoloom.frontend.gradients.rhel.echoes import Echo, Pair, echo_adjoint, echo_pair
from echoloom.frontend.gradients.rhel.forward import Rested, forward
from echoloom.frontend.gradients.rhel.objective import Objective
from echoloom.frontend.gradients.rhel.scale import choose_epsilon, renormalise
from echoloom.frontend.models.coefficients import BlockCoefficients, StackCoefficients
from echoloom.frontend.models.parts import State

Echoes = Literal["renormalised", "fixed", "difference"]


@dataclass(frozen=True)
class Plan:
    """How to sweep: steps in a chunk, and how the echoes are carried."""

    chunk: int
    echoes: Echoes

    @property
    def compensated(self) -> bool:
        """Whether states are summed so that the way there and back costs no precision."""
        return self.echoes == "difference"


class Carry(NamedTuple):
    """What the echo takes from chunk to chunk, blocks from the bottom up."""

    free: tuple[State, ...]
    echoes: tuple[Echo, ...]
    gradient: StackCoefficients


class Learned(NamedTuple):
    """The loss of one sequence, its gradient, and where the free copies ended: at rest if exact."""

    value: jax.Array
    gradient: StackCoefficients
    returned: tuple[State, ...]


def sweep(
    coefficients: StackCoefficients,
    objective: Objective,
    x: jax.Array,
    plan: Plan,
    epsilon: jax.Array | None,
) -> Learned:
    """Forward over x [T, inputs], and back.

    In a block with corners any plan carries the echoes' difference, by the slopes that JAX gives at
    the free copy: two copies that are really apart would see both sides of a corner between them.
    """
    splits = tuple(split_potential(block) for block in coefficients.blocks)
    corners = tuple(has_corners(block) for block in coefficients.blocks)
    states, total, rested = forward(
        coefficients, splits, objective, x, plan.chunk,
        compensated=plan.compensated, corners=corners,
    )  # fmt: skip
    before = objective.before_echo(coefficients.head, total)
    free = tuple(flip(state) for state in states)
    if epsilon is None and plan.echoes == "fixed":
        epsilon = choose_epsilon(coefficients, states, before.weight)
    zero = jax.tree.map(jnp.zeros_like, coefficients)
    start = Carry(
        free,
        tuple(
            _at_rest(state, plan, epsilon, cornered)
            for state, cornered in zip(free, corners, strict=True)
        ),
        eqx.tree_at(lambda own: own.head, zero, before.in_head),
    )

    def body(carry: Carry, first: jax.Array | int, length: int) -> Carry:
        piece = cut(x, first, length, coefficients.encoder.weight)
        return _echo_chunk(
            coefficients, splits, objective, before.every, plan, rested, carry, piece, first
        )

    end = downwards(body, start, x.shape[0], plan.chunk)
    return Learned(before.value, end.gradient, end.free)


def _at_rest(free: State, plan: Plan, epsilon: jax.Array | None, cornered: bool) -> Echo:
    """Echoes that have seen no nudge yet."""
    if plan.echoes == "fixed" and not cornered:
        scale = jnp.asarray(epsilon, free.q.dtype)
        return Pair(jax.tree.map(lambda at: jnp.stack([at, at]), free), scale)
    return jax.tree.map(jnp.zeros_like, free)


def _echo_chunk(
    coefficients: StackCoefficients,
    splits: tuple[Split, ...],
    objective: Objective,
    every: jax.Array,
    plan: Plan,
    rested: Rested,
    carry: Carry,
    x: jax.Array,
    first: jax.Array | int,
) -> Carry:
    """K steps of the echo, for x [K, inputs] of those steps, of which `first` is the earliest.

    Upwards, the free copies give back the activations, never stored; downwards, every block is
    pulled back, nudged, stepped and contrasted, and hands its input's error on.
    """
    h, encode_back = jax.vjp(lambda encoder: rows.affine(encoder, x), coefficients.encoder)
    free: list[State] = []
    downs = []
    steps = first + jnp.arange(x.shape[0])
    for block, own, state, echo, count in zip(
        coefficients.blocks, splits, carry.free, carry.echoes, rested, strict=True
    ):
        rests = None if count is None else steps[:, None] <= count
        state, h, down = _block_chunk(block, own, state, echo, h, plan, rests)
        free.append(state)
        downs.append(down)
    in_head, error = objective.error(coefficients.head, every, h, first)
    echoes: list[Echo] = []
    in_blocks: list[BlockCoefficients] = []
    for down in reversed(downs):
        echo, in_block, error = down(error)
        echoes.append(echo)
        in_blocks.append(in_block)
    (in_encoder,) = encode_back(error)
    here = StackCoefficients(in_encoder, tuple(reversed(in_blocks)), in_head)
    return Carry(tuple(free), tuple(reversed(echoes)), jax.tree.map(jnp.add, carry.gradient, here))


def _block_chunk(  # type: ignore[no-untyped-def]
    block: BlockCoefficients,
    own: Split,
    free: State,
    echo: Echo,
    h: jax.Array,
    plan: Plan,
    rests: jax.Array | None,
):
    """One block's way up: the free copy K steps back, the outputs [K, H], and the way down.

    `rests` [K, m], of a block with corners, says whose step back ends where it began: at rest.
    """
    u, drive_back = jax.vjp(rows.drive, block, h)
    prepared, prepare_back = jax.vjp(lambda unit, at: prepare(own, unit, at), block.unit, u)
    loop = driven(block, own, prepared.lasting)
    end, met = retrace(loop, free, prepared.timed, len(u), plan.compensated, rests)
    above, mix_back = jax.vjp(rows.mix, block, met.q, u, h)

    def down(error: jax.Array) -> tuple[Echo, BlockCoefficients, jax.Array]:
        in_mix, q_error, u_error, x_error = mix_back(error)
        push = block.step * q_error
        echoed, found = _contrast(loop, prepared.timed, met, echo, push, plan, rests)
        in_unit, u_contrast = prepare_back(found.prepared)
        in_drive, x_contrast = drive_back(u_error + u_contrast)
        in_block = eqx.tree_at(
            lambda b: (b.scale, b.shift, b.unit, b.step),
            in_mix,
            (
                in_drive.scale,
                in_drive.shift,
                jax.tree.map(jnp.add, in_unit, found.kinetic),
                found.step,
            ),
        )
        return echoed, in_block, x_error + x_contrast

    return end, above, down


def _contrast(
    loop: BlockCoefficients,
    timed: tuple[jax.Array, ...],
    met: State,
    echo: Echo,
    push: jax.Array,
    plan: Plan,
    rests: jax.Array | None,
) -> tuple[Echo, Contrast]:
    """The echoes K steps back, and what their difference says."""
    if isinstance(echo, Pair):
        after, nudged = echo_pair(loop, echo, echo.scale * push, timed)
        return after, contrast_sides(loop, nudged, timed, echo.scale)
    linear = plan.echoes == "difference" or rests is not None
    scale = None if linear else renormalise(echo, met, push)
    after, nudged = echo_adjoint(loop, echo, scale, push, met, timed, rests)
    return after, contrast_adjoint(loop, met, nudged, timed, scale, rests)
