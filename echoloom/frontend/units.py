"""Raw units: a block's trainable oscillators, and how they become coefficients.

A raw unit owns everything between a block's drive u [H] and its readout sum [H]: the Hamiltonian,
the steps and the readout. The stack asks it for nothing but `resolve()`, so a unit of one's own is
a Hamiltonian in a `CustomUnit`, or an eqx.Module with the same method.
"""

from __future__ import annotations

import math
from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp

from echoloom.frontend.hamiltonian import Hamiltonian, Oscillators

# The slowest initial oscillators: a stiffness near zero would let a constant drive push q away
# without bound, and the largest initial one times a step below 1 keeps h^2 A far below 4.
INITIAL_STIFFNESS = (0.05, 1.0)
# sigmoid of this range: initial steps between 0.5 and 0.73, the published model's own.
INITIAL_RAW_STEP = (0.0, 1.0)


class RawUnit(eqx.Module):
    """Trainable parameters of one block's unit."""

    @abstractmethod
    def resolve(self) -> tuple[Hamiltonian, jax.Array, jax.Array]:
        """The Hamiltonian, its steps [m] and its readout [H, m]."""


def raw_steps(count: int, step: float | None, key: jax.Array) -> jax.Array:
    """Raw steps [count] whose sigmoid is `step`, or the published spread if `step` is None."""
    if step is None:
        low, high = INITIAL_RAW_STEP
        return jax.random.uniform(key, (count,), minval=low, maxval=high)
    return jnp.full((count,), math.log(step / (1.0 - step)))


class LinearUnit(RawUnit):
    """The paper's linear HRU, with n oscillators: A through relu, steps through sigmoid.

    Complex B and C are two real copies of every oscillator that share A and h, read out as
    Re(C q) = Cr qr - Ci qi. Real: m = n, drive [n, H], readout [H, n]. Complex: m = 2 n,
    drive [2, n, H], readout [2, H, n], real part first.
    """

    stiffness: jax.Array  # [n], raw A
    step: jax.Array  # [n], raw h
    drive: jax.Array
    readout: jax.Array

    def __init__(self, hidden: int, state: int, complex: bool, step: float | None, key: jax.Array):
        stiffness_key, step_key, drive_key, readout_key = jax.random.split(key, 4)
        low, high = INITIAL_STIFFNESS
        copies = (2,) if complex else ()
        self.stiffness = jax.random.uniform(stiffness_key, (state,), minval=low, maxval=high)
        self.step = raw_steps(state, step, step_key)
        self.drive = jax.random.normal(drive_key, (*copies, state, hidden)) / math.sqrt(hidden)
        width = math.prod((*copies, state))
        self.readout = jax.random.normal(readout_key, (*copies, hidden, state)) / math.sqrt(width)

    def resolve(self) -> tuple[Oscillators, jax.Array, jax.Array]:
        """Oscillators with m = n or 2 n positions, steps [m], readout [H, m]."""
        stiffness, step = jax.nn.relu(self.stiffness), jax.nn.sigmoid(self.step)
        if self.drive.ndim == 2:
            return Oscillators(stiffness, self.drive), step, self.readout
        unit = Oscillators(
            jnp.tile(stiffness, 2), jnp.concatenate([self.drive[0], self.drive[1]], axis=0)
        )
        readout = jnp.concatenate([self.readout[0], -self.readout[1]], axis=1)
        return unit, jnp.tile(step, 2), readout


class CustomUnit(RawUnit):
    """Any Hamiltonian with m positions; its own leaves are the raw parameters.

    The steps [m] pass through sigmoid like the linear unit's; the readout is real, [H, m].
    """

    hamiltonian: Hamiltonian
    step: jax.Array
    readout: jax.Array

    def __init__(
        self,
        hamiltonian: Hamiltonian,
        hidden: int,
        state: int,
        step: float | None,
        key: jax.Array,
    ):
        step_key, readout_key = jax.random.split(key)
        self.hamiltonian = hamiltonian
        self.step = raw_steps(state, step, step_key)
        self.readout = jax.random.normal(readout_key, (hidden, state)) / math.sqrt(state)

    def resolve(self) -> tuple[Hamiltonian, jax.Array, jax.Array]:
        """The Hamiltonian as it is, steps [m], readout [H, m]."""
        return self.hamiltonian, jax.nn.sigmoid(self.step), self.readout
