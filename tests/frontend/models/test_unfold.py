"""From coefficients back to raw parameters."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import echoloom as el
from echoloom.frontend.energy.hamiltonian import Hamiltonian
from echoloom.frontend.models.hssm import with_statistics
from echoloom.frontend.models.stack import folded_stack
from echoloom.frontend.models.unfold import RawElements, Unfolding

SHARED = "one parameter stands for several of its elements"
CURVE = "its parameters reach it through a curve"


class Springs(Hamiltonian):
    """V = sum a q^2 / 2 + sum exp(b) q^4 / 4 - q (B u), with springs of a^2 besides."""

    a: jax.Array
    b: jax.Array
    drive: jax.Array

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        quartic = jnp.sum(jnp.exp(self.b) * q**4) / 4.0
        return 0.5 * jnp.sum(self.a * q**2) + quartic - q @ (self.drive @ u)


def springs() -> Springs:
    return Springs(jnp.full(3, 0.5), jnp.full(3, -1.0), jnp.ones((3, 4)) / 8.0)


def unfolding(**sizes: object) -> Unfolding:
    common = {"inputs": 3, "outputs": 2, "hidden": 4, "state": 3, "blocks": 1}
    model = el.HSSM(**{**common, **sizes}, key=jax.random.key(1))  # type: ignore[arg-type]
    samples = np.random.default_rng(0).normal(0.5, 2.0, (4, 9, 3))
    model = with_statistics(model, jnp.asarray(samples, model.encoder.weight.dtype))
    return Unfolding(model, folded_stack(model))


@pytest.fixture(scope="module")
def linear() -> Unfolding:
    return unfolding(complex=False)


def test_a_complex_unit_s_copies_share_parameters() -> None:
    found = unfolding(complex=True)
    assert found.of("b0.unit.stiffness") == found.of("b0.step") == SHARED
    readout = found.of("b0.readout")
    assert isinstance(readout, RawElements)
    assert set(readout.slope) == {1.0, -1.0}


def test_a_nonlinear_unit_s_gain_is_folded() -> None:
    found = unfolding(unit="nonlinear")
    assert found.of("b0.unit.weight") == "b0.unit.folded.1 is made of the same parameters"
    assert found.of("b0.unit.folded.0") == SHARED
    assert found.of("b0.unit.folded.1") == "it is made of several of the model's parameters"
    assert isinstance(found.of("b0.unit.bias"), RawElements)


def test_a_unit_of_one_s_own() -> None:
    found = unfolding(unit=springs())
    assert isinstance(found.of("b0.unit.drive"), RawElements)
    curves = [n for n in found.folding.values(found.model) if found.of(n) == CURVE]
    assert "b0.step" in curves


def test_stiffness_is_kept_at_zero_or_above(linear: Unfolding) -> None:
    stiffness, step = linear.of("b0.unit.stiffness"), linear.of("b0.step")
    assert isinstance(stiffness, RawElements)
    assert stiffness.positive
    assert step == CURVE
    drive = linear.of("b0.unit.drive")
    assert isinstance(drive, RawElements)
    assert not drive.positive


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_model_folds_to_the_words_that_it_was_found_for(dtype: type) -> None:
    found = unfolding(complex=False, blocks=2)
    narrow = jax.tree.map(
        lambda leaf: leaf.astype(dtype) if hasattr(leaf, "astype") else leaf, found.model
    )
    found = Unfolding(narrow, found.folding)
    values = found.folding.values(narrow)
    random, unit = np.random.default_rng(3), 2.0**-14
    wanted = {}
    for name, value in values.items():
        if isinstance(place := found.of(name), RawElements):
            words = random.integers(0 if place.positive else -(1 << 17), 1 << 17, value.shape)
            words.flat[0] = 0
            wanted[name] = words * unit
    model = found.model_of(wanted)
    assert model.encoder.weight.dtype == dtype
    again = found.folding.values(model)
    for name, value in values.items():
        if name in wanted:
            np.testing.assert_array_equal(np.rint(again[name] / unit), wanted[name] / unit)
        else:
            np.testing.assert_array_equal(again[name], value)


def test_a_shift_stays_where_only_the_scale_moves(linear: Unfolding) -> None:
    values = linear.folding.values(linear.model)
    again = linear.folding.values(linear.model_of({"b0.scale": values["b0.scale"] * 2.0}))
    np.testing.assert_allclose(again["b0.scale"], values["b0.scale"] * 2.0, rtol=1e-12)
    np.testing.assert_allclose(again["b0.shift"], values["b0.shift"], atol=1e-12)


def test_what_is_frozen_cannot_be_set(linear: Unfolding) -> None:
    with pytest.raises(ValueError, match=f"b0.step is frozen: {CURVE}"):
        linear.model_of({"b0.step": np.ones(3)})
