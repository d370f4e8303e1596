"""What a unit is: a separable, time-reversal symmetric energy (arXiv 2506.05259, section 2).

A unit is nothing but two energies, H(q, p, u) = T(p) + V(q, u) with T even in p. Everything the
compiler and the learning need (velocity, force, contrast, input gradient) is derived from the two
by JAX's differentiation, so that a new unit is written by writing its energies.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from echoloom.frontend.energy.vocabulary import log_cosh


class Hamiltonian(eqx.Module):
    """A unit's energies. Its arrays are real numbers, and are the parameters that learn.

    Fields may hold modules of Equinox's, and lists, tuples and dictionaries of them. What else is
    in them (functions, Python's numbers, truth values, text) is fixed, as if it were static.
    Positions q and momenta p have shape [m], the drive u has shape [H].
    All quantities are dimensionless: time is counted in the unit's own step.
    """

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        """The potential energy V(q [m], u [H]) -> scalar."""
        raise NotImplementedError(f"{type(self).__name__} has neither a potential nor an energy")

    def kinetic(self, p: jax.Array) -> jax.Array:
        """The kinetic energy T(p [m]) -> scalar, even in p; 0.5 * sum(p**2) unless overridden."""
        return 0.5 * jnp.sum(p**2)

    def energy(self, q: jax.Array, p: jax.Array, u: jax.Array) -> jax.Array:
        """The whole energy H(q [m], p [m], u [H]) -> scalar.

        Override it instead of the two above to write H as one expression; the compiler takes it
        apart and refuses one that does not separate into T(p) + V(q, u).
        """
        return self.kinetic(p) + self.potential(q, u)


class Equipped(Hamiltonian):
    """A unit that holds more than arrays, which is static here: the leaves are its arrays alone."""

    arrays: Hamiltonian  # the unit, with None for every other leaf
    others: tuple[Hashable, ...] = eqx.field(static=True)  # those leaves
    structure: Hashable = eqx.field(static=True)  # of the unit without its arrays

    @property
    def unit(self) -> Hamiltonian:
        """The unit as it was written."""
        return eqx.combine(self.arrays, jax.tree.unflatten(self.structure, self.others))  # type: ignore[arg-type]

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        return self.unit.potential(q, u)

    def kinetic(self, p: jax.Array) -> jax.Array:
        return self.unit.kinetic(p)


def equipped(unit: Hamiltonian) -> Hamiltonian:
    """`unit`, with no leaves but its arrays."""
    arrays, others = eqx.partition(unit, eqx.is_array)
    leaves, structure = jax.tree.flatten(others)
    return Equipped(arrays, tuple(leaves), structure) if leaves else unit


class Separated(Hamiltonian):
    """T and V of a unit that writes its `energy` as one expression: V = H(q, 0, u), T = H(0, p, 0).

    The two differ from the terms that the compiler finds by constants, which no derivative sees.
    """

    whole: Hamiltonian
    hidden: int = eqx.field(static=True)

    @property
    def unit(self) -> Hamiltonian:
        return written(self.whole)

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        return self.unit.energy(q, jnp.zeros_like(q), u)

    def kinetic(self, p: jax.Array) -> jax.Array:
        return self.unit.energy(jnp.zeros_like(p), p, jnp.zeros(self.hidden, p.dtype))


def separated(unit: Hamiltonian, hidden: int) -> Hamiltonian:
    """`unit`, with T and V of its own whichever way it is written, and no leaves but arrays."""
    whole = equipped(unit)
    return whole if type(unit).energy is Hamiltonian.energy else Separated(whole, hidden)


def written(unit: Hamiltonian) -> Hamiltonian:
    """The user's own unit, of which `separated` made this one."""
    return unit.unit if isinstance(unit, Equipped | Separated) else unit


class Oscillators(Hamiltonian):
    """The linear unit: V = 0.5 * sum(A q^2) - q . (B u), with A >= 0 (the paper's linear HRU).

    stiffness [m] is A, drive [m, H] is B.
    """

    stiffness: jax.Array
    drive: jax.Array

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        """V(q [m], u [H]) -> scalar."""
        return 0.5 * jnp.sum(self.stiffness * q**2) - q @ (self.drive @ u)


class NonlinearOscillators(Hamiltonian):
    """The nonlinear unit: V = 0.5 alpha sum(q^2) + sum((c / w) log cosh(w q + B u + b)).

    weight [m] is w (no element zero), drive [m, H] is B, bias [m] is b, gain [m] is c, alpha is a
    vector [1]. The force is alpha q + c tanh(w q + B u + b) (arXiv 2506.05259, its nonlinear HRU).
    """

    weight: jax.Array
    drive: jax.Array
    bias: jax.Array
    gain: jax.Array
    alpha: jax.Array

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        """V(q [m], u [H]) -> scalar."""
        well = 0.5 * jnp.sum(self.alpha * q**2)
        return well + jnp.sum(_valley(self.gain, self.weight, q, self.drive @ u, self.bias))


def _argument(weight: jax.Array, q: jax.Array, driven: jax.Array, bias: jax.Array) -> jax.Array:
    return weight * q + driven + bias


@jax.custom_jvp
def _valley(
    gain: jax.Array, weight: jax.Array, q: jax.Array, driven: jax.Array, bias: jax.Array
) -> jax.Array:
    """(gain / weight) log cosh(weight q + driven + bias).

    Its slope in q is given as gain tanh(...). Automatic differentiation would make it
    gain / weight * tanh(...) * weight, and the weight's gradient then the difference of two terms
    which are as much larger than itself as one is larger than weight q.
    """
    return gain / weight * log_cosh(_argument(weight, q, driven, bias))


@partial(_valley.defjvp, symbolic_zeros=True)
def _valley_slopes(primals, tangents):  # type: ignore[no-untyped-def]
    gain, weight, q, driven, bias = primals
    slope = jnp.tanh(_argument(weight, q, driven, bias))
    value = _valley(*primals)
    slopes = (
        lambda: log_cosh(_argument(weight, q, driven, bias)) / weight,
        lambda: (gain * q * slope - value) / weight,
        lambda: gain * slope,
        lambda: gain / weight * slope,
        lambda: gain / weight * slope,
    )
    moved = [
        slope() * tangent
        for slope, tangent in zip(slopes, tangents, strict=True)
        if not isinstance(tangent, SymbolicZero)
    ]
    return value, sum(moved, start=jnp.zeros_like(value))
