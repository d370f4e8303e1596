"""A block's oscillators over a chunk of steps: what their state does not reach is made before.

A scan's body runs once a step, so everything in it that does not depend on the state (B u first of
all) is taken out of it and made for all steps of the chunk at once, as matrix products. This is
done to any potential: its jaxpr is split by what depends on q.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from echoloom.frontend.energy.hamiltonian import Hamiltonian
from echoloom.frontend.energy.jaxpr import Split, is_cornered, split
from echoloom.frontend.gradients.rhel.over_time import over_time
from echoloom.frontend.models import parts
from echoloom.frontend.models.coefficients import BlockCoefficients
from echoloom.frontend.models.parts import State
from echoloom.ir.scheme import Stage

# What one copy's stages of one sample saw, [m] each: the p of a drift, the q of a kick.
Passage = tuple[jax.Array, ...]


class Prepared(NamedTuple):
    """The values that a potential makes of u and of its coefficients, q aside."""

    timed: tuple[jax.Array, ...]  # [K, ...] each
    lasting: tuple[jax.Array, ...]


class Driven(Hamiltonian):
    """A unit whose potential takes, in u's place, what `Split.timed` made of u."""

    unit: Hamiltonian
    lasting: tuple[jax.Array, ...]
    split: Split = eqx.field(static=True)

    def potential(self, q: jax.Array, u: tuple[jax.Array, ...]) -> jax.Array:  # type: ignore[override]
        """V(q [m]) -> scalar: the unit's own."""
        return self.split.late(q, *u, *self.lasting)[0]

    def kinetic(self, p: jax.Array) -> jax.Array:
        """T(p [m]) -> scalar: the unit's own."""
        return self.unit.kinetic(p)


def split_potential(block: BlockCoefficients) -> Split:
    """The block's potential by what depends on q [m] and on u [H]."""
    return split(*_of_leaves(block, lambda unit, q, u: unit.potential(q, u)))


def has_corners(block: BlockCoefficients) -> bool:
    """Whether the block's force may jump, or bend, at some q."""
    return is_cornered(*_of_leaves(block, parts.force))


def _of_leaves(block: BlockCoefficients, function: Callable[..., jax.Array]) -> tuple[Any, ...]:
    """function(unit, q, u) as one of q, u and the unit's leaves, and arrays like these."""
    leaves, structure = jax.tree.flatten(block.unit)

    def flat(q: jax.Array, u: jax.Array, *own: jax.Array) -> jax.Array:
        return function(jax.tree.unflatten(structure, own), q, u)

    return flat, block.step, block.scale, *leaves


def prepare(own: Split, unit: Hamiltonian, u: jax.Array) -> Prepared:
    """Everything of the unit's potential that q does not reach, for drives u [K, H]."""
    leaves = jax.tree.leaves(unit)
    timed = over_time(lambda own_leaves, at: own.timed(at, *own_leaves))(leaves, u)
    return Prepared(tuple(timed), tuple(own.lasting(*leaves)))


def driven(
    block: BlockCoefficients, own: Split, lasting: tuple[jax.Array, ...]
) -> BlockCoefficients:
    """`block` with a unit that is driven by prepared values."""
    return eqx.tree_at(lambda b: b.unit, block, Driven(block.unit, lasting, own))


class Sum(NamedTuple):
    """A state, and what the additions to it have rounded away (None: plain sums)."""

    state: State
    lost: State | None


def _add(block: BlockCoefficients, stage: Stage, at: Sum, u: tuple[jax.Array, ...]) -> Sum:
    """`parts.advance_stage`, whose sum takes up again what the one before has lost (Kahan's)."""
    if at.lost is None:
        return Sum(parts.advance_stage(block, stage, at.state, u), None)  # type: ignore[arg-type]
    (q, p), lost = at.state, at.lost
    part = stage.fraction * block.step
    if stage.kind == "drift":
        change = part * parts.velocity(block.unit, p) + lost.q
        after = q + change
        return Sum(State(after, p), State(change - (after - q), lost.p))
    change = lost.p - part * parts.force(block.unit, q, u)  # type: ignore[arg-type]
    after = p + change
    return Sum(State(q, after), State(lost.q, change - (after - p)))


def _begin(state: State, compensated: bool) -> Sum:
    return Sum(state, jax.tree.map(jnp.zeros_like, state) if compensated else None)


def run(
    block: BlockCoefficients,
    state: State,
    timed: tuple[jax.Array, ...],
    steps: int | None = None,
    compensated: bool = False,
) -> tuple[State, jax.Array]:
    """K forward steps of a driven block: the last state, and the positions [K, m] after each.

    `steps` is K, which a potential without u cannot tell by what it makes of u. `compensated` sums
    round a state once a chunk and not once a stage.
    """

    def step(at: Sum, values: tuple[jax.Array, ...]) -> tuple[Sum, jax.Array]:
        for stage in parts.stages(block):
            at = _add(block, stage, at, values)
        return at, at.state.q

    end, positions = jax.lax.scan(step, _begin(state, compensated), timed, length=steps)
    return end.state, positions


def run_to_differentiate(
    block: BlockCoefficients, state: State, timed: tuple[jax.Array, ...], steps: int | None = None
) -> tuple[State, jax.Array]:
    """`run`, of which reverse differentiation keeps the states, as one array, and nothing else."""

    def step(at: jax.Array, values: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        after = parts.integrate(block, State(at[0], at[1]), values)  # type: ignore[arg-type]
        return together(after), after.q

    kept = jax.checkpoint(step, prevent_cse=False)
    end, positions = jax.lax.scan(kept, together(state), timed, length=steps)
    return State(end[0], end[1]), positions


def flip(state: State) -> State:
    """Time reversal: p -> -p."""
    return State(state.q, -state.p)


def traverse(
    block: BlockCoefficients, state: State, u: jax.Array, rests: jax.Array | None = None
) -> tuple[State, Passage]:
    """One sample's stages of the echo, last one first, and what they saw.

    `rests` [m] says whose way back ends at rest (None: no matter): their last kick is seen at
    q = 0 itself, and not at what rounding left of it, where a corner has another slope.
    """
    seen: list[jax.Array] = []
    for stage, lands in _way_back(block):
        if lands and rests is not None:
            state = State(_landed(state.q, rests), state.p)
        seen.append(state.p if stage.kind == "drift" else state.q)
        state = parts.advance_stage(block, stage, state, u)
    return state, tuple(seen)


def _way_back(block: BlockCoefficients) -> list[tuple[Stage, bool]]:
    """The echo's stages of a sample, and whether each is its last kick."""
    stages = parts.stages(block)
    last = next(i for i, stage in enumerate(stages) if stage.kind == "kick")
    return [(stage, i == last) for i, stage in enumerate(stages)][::-1]


def _landed(at: jax.Array, rests: jax.Array) -> jax.Array:
    """Exactly zero where it rests; its derivative is that of `at`."""
    return at - jnp.where(rests, jax.lax.stop_gradient(at), 0.0)


def retrace(
    block: BlockCoefficients,
    state: State,
    timed: tuple[jax.Array, ...],
    steps: int | None = None,
    compensated: bool = False,
    rests: jax.Array | None = None,
) -> tuple[State, State]:
    """K steps of the echo of a driven block, last one first, from a flipped state; cf. `run`.

    `rests` [K, m] as in `traverse`; whoever does is put at rest.

    Returns the last state, and the flipped states [K, m] that the echo met before each step: their
    q is what the forward sweep had after it.
    """

    def step(at: Sum, now: tuple[tuple[jax.Array, ...], Any]) -> tuple[Sum, jax.Array]:
        met, (values, still) = together(at.state), now
        for stage, lands in _way_back(block):
            if lands and still is not None:
                at = at._replace(state=State(_landed(at.state.q, still), at.state.p))
            at = _add(block, stage, at, values)
        if still is not None:
            at = jax.tree.map(lambda own: _landed(own, still), at)
        return at, met

    begin = _begin(state, compensated)
    end, met = jax.lax.scan(step, begin, (timed, rests), length=steps, reverse=True)
    return end.state, apart(met)


def together(state: State) -> jax.Array:
    """A state as one array, to bring out of a loop: each array of its own takes as long as a step.

    (XLA copies a carry that is also an output.)
    """
    return jnp.stack(state)


def apart(states: jax.Array) -> State:
    """States that came out of a loop, [K, 2, ...] -> q and p [K, ...]."""
    return State(states[:, 0], states[:, 1])
