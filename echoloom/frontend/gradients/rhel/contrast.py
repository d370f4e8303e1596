"""The gradients that the echoes' difference holds, for a whole chunk at once.

Steps are one per coordinate, h [m]. Writing P = p / h turns a stage into that of the Hamiltonian
T(h P) + V(q, u) with step 1, which is why the nudge of p carries a factor h and why the contrasts
carry none. Each is -1 / 2 scale times a sum over steps and stages of their fractions of a step
times, for d = plus - minus: of a parameter of V, and of u, d dV(q) over kicks; of a parameter of T,
d dT(p) over drifts. h: the first-order change of T(h P) over the copies, with the half of it that
belongs to the force summed by parts over time, which leaves F(q) dq over kicks and v(p) dp over
drifts, all over h, the rates F and v taken between the copies.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from echoloom.frontend.energy.hamiltonian import Hamiltonian
from echoloom.frontend.gradients.rhel.dynamics import Driven, Prepared
from echoloom.frontend.gradients.rhel.echoes import adjoint_passages, passages
from echoloom.frontend.gradients.rhel.over_time import over_time
from echoloom.frontend.gradients.rhel.over_time import total as over
from echoloom.frontend.models import parts
from echoloom.frontend.models.coefficients import BlockCoefficients
from echoloom.frontend.models.parts import State
from echoloom.ir.scheme import Stage


class Contrast(NamedTuple):
    """A chunk's gradients: of the prepared values, of T's coefficients, and of the steps h [m]."""

    prepared: Prepared
    kinetic: Hamiltonian
    step: jax.Array


def contrast_sides(
    block: BlockCoefficients, nudged: State, timed: tuple[jax.Array, ...], scale: jax.Array
) -> Contrast:
    """The paper's: of a driven block whose plus and minus were at `nudged` [K, 2, m]."""
    seen = passages(block, nudged, timed)

    def change(own: Driven, stage: Stage, at: jax.Array, values: tuple[jax.Array, ...]):
        above, below = (_energy(own, stage, at[i], values) for i in (0, 1))
        return above - below

    def work(stage: Stage, at: jax.Array, values: tuple[jax.Array, ...]) -> jax.Array:
        above, below = (parts.rate(block.unit, stage, at[i], values) for i in (0, 1))  # type: ignore[arg-type]
        return 0.5 * (above + below) * (at[0] - at[1])

    return _sum(block, -0.5 / scale, seen, timed, change, work)


def contrast_adjoint(
    block: BlockCoefficients,
    free: State,
    nudged: State,
    timed: tuple[jax.Array, ...],
    scale: jax.Array | None,
    rests: jax.Array | None = None,
) -> Contrast:
    """Of a driven block whose free copy and difference were at these [K, m] before each step.

    `contrast_sides`, the difference of energies taken as their slope half way times the way. The
    same for quadratic energies, and to the order of the nudge squared for others. Two energies
    whose difference is far below their size are not subtracted: at small steps that alone would
    lose a weight's gradient.
    """
    # Of every stage the place [K, m] and the way from there [K, m].
    seen = tuple(zip(*adjoint_passages(block, scale, free, nudged, timed, rests), strict=True))

    def change(own: Driven, stage: Stage, at, values):  # type: ignore[no-untyped-def]
        return jax.jvp(lambda here: _energy(own, stage, here, values), (at[0],), (at[1],))[1]

    def work(stage: Stage, at, values):  # type: ignore[no-untyped-def]
        return parts.rate(block.unit, stage, at[0], values) * at[1]

    return _sum(block, jnp.asarray(-1.0, block.step.dtype), seen, timed, change, work)


def _energy(own: Hamiltonian, stage: Stage, at: jax.Array, values) -> jax.Array:  # type: ignore[no-untyped-def]
    return own.kinetic(at) if stage.kind == "drift" else own.potential(at, values)


def _sum(block, factor, seen, timed, change, work) -> Contrast:  # type: ignore[no-untyped-def]
    """change(unit, stage, at, values) and work(stage, at, values) of one step, summed over all."""
    stages = parts.stages(block)[::-1]

    def action(unit: Driven, timed: tuple[jax.Array, ...]) -> jax.Array:
        total = jnp.zeros((), block.step.dtype)
        for stage, at in zip(stages, seen, strict=True):
            each = over_time(lambda own, a, v, s=stage: change(own, s, a, v))(unit, at, timed)
            total += stage.fraction * jnp.sum(each)
        return total

    # Some prepared values may be whole numbers or truth values, which have no gradient.
    in_unit, in_timed = jax.grad(action, argnums=(0, 1), allow_int=True)(block.unit, timed)
    total = jnp.zeros_like(block.step)
    for stage, at in zip(stages, seen, strict=True):
        each = jax.vmap(lambda a, v, s=stage: work(s, a, v))(at, timed)
        total += stage.fraction * over(each)
    in_unit, in_timed = jax.tree.map(
        lambda g: g if g.dtype == jax.dtypes.float0 else factor * g, (in_unit, in_timed)
    )
    return Contrast(Prepared(in_timed, in_unit.lasting), in_unit.unit, factor * total / block.step)
