"""Whether a model's course over a sequence can be trusted to its arithmetic, and retraced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from echoloom.frontend.data.arrays import jax_array, whole_number
from echoloom.frontend.data.samples import check_input
from echoloom.frontend.gradients.rhel import rows
from echoloom.frontend.gradients.rhel.chunks import cut, downwards, upwards
from echoloom.frontend.gradients.rhel.dynamics import (
    driven,
    flip,
    prepare,
    retrace,
    split_potential,
)
from echoloom.frontend.gradients.rhel.forward import States, advance_chunk
from echoloom.frontend.models.check import check
from echoloom.frontend.models.coefficients import StackCoefficients
from echoloom.frontend.models.hssm import HSSM, rest
from echoloom.frontend.models.parts import State

# Of the state's rms: a course that rounding moves by more is not the model's.
TRUSTED = 1e-2
# Roundings that add up leave at most a float32's resolution a step; a shorter course is counted as
# one of this many steps. What grows beyond that grows exponentially.
SHORTEST = 100


@dataclass(frozen=True)
class TrajectoryCheck:
    """How far rounding carries a sequence's course, worst block, as fractions of the state's rms.

    parted: the distance between a float32 and a float64 sweep at its largest. returned: how far
    from rest an echo without nudges ends, in the model's own type, `dtype`. steps: T.
    """

    parted: float
    returned: float
    steps: int
    dtype: str

    @property
    def chaotic(self) -> bool:
        """Whether rounding grows faster than it can add up."""
        added_up = max(self.steps, SHORTEST) * float(np.finfo(np.float32).eps)
        return not self.parted < added_up

    @property
    def trusted(self) -> bool:
        """Whether the course, there and back, is the model's own in the model's own type."""
        there = self.parted if self.dtype == "float32" else 0.0
        return max(there, self.returned) < TRUSTED

    @property
    def verdict(self) -> str:
        """One line for a person."""
        found = (
            f"over {self.steps:,} steps float32 and float64 part by {self.parted:.1e} of the "
            f"state's rms, and the {self.dtype} echo ends {self.returned:.1e} of it from rest"
        )
        if not self.trusted:
            return (
                f"chaotic: {found}, so gradients follow the rounding; use a smaller step, shorter "
                "sequences, or the integer engine, whose echo returns exactly."
            )
        if self.chaotic:
            return f"chaotic, and short enough: {found}; much longer sequences will not do."
        return f"steady: {found}."


class _Course(NamedTuple):
    """A sweep in two precisions."""

    single: States
    double: States
    apart: jax.Array  # the largest distance so far of each block [blocks]
    squares: jax.Array  # sums of the double states' squares at the chunks' ends [blocks]


def trajectory_check(model: HSSM, x: ArrayLike, *, chunk: int = 128) -> TrajectoryCheck:
    """Run x [T, inputs] in float32 and in float64, and an echo without nudges.

    `result.trusted` and the line `result.verdict` say what came of it. The states are
    compared at every `chunk`-th step and at the end. Raises ValueError for a model that `check`
    refuses and for an x that does not fit it.
    """
    check(model)
    chunk = whole_number("trajectory_check: chunk", chunk, least=1)
    found = jax_array("input", x)
    check_input(model, found)
    with jax.enable_x64(True):
        apart = np.asarray(_parted(model.resolve(), found, chunk))
    returned = np.asarray(_returned(model.resolve(), found, chunk))
    return TrajectoryCheck(
        float(np.max(apart)),
        float(np.max(returned)),
        found.shape[0],
        str(model.encoder.weight.dtype),
    )


@eqx.filter_jit
def _parted(coefficients: StackCoefficients, x: jax.Array, chunk: int) -> jax.Array:
    """The largest distance between the precisions over the state's rms, [blocks]."""
    single, double = (
        jax.tree.map(lambda a, t=dtype: a.astype(t), coefficients)
        for dtype in (jnp.float32, jnp.float64)
    )
    splits = [tuple(split_potential(b) for b in own.blocks) for own in (single, double)]
    ends = -(-x.shape[0] // chunk)

    def body(at: _Course, start: jax.Array | int, length: int) -> _Course:
        coarse, *_ = advance_chunk(
            single, splits[0], at.single, cut(x, start, length, single.encoder.weight)
        )
        fine, *_ = advance_chunk(
            double, splits[1], at.double, cut(x, start, length, double.encoder.weight)
        )
        apart = jnp.stack([_distance(a, b) for a, b in zip(coarse, fine, strict=True)])
        squares = jnp.stack([jnp.mean(own.q**2) for own in fine])
        return _Course(coarse, fine, jnp.maximum(at.apart, apart), at.squares + squares)

    none = jnp.zeros(len(coefficients.blocks))
    end = upwards(body, _Course(rest(single), rest(double), none, none), x.shape[0], chunk)
    return _over(end.apart, jnp.sqrt(end.squares / ends))


@eqx.filter_jit
def _returned(coefficients: StackCoefficients, x: jax.Array, chunk: int) -> jax.Array:
    """How far from rest the free copies end, over the state's rms, [blocks]."""
    splits = tuple(split_potential(block) for block in coefficients.blocks)
    like, ends = coefficients.encoder.weight, -(-x.shape[0] // chunk)

    def there(
        carry: tuple[States, jax.Array], start: jax.Array | int, length: int
    ) -> tuple[States, jax.Array]:
        states, *_ = advance_chunk(coefficients, splits, carry[0], cut(x, start, length, like))
        return states, carry[1] + jnp.stack([jnp.mean(own.q**2) for own in states])

    def back(states: States, start: jax.Array | int, length: int) -> States:
        h, after = rows.affine(coefficients.encoder, cut(x, start, length, like)), []
        for block, split, state in zip(coefficients.blocks, splits, states, strict=True):
            u = rows.drive(block, h)
            prepared = prepare(split, block.unit, u)
            loop = driven(block, split, prepared.lasting)
            state, met = retrace(loop, state, prepared.timed, len(u))
            h = rows.mix(block, met.q, u, h)
            after.append(state)
        return tuple(after)

    none = jnp.zeros(len(coefficients.blocks), like.dtype)
    states, squares = upwards(there, (rest(coefficients), none), x.shape[0], chunk)
    ended = downwards(back, tuple(flip(own) for own in states), x.shape[0], chunk)
    distance = jnp.stack([jnp.sqrt(jnp.mean(own.q**2)) for own in ended])
    return _over(distance, jnp.sqrt(squares / ends))


def _distance(coarse: State, fine: State) -> jax.Array:
    return jnp.sqrt(jnp.mean((coarse.q - fine.q) ** 2))


def _over(distance: jax.Array, rms: jax.Array) -> jax.Array:
    """A course that never leaves rest is as good as its distance says."""
    return distance / jnp.where(rms > 0.0, rms, 1.0)
