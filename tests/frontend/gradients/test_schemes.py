"""Integrators, substeps, and blocks that differ: the echo undoes a sample and learns."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradient_errors import errors, worst

from echoloom.frontend.gradients.bptt import bptt_gradient
from echoloom.frontend.gradients.rhel import flip, rhel_gradient, traverse
from echoloom.frontend.models import parts
from echoloom.frontend.models.check import check
from echoloom.ir.scheme import Stage, merged, stages_of

POSITIONS = 4  # of the shared custom units, and of a model unless it says otherwise
SCHEMES = [("leapfrog", 1), ("leapfrog", 3), ("imex", 1), ("imex", 2)]
TASKS = [("classification", 1), ("regression", 2)]
# Every scheme, length and task meets every other once; the rest takes minutes.
CHOSEN = {
    ("leapfrog", 2, 60, *TASKS[0]),
    ("leapfrog", 3, 2, *TASKS[1]),
    ("imex", 1, 60, *TASKS[1]),
    ("imex", 1, 1, *TASKS[0]),
    ("imex", 3, 60, *TASKS[0]),
}


def mixed(units, **others) -> dict[str, object]:
    """A stack in which no two blocks are alike."""
    return {
        "blocks": 3,
        "unit": ["linear", "nonlinear", units["relativistic"]],
        "state": [3, 5, POSITIONS],
        "step": [None, 0.2, 0.3],
        "complex": [True, True, False],
        "substeps": [1, 3, 2],
        "integrator": ["imex", "imex", "leapfrog"],
        **others,
    }


def test_stages_are_those_of_the_two_integrators():
    half, drift, kick = Stage("drift", 0.5), Stage("drift", 1.0), Stage("kick", 1.0)
    assert stages_of("leapfrog", 1) == (half, kick, half)
    assert stages_of("leapfrog", 2) == (half, kick, half, half, kick, half)
    assert stages_of("imex", 2) == (kick, drift, kick, drift)
    assert merged(stages_of("leapfrog", 2)) == (half, kick, drift, kick, half)
    assert merged(stages_of("imex", 2)) == stages_of("imex", 2)


@pytest.mark.parametrize(("integrator", "substeps"), SCHEMES)
@pytest.mark.parametrize("name", ["linear", "nonlinear", "relativistic"])
def test_the_echo_undoes_a_sample(make_model, custom_units, name, integrator, substeps):
    unit = custom_units.get(name, name)
    model = make_model(unit=unit, integrator=integrator, substeps=substeps, step=0.6)
    block = model.resolve().blocks[0]
    keys = jax.random.split(jax.random.key(5), 3)
    u = jax.random.normal(keys[2], (model.hidden,))
    start = parts.State(*(jax.random.normal(k, block.step.shape) for k in keys[:2]))
    after = parts.integrate(block, start, u)
    back = flip(traverse(block, flip(after), u)[0])
    np.testing.assert_allclose(back.q, start.q, atol=1e-12)
    np.testing.assert_allclose(back.p, start.p, atol=1e-12)
    # Only a symmetric scheme is undone by itself: for the other one the order is what matters.
    again = flip(parts.integrate(block, flip(after), u))
    assert np.allclose(again.q, start.q, atol=1e-9) == (integrator == "leapfrog")


def test_substeps_are_steps_with_the_same_drive(make_model):
    once, thrice = (
        make_model(substeps=n, integrator="imex", step=0.3).resolve().blocks[0] for n in (1, 3)
    )
    u = jax.random.normal(jax.random.key(1), (7,))
    state = parts.State(jnp.ones_like(once.step), jnp.zeros_like(once.step))
    expected = state
    for _ in range(3):
        expected = parts.integrate(once, expected, u)
    found = parts.integrate(thrice, state, u)
    np.testing.assert_array_equal(found.q, expected.q)
    np.testing.assert_array_equal(found.p, expected.p)


@pytest.mark.parametrize(
    ("integrator", "substeps", "steps", "task", "output_step"),
    [
        pytest.param(*case, marks=() if case in CHOSEN else pytest.mark.long)
        for case in sorted(
            CHOSEN
            | {
                (integrator, substeps, steps, *task)
                for integrator, substeps, steps, task in itertools.product(
                    ("leapfrog", "imex"), (1, 2, 3), (1, 2, 60), TASKS
                )
            }
        )
    ],
)
def test_linear_units_learn_exactly(
    make_model, make_sample, integrator, substeps, steps, task, output_step
):
    model = make_model(integrator=integrator, substeps=substeps, task=task, output_step=output_step)
    x, label = make_sample(model, max(steps, output_step))
    found, wanted = rhel_gradient(model, x, label), bptt_gradient(model, x, label)
    assert {name: e for name, e in errors(found, wanted).items() if not e < 1e-9} == {}


@pytest.mark.parametrize(
    ("name", "integrator", "substeps", "coarse"),
    [
        ("nonlinear", "imex", 1, 2.0**-2),
        ("nonlinear", "leapfrog", 2, 2.0**-2),
        ("relativistic", "imex", 2, 2.0**-3),
    ],
)
def test_nonlinear_units_learn_to_second_order_in_epsilon(
    make_model, make_sample, custom_units, name, integrator, substeps, coarse
):
    """Every leaf's error falls by 16 for a fourfold smaller epsilon, so nothing else is wrong."""
    unit = custom_units.get(name, name)
    model = make_model(unit=unit, integrator=integrator, substeps=substeps)
    x, label = make_sample(model, 40)
    wanted = bptt_gradient(model, x, label)
    assert worst(rhel_gradient(model, x, label), wanted) < 1e-6
    at_coarse, at_fine = (
        errors(rhel_gradient(model, x, label, epsilon), wanted) for epsilon in (coarse, coarse / 4)
    )
    assert max(at_coarse.values()) > 1e-7
    for tensor, error in at_coarse.items():
        if error > 1e-8:
            assert error / at_fine[tensor] == pytest.approx(16.0, rel=0.05), tensor


@pytest.mark.parametrize(("task", "output_step"), TASKS)
def test_a_stack_of_different_blocks_learns(
    make_model, make_sample, custom_units, task, output_step
):
    model = make_model(
        **mixed(custom_units, task=task, output_step=output_step, activation="gelu_tanh")
    )
    check(model)
    x, label = make_sample(model, 60)
    assert worst(rhel_gradient(model, x, label), bptt_gradient(model, x, label)) < 1e-6


def test_what_differs_by_block_is_kept_by_block(make_model, custom_units):
    model = make_model(**mixed(custom_units))
    assert model.state == (3, 5, POSITIONS)
    assert model.complex == (True, False, False)
    assert model.substeps == (1, 3, 2)
    assert model.integrator == ("imex", "imex", "leapfrog")
    blocks = model.resolve().blocks
    assert [block.step.size for block in blocks] == [6, 5, POSITIONS]
    assert [block.readout.shape for block in blocks] == [(7, 6), (7, 5), (7, POSITIONS)]
    np.testing.assert_allclose(blocks[1].step, 0.2)
    np.testing.assert_allclose(blocks[2].step, 0.3)
    same = make_model(complex=False)
    assert (same.state, same.complex, same.substeps) == (POSITIONS, False, 1)
    assert (same.integrator, same.activation) == ("leapfrog", "gelu")
