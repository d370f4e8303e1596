"""Raw units: a block's trainable oscillators, and how they become coefficients.

A raw unit owns everything between a block's drive u [H] and its readout sum [H]: the Hamiltonian,
the steps and the readout. The stack asks it for nothing but `resolve()`, so a unit of one's own is
a Hamiltonian in a `CustomUnit`, or an eqx.Module with the same method.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp

from echoloom.frontend.energy.hamiltonian import (
    Hamiltonian,
    NonlinearOscillators,
    Oscillators,
    separated,
)

# The slowest initial oscillators: a stiffness near zero would let a constant drive push q away
# without bound, and the largest initial one times a step below 1 keeps h^2 A far below 4.
INITIAL_STIFFNESS = (0.05, 1.0)
# sigmoid of this range: initial steps between 0.5 and 0.73, the published model's own.
INITIAL_RAW_STEP = (0.0, 1.0)
# The nonlinear unit's first weights and potentials: no weight near zero, by which it divides.
INITIAL_WEIGHT = (0.5, 1.0)
INITIAL_ALPHA = (0.1, 1.0)

# How a raw step becomes a step: in (0, 1), or as it is.
StepThrough = Literal["sigmoid", "identity"]


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


class NonlinearUnit(RawUnit):
    """The paper's nonlinear HRU, with n oscillators: everything as it is but gain and step.

    gain passes through sigmoid `gain_sigmoids` times (the published code's does twice). The raw
    step passes through `step_through`, has shape [n] or, shared by all oscillators, [1].

    Raises ValueError, in one sentence, for other values of the two.
    """

    weight: jax.Array  # [n]
    drive: jax.Array  # [n, H]
    bias: jax.Array  # [n]
    gain: jax.Array  # [n], raw c
    alpha: jax.Array  # [1]
    step: jax.Array  # [n] or [1], raw h
    readout: jax.Array  # [H, n]
    gain_sigmoids: int = eqx.field(static=True)
    step_through: StepThrough = eqx.field(static=True)

    def __init__(
        self,
        hidden: int,
        state: int,
        step: float | None,
        key: jax.Array,
        gain_sigmoids: int = 1,
        step_through: StepThrough = "sigmoid",
        shared_step: bool = False,
    ):
        if type(gain_sigmoids) is not int or gain_sigmoids < 0:
            raise ValueError(
                f"unit: gain_sigmoids is {gain_sigmoids!r}, but it must be a whole number >= 0."
            )
        if step_through not in ("sigmoid", "identity"):
            raise ValueError(
                f"unit: step_through is {step_through!r}, but it must be 'sigmoid' or 'identity'."
            )
        keys = jax.random.split(key, 6)
        bound = 1.0 / math.sqrt(hidden)
        self.weight = _uniform(keys[0], (state,), INITIAL_WEIGHT)
        self.drive = _uniform(keys[1], (state, hidden), (-bound, bound))
        self.bias = jnp.zeros(state)
        self.gain = _uniform(keys[2], (state,), (-1.0, 1.0))
        self.alpha = _uniform(keys[3], (1,), INITIAL_ALPHA)
        raw = raw_steps(1 if shared_step else state, step, keys[4])
        self.step = raw if step_through == "sigmoid" else jax.nn.sigmoid(raw)
        self.readout = jax.random.normal(keys[5], (hidden, state)) / math.sqrt(state)
        self.gain_sigmoids, self.step_through = gain_sigmoids, step_through

    def resolve(self) -> tuple[NonlinearOscillators, jax.Array, jax.Array]:
        """n oscillators, their steps [n], readout [H, n]."""
        gain = self.gain
        for _ in range(self.gain_sigmoids):
            gain = jax.nn.sigmoid(gain)
        step = jax.nn.sigmoid(self.step) if self.step_through == "sigmoid" else self.step
        unit = NonlinearOscillators(self.weight, self.drive, self.bias, gain, self.alpha)
        return unit, jnp.broadcast_to(step, self.weight.shape), self.readout


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
        # Its own arrays: blocks that share buffers, or share them with the user's unit, cannot be
        # donated.
        self.hamiltonian = jax.tree.map(
            lambda leaf: jnp.copy(leaf) if eqx.is_array(leaf) else leaf, hamiltonian
        )
        self.step = raw_steps(state, step, step_key)
        self.readout = jax.random.normal(readout_key, (hidden, state)) / math.sqrt(state)

    def resolve(self) -> tuple[Hamiltonian, jax.Array, jax.Array]:
        """The Hamiltonian with T and V apart, steps [m], readout [H, m]."""
        unit = separated(self.hamiltonian, self.readout.shape[0])
        return unit, jax.nn.sigmoid(self.step), self.readout


def _uniform(key: jax.Array, shape: tuple[int, ...], bounds: tuple[float, float]) -> jax.Array:
    return jax.random.uniform(key, shape, minval=bounds[0], maxval=bounds[1])
