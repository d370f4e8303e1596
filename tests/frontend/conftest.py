"""Models, data and units that the frontend's tests share."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

from echoloom.frontend.energy.hamiltonian import Hamiltonian
from echoloom.frontend.models.hssm import HSSM, with_statistics

INPUTS, OUTPUTS, HIDDEN, STATE = 5, 3, 7, 4


CASES_KEPT = 25
_cases = itertools.count(1)


@pytest.fixture(autouse=True)
def release_compiled() -> Iterator[None]:
    """Every case compiles its own shapes; kept for ever, they exhaust the process's memory maps."""
    yield
    if next(_cases) % CASES_KEPT == 0:
        jax.clear_caches()


class Saturating(Hamiltonian):
    """After UnICORNN: V = alpha/2 q^2 + (c/w) log cosh(w q + B u + b), T = p^2 / 2."""

    alpha: jax.Array
    c: jax.Array
    w: jax.Array
    b: jax.Array
    drive: jax.Array

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        z = self.w * q + self.drive @ u + self.b
        log_cosh = jnp.logaddexp(z, -z) - jnp.log(2.0)
        return 0.5 * jnp.sum(self.alpha * q**2) + jnp.sum(self.c / self.w * log_cosh)


class Relativistic(Hamiltonian):
    """Coupled coordinates, a quartic well and a kinetic energy with coefficients of its own."""

    coupling: jax.Array
    drive: jax.Array
    mass: jax.Array

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        r = self.coupling @ q
        return 0.5 * jnp.sum(r**2) + 0.05 * jnp.sum(r**4) - q @ jnp.tanh(self.drive @ u)

    def kinetic(self, p: jax.Array) -> jax.Array:
        return jnp.sum(self.mass * jnp.sqrt(1.0 + (p / self.mass) ** 2))


def saturating(key: jax.Array) -> Saturating:
    keys = jax.random.split(key, 5)
    uniform = [jax.random.uniform(k, (STATE,), minval=0.3, maxval=0.9) for k in keys[:3]]
    return Saturating(
        *uniform,
        b=0.1 * jax.random.normal(keys[3], (STATE,)),
        drive=0.5 * jax.random.normal(keys[4], (STATE, HIDDEN)),
    )


def relativistic(key: jax.Array) -> Relativistic:
    keys = jax.random.split(key, 3)
    return Relativistic(
        coupling=0.8 * jnp.eye(STATE) + 0.1 * jax.random.normal(keys[0], (STATE, STATE)),
        drive=0.5 * jax.random.normal(keys[1], (STATE, HIDDEN)),
        mass=jax.random.uniform(keys[2], (STATE,), minval=0.8, maxval=2.0),
    )


@pytest.fixture
def custom_units() -> dict[str, Hamiltonian]:
    """One unit of each nonlinear kind, [STATE] positions driven by [HIDDEN]."""
    key = jax.random.key(11)
    return {"saturating": saturating(key), "relativistic": relativistic(key)}


@pytest.fixture
def make_model() -> Callable[..., HSSM]:
    """Builds a model of the shared sizes whose norms have measured, so uneven, statistics."""

    def make(seed: int = 0, **arguments) -> HSSM:
        sizes = {"inputs": INPUTS, "outputs": OUTPUTS, "hidden": HIDDEN, "state": STATE}
        key = jax.random.key(seed)
        model = HSSM(**{**sizes, "blocks": 2, **arguments}, key=key)
        model = with_statistics(model, sequence(40, seed=100)[None])
        shifts = jax.random.normal(key, (len(model.blocks), model.hidden))
        return eqx.tree_at(
            lambda own: [block.norm.shift for block in own.blocks], model, list(0.1 * shifts)
        )

    return make


@pytest.fixture
def make_sample() -> Callable[..., tuple[jax.Array, jax.Array]]:
    """A sequence x [T, INPUTS] and a label that fits the model."""

    def make(model: HSSM, steps: int, seed: int = 1) -> tuple[jax.Array, jax.Array]:
        if model.task == "classification":
            return sequence(steps, seed), jnp.asarray(1)
        shape = (steps // model.output_step, model.outputs)
        targets = jax.random.uniform(jax.random.key(seed + 1), shape, minval=-0.9, maxval=0.9)
        return sequence(steps, seed), targets

    return make


def sequence(steps: int, seed: int) -> jax.Array:
    """Smooth and rough at once: a slow sine a channel, with noise; [steps, INPUTS]."""
    time = jnp.arange(steps)[:, None] * (0.1 + 0.05 * jnp.arange(INPUTS))
    return jnp.sin(time) + 0.5 * jax.random.normal(jax.random.key(seed), (steps, INPUTS))
