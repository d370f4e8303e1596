"""Recurrent Hamiltonian Echo Learning in one sweep, every block at once, memory constant in T.

arXiv 2506.05259 (Pourcel and Ernoult), its echo theorem applied to a whole stack. The forward pass
keeps only the final state of each block. Its momenta are then flipped, and three copies of each
block retrace the sequence: *free* gives back the forward activations one by one, *plus* and *minus*
are nudged along the loss gradient by +-epsilon before each step. The gradient is the difference of
what those two see.

A step is drifts of q and kicks of p in turns (`parts.stages`). Turning p round undoes each of them,
so the echo makes them in reverse order, whatever the integrator and however many substeps a sample
makes. Every stage is symplectic, so the difference of the echoes is the adjoint state at every
stage, and the gradient is a sum over stages.

Steps are one per coordinate, h [m]. Writing P = p / h turns a stage into that of the Hamiltonian
T(h P) + V(q, u) with step 1, which is why the nudge of p carries a factor h and why the contrasts
below carry none. Nothing here knows a unit's energies: all of it is `jax.grad` and `jax.vjp` of the
parts.

For a potential and a kinetic energy that are quadratic (the linear unit) the contrast is exact at
any epsilon; otherwise its error falls with epsilon squared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from echoloom.frontend import parts
from echoloom.frontend.coefficients import Affine, BlockCoefficients, StackCoefficients
from echoloom.frontend.data import check_sequence
from echoloom.frontend.hamiltonian import Hamiltonian, Oscillators
from echoloom.frontend.hssm import HSSM, rest, trainable
from echoloom.frontend.loss import cross_entropy
from echoloom.frontend.parts import State

# From the last block's output h [H] at one time step: the head's gradient, and that of h [H].
ErrorAt = Callable[[jax.Array], tuple[Affine, jax.Array]]
# What comes once a step: x [T, inputs] first, then a regression's targets and loss weights.
Streams = tuple[jax.Array, ...]


class Copies(NamedTuple):
    """The three copies of one block's state."""

    free: State
    plus: State
    minus: State


# What one copy's stages of one sample saw, [m] each: the p of a drift, the q of a kick.
Passage = tuple[jax.Array, ...]


class Carry(NamedTuple):
    """What the echo takes from step to step, blocks from the bottom up."""

    copies: tuple[Copies, ...]
    gradient: StackCoefficients


def flip(state: State) -> State:
    """Time reversal: p -> -p."""
    return State(state.q, -state.p)


def traverse(block: BlockCoefficients, state: State, u: jax.Array) -> tuple[State, Passage]:
    """One sample's stages of the echo, last one first, and what they saw."""
    seen: list[jax.Array] = []
    for stage in reversed(parts.stages(block)):
        seen.append(state.p if stage.kind == "drift" else state.q)
        state = parts.advance_stage(block, stage, state, u)
    return state, tuple(seen)


def pull_back(
    block: BlockCoefficients, q: jax.Array, u: jax.Array, x: jax.Array, error: jax.Array
) -> tuple[BlockCoefficients, jax.Array, jax.Array, jax.Array]:
    """The loss gradient through `parts.mix`: error [H] at the block's output.

    Returns the gradients of mix's coefficients (zero for the others), of q [m], u [H] and x [H].
    """
    _, back = jax.vjp(parts.mix, block, q, u, x)
    return back(error)


def nudge(
    block: BlockCoefficients, copies: Copies, error: jax.Array, epsilon: jax.Array | float
) -> Copies:
    """Push plus and minus apart by +-epsilon * h * error, error [m] the loss gradient of q."""
    push = epsilon * block.step * error
    return Copies(
        copies.free,
        State(copies.plus.q, copies.plus.p + push),
        State(copies.minus.q, copies.minus.p - push),
    )


def contrast(
    block: BlockCoefficients,
    u: jax.Array,
    passed: tuple[Passage, Passage, Passage],
    epsilon: jax.Array | float,
) -> tuple[Hamiltonian, jax.Array, jax.Array]:
    """One sample's gradients of the unit's coefficients, of h [m] and of the drive u [H].

    Each is -1 / 2 epsilon times a sum over stages of their fractions of a step times, for d = plus
    - minus: of a parameter of V, and of u, d dV(q) over kicks; of a parameter of T, d dT(p) over
    drifts. h: the first-order change of T(h P) over the copies, with the half of it that belongs
    to the force summed by parts over time, which leaves F(q free) dq over kicks and v(p free) dp
    over drifts, all over h.
    """
    unit, stages, (free, plus, minus) = block.unit, parts.stages(block)[::-1], passed

    def action(own: Hamiltonian, at_u: jax.Array, seen: Passage) -> jax.Array:
        total = jnp.zeros((), block.step.dtype)
        for stage, at in zip(stages, seen, strict=True):
            energy = own.kinetic(at) if stage.kind == "drift" else own.potential(at, at_u)
            total += stage.fraction * energy
        return total

    slopes = jax.grad(action, argnums=(0, 1))
    factor = -0.5 / epsilon
    unit_error, u_error = jax.tree.map(
        lambda a, b: factor * (a - b), slopes(unit, u, plus), slopes(unit, u, minus)
    )
    work = jnp.zeros_like(block.step)
    for stage, own, above, below in zip(stages, free, plus, minus, strict=True):
        drifts = stage.kind == "drift"
        rate = parts.velocity(unit, own) if drifts else parts.force(unit, own, u)
        work += stage.fraction * rate * (above - below)
    return unit_error, factor * work / block.step, u_error


def echo_block(
    block: BlockCoefficients,
    copies: Copies,
    u: jax.Array,
    x: jax.Array,
    error: jax.Array,
    epsilon: jax.Array | float,
) -> tuple[Copies, BlockCoefficients, jax.Array]:
    """One block's echo at one time: drive u [H], input x [H], error [H] at its output.

    Returns the stepped copies, this time's gradient, and the error [H] at the block's input.
    """
    in_mix, q_error, u_error, x_error = pull_back(block, copies.free.q, u, x, error)
    nudged = nudge(block, copies, q_error, epsilon)
    free, free_passed = traverse(block, nudged.free, u)
    plus, plus_passed = traverse(block, nudged.plus, u)
    minus, minus_passed = traverse(block, nudged.minus, u)
    passed = (free_passed, plus_passed, minus_passed)
    in_unit, in_step, u_contrast = contrast(block, u, passed, epsilon)
    _, back = jax.vjp(parts.drive, block, x)
    in_drive, x_contrast = back(u_error + u_contrast)
    gradient = eqx.tree_at(
        lambda own: (own.scale, own.shift, own.unit, own.step),
        in_mix,
        (in_drive.scale, in_drive.shift, in_unit, in_step),
    )
    return Copies(free, plus, minus), gradient, x_error + x_contrast


def echo_step(
    coefficients: StackCoefficients,
    carry: Carry,
    x: jax.Array,
    error: ErrorAt,
    epsilon: jax.Array | float,
) -> Carry:
    """One time step k of the echo, for x [inputs] of that step.

    Upwards, the free states at k give back the activations of time k, never stored; downwards,
    every block is pulled back, nudged, stepped and contrasted, and hands its input's error on.
    """
    h = parts.encode(coefficients.encoder, x)
    seen: list[tuple[jax.Array, jax.Array]] = []
    for block, copies in zip(coefficients.blocks, carry.copies, strict=True):
        u = parts.drive(block, h)
        seen.append((u, h))
        h = parts.mix(block, copies.free.q, u, h)

    in_head, down = error(h)
    stepped: list[Copies] = []
    in_blocks: list[BlockCoefficients] = []
    for block, copies, (u, below) in reversed(
        list(zip(coefficients.blocks, carry.copies, seen, strict=True))
    ):
        copies, in_block, down = echo_block(block, copies, u, below, down, epsilon)
        stepped.append(copies)
        in_blocks.append(in_block)
    _, back = jax.vjp(parts.encode, coefficients.encoder, x)
    in_encoder, _ = back(down)
    here = StackCoefficients(in_encoder, tuple(reversed(in_blocks)), in_head)
    return Carry(tuple(reversed(stepped)), jax.tree.map(jnp.add, carry.gradient, here))


def forward(
    coefficients: StackCoefficients,
    streams: Streams,
    observe: Callable[[jax.Array, Streams], jax.Array],
) -> tuple[tuple[State, ...], jax.Array]:
    """The forward pass that forgets: final states, and the sum over time of observe(h, streams).

    streams holds x [T, inputs] first and whatever else comes once a step.
    """

    def step(
        carry: tuple[tuple[State, ...], jax.Array], at: Streams
    ) -> tuple[tuple[tuple[State, ...], jax.Array], None]:
        states, total = carry
        states, h = parts.advance(coefficients, states, at[0])
        return (states, total + observe(h, at)), None

    start = (rest(coefficients), jnp.zeros_like(coefficients.encoder.bias))
    return jax.lax.scan(step, start, streams)[0]


def rhel_gradient(
    model: HSSM,
    x: jax.Array,
    label: jax.Array | int,
    epsilon: float | jax.Array | None = None,
) -> HSSM:
    """d loss / d raw parameters of one sequence x [T, inputs], label as in `loss.loss`.

    Returns a pytree like `bptt_gradient`'s. Beside x and the targets, memory does not grow with T.
    `epsilon` None lets `choose_epsilon` pick it for this sequence. Raises ValueError for shapes
    that do not fit the model.
    """
    label = check_sequence(model, x, label)
    return _sweep(model, x, label, None if epsilon is None else jnp.asarray(epsilon, x.dtype))


@eqx.filter_jit
def _sweep(model: HSSM, x: jax.Array, label: jax.Array, epsilon: jax.Array | None) -> HSSM:
    coefficients, steps = model.resolve(), x.shape[0]
    gradient = jax.tree.map(jnp.zeros_like, coefficients)
    if model.task == "classification":
        streams: Streams = (x,)
        states, total = forward(coefficients, streams, lambda h, at: h)
        in_head, pooled = jax.grad(
            lambda head, mean: cross_entropy(parts.head(head, mean), label),
            argnums=(0, 1),
        )(coefficients.head, total / steps)
        silent = gradient.head
        gradient = eqx.tree_at(lambda own: own.head, gradient, in_head)
        weight = jnp.abs(pooled)

        def error(h: jax.Array, at: Streams) -> tuple[Affine, jax.Array]:
            return silent, pooled / steps
    else:
        streams = (x, *_stream_targets(model, label, steps))

        def error(h: jax.Array, at: Streams) -> tuple[Affine, jax.Array]:
            return jax.grad(_step_loss, argnums=(0, 1))(coefficients.head, h, *at[1:])

        states, weight = forward(coefficients, streams, lambda h, at: jnp.abs(error(h, at)[1]))

    if epsilon is None:
        epsilon = choose_epsilon(coefficients, states, weight)
    start = Carry(tuple(Copies(flip(s), flip(s), flip(s)) for s in states), gradient)
    end, _ = jax.lax.scan(
        lambda carry, at: (
            echo_step(coefficients, carry, at[0], lambda h: error(h, at), epsilon),
            None,
        ),
        start,
        streams,
        reverse=True,
    )
    parameters, frozen = eqx.partition(model, trainable(model))
    _, back = jax.vjp(lambda own: eqx.combine(own, frozen).resolve(), parameters)
    return back(end.gradient)[0]


def choose_epsilon(
    coefficients: StackCoefficients, states: tuple[State, ...], weight: jax.Array
) -> jax.Array:
    """The nudge's size for one sequence, a power of two, from what the forward pass left behind.

    states are the final ones; weight [H] is the loss gradient's magnitude at the last block's
    output, summed over time. Rounding is least where the echoes part by as much as the state
    itself, epsilon * h * weight = |p|, whatever the loss and the step: a fixed epsilon drowns in
    rounding once a label is confident, or h is 1e-4. The linear unit's contrast is exact at any
    epsilon, so that is the choice if all units are linear; measured, 2^+-4 around it costs nothing.
    In any other unit the contrast's own error grows with epsilon squared, so the echoes part by the
    cube root of the float's resolution instead, where the two errors meet.
    """
    reach = [
        jnp.max(jnp.abs(state.p)) / jnp.max(block.step)
        for block, state in zip(coefficients.blocks, states, strict=True)
    ]
    ratio = jnp.max(jnp.stack(reach)) / jnp.max(weight)
    if not all(isinstance(block.unit, Oscillators) for block in coefficients.blocks):
        ratio = ratio * jnp.finfo(ratio.dtype).eps ** (1.0 / 3.0)
    # A state or an error of exactly zero has nothing to balance.
    usable = jnp.isfinite(ratio) & (ratio > 0.0)
    exponent = jnp.round(jnp.log2(jnp.where(usable, ratio, 1.0))).astype(jnp.int32)
    # ldexp and not exp2, which is not exact on every device.
    return jnp.ldexp(jnp.ones_like(ratio), exponent)


def _step_loss(head: Affine, h: jax.Array, target: jax.Array, weight: jax.Array) -> jax.Array:
    """One step's share of `loss.squared_error`: weight * sum (tanh(head(h)) - target)^2."""
    return weight * jnp.sum((jnp.tanh(parts.head(head, h)) - target) ** 2)


def _stream_targets(model: HSSM, label: jax.Array, steps: int) -> Streams:
    """Targets [T, outputs] and loss weights [T], both zero at steps that emit nothing."""
    emitted = slice(model.output_step - 1, None, model.output_step)
    targets = jnp.zeros((steps, model.outputs), label.dtype).at[emitted].set(label)
    weights = jnp.zeros(steps, label.dtype).at[emitted].set(1.0 / label.size)
    return targets, weights
