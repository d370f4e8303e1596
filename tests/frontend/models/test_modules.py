"""Units that hold modules of Equinox's: what is no array in them is fixed, and in nobody's way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import echoloom as el
from echoloom.frontend.energy.canonical import canonicalise
from echoloom.frontend.models.check import check
from echoloom.frontend.training.devices import make_mesh, share_outputs
from echoloom.frontend.training.train import load_model, save_model

POSITIONS, HIDDEN = 3, 4
X = np.random.default_rng(0).normal(size=(2, 8, 2))
KEYS = jax.random.split(jax.random.key(0), 4)
LINEAR = eqx.nn.Linear(POSITIONS, POSITIONS, key=KEYS[0])
Net = Callable[[jax.Array], jax.Array]


class Learned(el.Hamiltonian):
    """Springs and a potential that is learnt."""

    net: Any
    drive: jax.Array
    others: tuple[Any, ...] = (1, 2.5, True, "text", None)

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        bent = jnp.sum(self.net(q)) * (0.1 if self.others[3] == "text" else jnp.nan)
        return 0.5 * self.others[0] * jnp.sum(q**2) + bent - q @ (self.drive @ u)


class AsOne(Learned):
    def energy(self, q: jax.Array, p: jax.Array, u: jax.Array) -> jax.Array:
        return 0.5 * jnp.sum(p**2) + self.potential(q, u)


class Tied(eqx.Module):
    """Two layers with one weight."""

    shared: eqx.nn.Shared

    def __call__(self, q: jax.Array) -> jax.Array:
        first, second = self.shared()
        return second(jnp.tanh(first(q)))


def tied() -> Tied:
    pair = (LINEAR, eqx.nn.Linear(POSITIONS, POSITIONS, key=KEYS[1]))
    return Tied(eqx.nn.Shared(pair, lambda p: p[1].weight, lambda p: p[0].weight))


def mlp(activation: Any = jnp.tanh) -> eqx.nn.MLP:
    return eqx.nn.MLP(POSITIONS, "scalar", 4, 1, activation=activation, key=KEYS[2])


def unit(net: Any, kind: type[Learned] = Learned) -> Learned:
    return kind(net, 0.4 * jax.random.normal(KEYS[3], (POSITIONS, HIDDEN)))


def model(own: el.Hamiltonian) -> el.HSSM:
    return el.HSSM(2, 2, HIDDEN, POSITIONS, 1, unit=own, step=0.3, key=jax.random.key(0))


NETS: dict[str, Any] = {
    "mlp": mlp(),
    "an activation of one's own": mlp(lambda x: x * jax.nn.sigmoid(x)),
    "sequential": eqx.nn.Sequential([LINEAR, eqx.nn.Lambda(jax.nn.softplus), LINEAR]),
    "no bias": eqx.nn.Linear(POSITIONS, 2, use_bias=False, key=KEYS[1]),
    "norm": eqx.nn.LayerNorm(POSITIONS, eps=0.1),
    "dropout": eqx.nn.Dropout(0.5, inference=True),
    "weight norm": eqx.nn.WeightNorm(LINEAR),
    "tied": tied(),
    "a function": jnp.cos,
}


@pytest.mark.parametrize("name", NETS)
def test_the_canonical_energy_is_the_unit(name: str) -> None:
    own = unit(NETS[name])
    plan = canonicalise(own, POSITIONS, HIDDEN)
    arrays, others = eqx.partition(own, eqx.is_array)
    q, u = (jax.random.normal(k, (n,)) for k, n in zip(KEYS[:2], (POSITIONS, HIDDEN), strict=True))

    def ours(arrays: Any, q: jax.Array, u: jax.Array) -> jax.Array:
        return plan.fold(arrays).potential(q, u)

    def theirs(arrays: Any, q: jax.Array, u: jax.Array) -> jax.Array:
        return eqx.combine(arrays, others).potential(q, u)

    found, wanted = (jax.value_and_grad(f, (0, 1, 2))(arrays, q, u) for f in (ours, theirs))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    ("net", "kind", "echoes"),
    [(tied(), Learned, "renormalised"), (mlp(), Learned, "difference"), (mlp(), AsOne, "fixed")],
)
def test_echoes_learn_it(net: Any, kind: type[Learned], echoes: Any) -> None:
    own = model(unit(net, kind))
    check(own)
    wanted = jax.tree.leaves(el.bptt_gradient(own, jnp.asarray(X[0]), 1))
    _, found = el.rhel_value_and_grad(own, echoes=echoes)(own, X[0], 1)
    for a, b in zip(jax.tree.leaves(found), wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-8)


@pytest.fixture(scope="module")
def compiled() -> el.CompiledProgram:
    return el.compile(model(unit(mlp())), X, lanes=2, weight_margin=1)


def test_integers_learn_it(compiled: el.CompiledProgram) -> None:
    own, x = compiled.model, jnp.asarray(X[0])
    np.testing.assert_allclose(compiled.predict(X[0]), own(x), atol=2e-5)
    found, wanted = compiled.gradient(X[0], 1), el.bptt_gradient(own, x, 1)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-3 * float(jnp.abs(b).max()))


def test_steps_of_an_optimiser(compiled: el.CompiledProgram) -> None:
    optimiser = optax.adam(1e-3)
    own = compiled.model
    state = optimiser.init(eqx.filter(own, eqx.is_inexact_array))
    _, gradient = el.fixed_value_and_grad(compiled)(own, X, np.array([0, 1]))
    moved = eqx.apply_updates(own, optimiser.update(gradient, state)[0])  # type: ignore[arg-type]
    units: list[Any] = [m.blocks[0].unit for m in (own, moved)]
    weights = [found.hamiltonian.net.layers[0].weight for found in units]
    assert (weights[0] != weights[1]).all()
    assert (compiled.with_parameters(moved).predict(X[0]) != compiled.predict(X[0])).any()


def test_files(compiled: el.CompiledProgram, tmp_path: Path) -> None:
    save_model(tmp_path / "model", compiled.model)
    assert eqx.tree_equal(load_model(tmp_path / "model", unit=unit(mlp())), compiled.model)
    compiled.save(tmp_path / "program")
    again = el.load(tmp_path / "program", unit=unit(mlp()))
    np.testing.assert_array_equal(again.run(X[0]).outputs, compiled.run(X[0]).outputs)


def test_another_activation_is_another_model(compiled: el.CompiledProgram) -> None:
    other = model(unit(mlp(jnp.sin)))
    with pytest.raises(ValueError, match="the new model has other blocks or units than the one"):
        compiled.with_parameters(other)
    with pytest.raises(ValueError, match="it is another stack than the one"):
        el.rhel_value_and_grad(compiled.model)(other, X, np.array([0, 1]))


def test_outputs_shared_by_devices(compiled: el.CompiledProgram) -> None:
    def outputs(own: el.HSSM, samples: jax.Array) -> jax.Array:
        return jax.vmap(own)(samples)

    count = min(2, len(jax.devices()))
    shared = eqx.filter_jit(share_outputs(outputs, make_mesh(count)))
    wanted = outputs(compiled.model, jnp.asarray(X))
    np.testing.assert_allclose(shared(compiled.model, jnp.asarray(X)), wanted, rtol=1e-12)
