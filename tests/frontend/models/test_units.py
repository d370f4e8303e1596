"""The nonlinear unit: from raw parameters to numbers, against an independent NumPy writing."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from written_stacks import forward, sigmoid

from echoloom.frontend.energy.hamiltonian import Hamiltonian, NonlinearOscillators
from echoloom.frontend.gradients.bptt import bptt_gradient
from echoloom.frontend.models.check import check
from echoloom.frontend.models.hssm import HSSM, Block, run, trainable
from echoloom.frontend.models.units import NonlinearUnit


def readouts(block: Block, unit: Any, u: np.ndarray) -> list[np.ndarray]:
    gain, step = unit.gain, unit.step
    for _ in range(unit.gain_sigmoids):
        gain = sigmoid(gain)
    if unit.step_through == "sigmoid":
        step = sigmoid(step)

    def force(q, at):
        return unit.alpha * q + gain * np.tanh(unit.weight * q + unit.drive @ at + unit.bias)

    q = p = np.zeros(len(unit.weight))
    after = []
    for at in u:
        for _ in range(block.substeps):
            if block.integrator == "imex":
                p = p - step * force(q, at)
                q = q + step * p
            else:
                half = q + step / 2 * p
                p = p - step * force(half, at)
                q = half + step / 2 * p
        after.append(unit.readout @ q)
    return after


def reference_forward(model: HSSM, x) -> np.ndarray:
    """The paper's nonlinear stack from raw parameters: x [T, inputs] -> [T, H]."""
    return forward(
        model, x, lambda a: 0.5 * a * (1 + np.tanh(np.sqrt(2 / np.pi) * (a + 0.044715 * a**3))),
        readouts,
    )  # fmt: skip


def with_units(model: HSSM, **options) -> HSSM:
    """`model` with fresh nonlinear units of these options, and a bias that is not zero."""
    units = [
        NonlinearUnit(model.hidden, n, None, jax.random.key(i), **options)
        for i, n in enumerate(model.states)
    ]
    units = [eqx.tree_at(lambda u: u.bias, u, u.bias + 0.3) for u in units]
    return eqx.tree_at(lambda m: [block.unit for block in m.blocks], model, units)


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ({}, {}),
        (
            {"gain_sigmoids": 2, "step_through": "identity", "shared_step": True},
            {"integrator": "imex", "substeps": 2},
        ),
        ({"gain_sigmoids": 0}, {"integrator": ["leapfrog", "imex"], "substeps": [3, 1]}),
    ],
)
def test_forward_equals_an_independent_one(make_model, make_sample, options, arguments):
    model = make_model(unit="nonlinear", activation="gelu_tanh", **arguments)
    model = with_units(model, **options)
    x, _ = make_sample(model, 30)
    expected = reference_forward(model, x)
    np.testing.assert_allclose(run(model.resolve(), x), expected, rtol=1e-10, atol=1e-12)


def test_the_two_activations_differ(make_model, make_sample):
    exact, tanh = (make_model(activation=name) for name in ("gelu", "gelu_tanh"))
    x, _ = make_sample(exact, 5)
    difference = np.abs(run(exact.resolve(), x) - run(tanh.resolve(), x)).max()
    assert 1e-6 < difference < 1e-2


def test_a_new_unit_starts_in_the_published_ranges():
    unit = NonlinearUnit(9, 400, None, jax.random.key(0))
    for values, low, high in (
        (unit.weight, 0.5, 1.0),
        (unit.drive, -1 / 3, 1 / 3),
        (unit.gain, -1.0, 1.0),
        (unit.step, 0.0, 1.0),
    ):
        assert low <= values.min() < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < values.max() <= high
    assert unit.alpha.shape == (1,) and 0.1 <= unit.alpha[0] <= 1.0
    assert not unit.bias.any()
    resolved, step, readout = unit.resolve()
    assert step.shape == (400,) and readout.shape == (9, 400)
    np.testing.assert_array_equal(resolved.alpha, unit.alpha)
    np.testing.assert_allclose(resolved.gain, sigmoid(np.asarray(unit.gain)), rtol=1e-12)


@pytest.mark.parametrize("through", ["sigmoid", "identity"])
def test_a_step_that_was_asked_for(through):
    for shared in (False, True):
        unit = NonlinearUnit(3, 4, 0.25, jax.random.key(0), 1, through, shared)
        assert unit.step.shape == ((1,) if shared else (4,))
        np.testing.assert_allclose(unit.resolve()[1], np.full(4, 0.25))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"gain_sigmoids": -1}, "gain_sigmoids is -1, but it must be a whole number >= 0"),
        ({"gain_sigmoids": True}, "gain_sigmoids is True"),
        ({"step_through": "tanh"}, "step_through is 'tanh', but it must be 'sigmoid' or"),
    ],
)
def test_options_that_describe_no_unit(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        NonlinearUnit(3, 4, None, jax.random.key(0), **options)


def test_everything_in_the_unit_is_trainable(make_model, make_sample):
    model = with_units(make_model(unit="nonlinear"), shared_step=True)
    assert all(jax.tree.leaves(trainable(model).blocks[0].unit))
    x, label = make_sample(model, 5)
    for leaf in jax.tree.leaves(bptt_gradient(model, x, label).blocks[0].unit):
        assert np.any(np.asarray(leaf) != 0.0)


def test_check_refuses_a_weight_of_zero(make_model):
    model = make_model(unit=["linear", "nonlinear"])
    check(model)
    model = eqx.tree_at(
        lambda m: m.blocks[1].unit.weight, model, replace_fn=lambda w: w.at[2].set(0.0)
    )
    with pytest.raises(
        ValueError, match=r"blocks\[1\]\.unit\.weight is 0 at \[2\], but the energy"
    ):
        check(model)


@pytest.mark.parametrize("name", ["bias", "alpha", "drive"])
def test_check_refuses_nonlinear_units_of_other_shapes(make_model, name):
    model = make_model(unit="nonlinear", state=[3, 4])
    model = eqx.tree_at(
        lambda m: getattr(m.blocks[1].unit, name), model, replace_fn=lambda a: jnp.stack([a, a])
    )
    with pytest.raises(ValueError, match=rf"blocks\[1\]\.unit\.{name} has shape"):
        check(model)


def test_check_bounds_the_step_of_imex_too(make_model):
    model = make_model(integrator="imex", step=0.5)
    check(model)
    model = eqx.tree_at(
        lambda m: m.blocks[1].unit.stiffness, model, replace_fn=lambda a: a.at[0].set(16.0)
    )
    with pytest.raises(ValueError, match=r"step\*\*2 \* stiffness = 4 at \[0\], but the imex step"):
        check(model)


class WholeEnergy(Hamiltonian):
    """Springs, written as one expression."""

    stiffness: jax.Array

    def energy(self, q, p, u):
        return 0.5 * jnp.sum(self.stiffness * q**2 + p**2) - jnp.sum(q) * jnp.sum(u)


class Nothing(Hamiltonian):
    """A unit that someone forgot to write."""

    stiffness: jax.Array


def test_an_energy_written_as_one_expression(make_model, make_sample):
    model = make_model(unit=WholeEnergy(jnp.ones(4)))
    apart = make_model(unit=NonlinearOscillators(jnp.ones(4), jnp.ones((4, 7)), jnp.ones(4),
                                                 jnp.ones(4), jnp.ones(1)))  # fmt: skip
    for own in (model, apart):
        check(own)
        x, _ = make_sample(own, 5)
        assert np.isfinite(run(own.resolve(), x)).all()
    with pytest.raises(
        ValueError, match=r"^Nothing\.potential at .*: the class has neither a potential nor"
    ):
        make_model(unit=Nothing(jnp.ones(4)))


def test_slopes_of_the_nonlinear_unit_are_those_of_its_formula():
    """The potential's derivative is written by hand; its energy is not."""
    keys = jax.random.split(jax.random.key(0), 7)
    weight, bias, q = (jax.random.normal(key, (4,)) for key in keys[:3])
    drive, u = jax.random.normal(keys[3], (4, 3)), jax.random.normal(keys[4], (3,))
    unit = NonlinearOscillators(weight, drive, bias, jnp.array([0.5, 0.0, -1.0, 2.0]), jnp.ones(1))

    def formula(unit: NonlinearOscillators, q: jax.Array, u: jax.Array) -> jax.Array:
        wells = jnp.log(jnp.cosh(unit.weight * q + unit.drive @ u + unit.bias))
        return jnp.sum(unit.alpha * q**2) / 2 + jnp.sum(unit.gain / unit.weight * wells)

    def slopes(energy):
        """First derivatives by everything, and those of the force: by both modes."""
        force = jax.grad(energy, argnums=1)
        return (
            jax.grad(energy, argnums=(0, 1, 2))(unit, q, u),
            jax.jacrev(force, argnums=(0, 1, 2))(unit, q, u),
            jax.jacfwd(force, argnums=(0, 1, 2))(unit, q, u),
        )

    found, wanted = (slopes(e) for e in (lambda unit, q, u: unit.potential(q, u), formula))
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-13)


def test_a_weight_keeps_its_gradient_where_q_is_small():
    """In float32, of a force whose part in the weight is a millionth of it."""
    unit = NonlinearOscillators(
        *(jnp.array(v, jnp.float32) for v in ([0.3], [[1.0]], [0.2], [0.7], [0.1]))
    )
    q, u = jnp.array([3e-7], jnp.float32), jnp.array([0.4], jnp.float32)
    slope = jax.grad(lambda unit: jax.grad(unit.potential)(q, u)[0])(unit).weight
    np.testing.assert_allclose(slope, 0.7 * 3e-7 / np.cosh(0.6) ** 2, rtol=1e-5)
