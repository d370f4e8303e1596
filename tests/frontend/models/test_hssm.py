"""The model: folding, the forward pass against an independent NumPy writing, refusals."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf
from written_stacks import forward, sigmoid

from echoloom.frontend.energy.hamiltonian import Hamiltonian, Oscillators
from echoloom.frontend.models import parts
from echoloom.frontend.models.check import check
from echoloom.frontend.models.hssm import HSSM, Block, run, trainable, with_statistics


def readouts(block: Block, unit: Any, u: np.ndarray) -> list[np.ndarray]:
    A, step = np.maximum(unit.stiffness, 0), sigmoid(unit.step)
    B = unit.drive if unit.drive.ndim == 2 else unit.drive[0] + 1j * unit.drive[1]
    C = unit.readout if unit.readout.ndim == 2 else unit.readout[0] + 1j * unit.readout[1]
    q = p = np.zeros(len(A), dtype=B.dtype)
    after = []
    for at in u:
        half = q + step / 2 * p
        p = p + step * (B @ at - A * half)
        q = half + step / 2 * p
        after.append((C @ q).real)
    return after


def reference_forward(model: HSSM, x) -> np.ndarray:
    """The paper's stack from raw parameters, in complex NumPy: x [T, inputs] -> [T, H]."""
    return forward(model, x, lambda a: 0.5 * a * (1 + erf(a / np.sqrt(2))), readouts)


@pytest.mark.parametrize("complex", [False, True])
def test_forward_equals_an_independent_one(make_model, make_sample, complex):
    model = make_model(complex=complex)
    x, _ = make_sample(model, 50)
    h = reference_forward(model, x)
    np.testing.assert_allclose(run(model.resolve(), x), h, rtol=1e-10, atol=1e-12)
    head = np.asarray(model.head.weight), np.asarray(model.head.bias)
    np.testing.assert_allclose(model(x), head[0] @ h.mean(axis=0) + head[1], rtol=1e-10)


def test_regression_emits_the_last_step_of_every_group(make_model, make_sample):
    model = make_model(task="regression", output_step=7)
    x, _ = make_sample(model, 50)
    h = reference_forward(model, x)[[6, 13, 20, 27, 34, 41, 48]]
    expected = np.tanh(h @ np.asarray(model.head.weight).T + np.asarray(model.head.bias))
    np.testing.assert_allclose(model(x), expected, rtol=1e-10)


def test_resolved_shapes_and_sharing(make_model):
    model = make_model(complex=True)
    block = model.resolve().blocks[0]
    n, hidden = model.state, model.hidden
    assert isinstance(block.unit, Oscillators)
    assert block.unit.stiffness.shape == block.step.shape == (2 * n,)
    assert block.unit.drive.shape == (2 * n, hidden)
    assert block.readout.shape == (hidden, 2 * n)
    np.testing.assert_array_equal(block.step[:n], block.step[n:])
    np.testing.assert_array_equal(block.readout[:, n:], -model.blocks[0].unit.readout[1])
    assert all(leaf.dtype == jnp.float64 for leaf in jax.tree.leaves(model.resolve()))


@pytest.mark.parametrize("name", ["linear", "saturating", "relativistic"])
def test_a_step_is_undone_by_flipping_time(make_model, custom_units, name):
    model = make_model(unit=custom_units.get(name, name))
    block = model.resolve().blocks[0]
    keys = jax.random.split(jax.random.key(5), 3)
    u = jax.random.normal(keys[2], (model.hidden,))
    start = parts.State(*(jax.random.normal(k, block.step.shape) for k in keys[:2]))
    q, p = parts.integrate(block, start, u)
    q, p = parts.integrate(block, parts.State(q, -p), u)
    np.testing.assert_allclose(q, start.q, atol=1e-13)
    np.testing.assert_allclose(-p, start.p, atol=1e-13)


def test_initial_steps(make_model):
    np.testing.assert_allclose(make_model(step=0.25).resolve().blocks[1].step, 0.25)
    spread = make_model().resolve().blocks[0].step
    assert 0.5 <= spread.min() < spread.max() <= 0.74


def test_statistics_normalise_every_block(make_model):
    samples = 3.0 + jax.random.normal(jax.random.key(2), (6, 80, 5))
    model = with_statistics(make_model(blocks=3), samples)
    coefficients = model.resolve()
    below = [[], [], []]
    for x in samples:
        states = tuple(parts.State(b.step * 0, b.step * 0) for b in coefficients.blocks)
        for at in x:
            h, after = parts.encode(coefficients.encoder, at), []
            for index, (block, state) in enumerate(zip(coefficients.blocks, states, strict=True)):
                below[index].append(np.asarray(h))
                u = parts.drive(block, h)
                after.append(parts.integrate(block, state, u))
                h = parts.mix(block, after[-1].q, u, h)
            states = tuple(after)
    for block, inputs in zip(model.blocks, below, strict=True):
        np.testing.assert_allclose(block.norm.mean, np.mean(inputs, axis=0), rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(block.norm.variance, np.var(inputs, axis=0), rtol=1e-8)


def test_statistics_are_not_trainable(make_model):
    model = make_model()
    frozen = eqx.partition(model, trainable(model))[1]
    names = [jax.tree_util.keystr(p) for p, _ in jax.tree_util.tree_leaves_with_path(frozen)]
    assert names == [f".blocks[{i}].norm.{s}" for i in (0, 1) for s in ("mean", "variance")]


class Vector(Hamiltonian):
    scale: jax.Array

    def potential(self, q, u):
        return self.scale * q**2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"hidden": 0}, "hidden is 0, but it must be a whole number >= 1"),
        ({"state": 2.0}, r"state is 2\.0"),
        ({"blocks": True}, "blocks is True"),
        ({"output_step": 0}, "output_step is 0"),
        ({"output_step": 2}, "classification has one output a sequence"),
        ({"outputs": 1}, "classification needs at least 2 classes"),
        ({"task": "ranking"}, "task is 'ranking', but it must be 'classification' or 'regression'"),
        ({"step": 1.0}, r"step is 1\.0, but a step must lie between 0 and 1"),
        ({"step": float("nan")}, "step is nan"),
        ({"unit": "tanh"}, "unit is 'tanh', but it must be 'linear', 'nonlinear' or a"),
        ({"unit": [Vector(jnp.ones(4))]}, "unit holds 1 values, but there are 2 blocks"),
        (
            {"unit": ["linear", "b"]},
            r"unit\[1\] is 'b', but it must be 'linear', 'nonlinear' or a Ham",
        ),
        ({"unit": 3}, "unit is a int, but it must be 'linear', 'nonlinear' or a Hamiltonian"),
        ({"state": [4, 0]}, r"state\[1\] is 0, but it must be a whole number >= 1"),
        ({"state": [4, 4, 4]}, "state holds 3 values, but there are 2 blocks: give one for each"),
        ({"substeps": 0}, "substeps is 0, but it must be a whole number >= 1"),
        ({"substeps": (1, 1.5)}, r"substeps\[1\] is 1\.5"),
        ({"step": [0.5, 1.5]}, r"step\[1\] is 1\.5, but a step must lie between 0 and 1"),
        ({"step": "fast"}, "step is 'fast'"),
        ({"complex": [True]}, "complex holds 1 values, but there are 2 blocks"),
        ({"complex": 1}, "complex is 1, but it must be True or False"),
        ({"activation": "relu"}, "activation is 'relu', but it must be 'gelu' or 'gelu_tanh'"),
        ({"integrator": "euler"}, "integrator is 'euler', but it must be 'leapfrog' or 'imex'"),
        ({"integrator": ["imex", 2]}, r"integrator\[1\] is 2, but it must be 'leapfrog' or 'imex'"),
        ({"integrator": "LinOSS_IM"}, "implicit LinOSS-IM step loses .* use 'leapfrog' or 'imex'"),
        ({"integrator": "implicit"}, "the implicit LinOSS-IM step loses information going forward"),
        ({"integrator": ["imex", "D-LinOSS"]}, r"integrator\[1\] .* damping loses information"),
        ({"integrator": "damped"}, "D-LinOSS's damping loses information going forward, so there"),
        ({"unit": Vector(jnp.ones(4))}, r"^Vector\.potential at .*: it gives float64\[4\], but"),
        (
            {"unit": Vector(jnp.ones(3))},
            r"^Vector\.potential at .*: it fails .*; it must take q \[4\] and u \[7\] to one real",
        ),
    ],
)
def test_arguments_that_describe_no_model(arguments, sentence):
    sizes = {"inputs": 5, "outputs": 3, "hidden": 7, "state": 4, "blocks": 2}
    with pytest.raises(ValueError, match=sentence):
        HSSM(**{**sizes, **arguments}, key=jax.random.key(0))


def test_inputs_of_a_wrong_shape(make_model):
    with pytest.raises(ValueError, match=r"shape is \[9, 4\], but this model takes \[T, 5\]"):
        make_model()(jnp.zeros((9, 4)))
    with pytest.raises(ValueError, match="with T >= 7"):
        make_model(task="regression", output_step=7)(jnp.zeros((6, 5)))


FAULTS = {
    "nan": (
        lambda m: m.blocks[1].value.weight,
        lambda w: w.at[2, 3].set(jnp.nan),
        r"parameter blocks\[1\]\.value\.weight is nan at \[2, 3\]",
    ),
    "infinite": (
        lambda m: m.encoder.bias,
        lambda b: b.at[0].set(jnp.inf),
        r"parameter encoder\.bias is inf at \[0\]",
    ),
    "shape": (
        lambda m: m.head.weight,
        lambda w: w[:, :-1],
        r"head\.weight has shape \[3, 6\], but this model's sizes need \[3, 7\]",
    ),
    "does not resolve": (
        lambda m: m.blocks[0].norm.mean,
        lambda a: a[:-1],
        "the parameters' shapes do not fit together",
    ),
    "vanished step": (
        lambda m: m.blocks[0].unit.step,
        lambda s: s.at[1].set(-1e4),
        r"blocks\[0\]\.step resolves to 0 at \[1\], but a step must be > 0",
    ),
    "unstable": (
        lambda m: m.blocks[1].unit.stiffness,
        lambda a: a.at[2].set(40.0),
        r"blocks\[1\] has an oscillator with step\*\*2 \* stiffness = .* stable only below 4",
    ),
    "variance": (
        lambda m: m.blocks[0].norm.variance,
        lambda v: v.at[3].set(-1.0),
        r"blocks\[0\]\.norm\.variance is -1 at \[3\], but a variance must be >= 0",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_check_names_the_fault(make_model, fault):
    model = make_model()
    check(model)
    where, change, sentence = FAULTS[fault]
    with pytest.raises(ValueError, match=sentence):
        check(eqx.tree_at(where, model, replace_fn=change))


def test_check_refuses_negative_stiffness_that_no_relu_caught(make_model):
    unit = Oscillators(jnp.array([1.0, 1.0, -0.5, 1.0]), jnp.ones((4, 7)))
    with pytest.raises(ValueError, match=r"stiffness resolves to -0\.5 at \[2\], but .* >= 0"):
        check(make_model(unit=unit))


def test_check_passes_other_units(make_model, custom_units):
    for unit in custom_units.values():
        check(make_model(unit=unit))
