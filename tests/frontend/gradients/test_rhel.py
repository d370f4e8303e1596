"""The echo's gradient against backpropagation through time, tensor by tensor."""

from __future__ import annotations

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradient_errors import errors, worst
from steps_back import step_back

from echoloom.frontend.gradients.bptt import bptt_gradient
from echoloom.frontend.gradients.loss import loss
from echoloom.frontend.gradients.rhel import flip, rhel_gradient, traverse
from echoloom.frontend.gradients.rhel.dynamics import driven, prepare, split_potential
from echoloom.frontend.gradients.rhel.echoes import Pair, echo_pair
from echoloom.frontend.models import parts
from echoloom.frontend.models.hssm import rest, trainable

TOLERANCE = 1e-9


TASKS = [("classification", 1), ("regression", 1), ("regression", 2)]
STEPS, BLOCKS = (1, 2, 300), (1, 2, 3)
# Two compilations a case are too many for every run: here every pair of values of two of the four
# things that vary occurs, and the whole product is marked slow.
COMPLEX = ((1, 0, 0), (0, 1, 1), (1, 0, 1))
PAIRS = {
    (STEPS[i], BLOCKS[j], bool(COMPLEX[i][j]), *TASKS[(i + j) % 3])
    for i in range(3)
    for j in range(3)
}


@pytest.mark.parametrize(
    ("steps", "blocks", "complex", "task", "output_step"),
    [
        pytest.param(*case, marks=() if case in PAIRS else pytest.mark.long)
        for case in [
            (steps, blocks, complex, *task)
            for steps in STEPS
            for blocks in BLOCKS
            for complex in (False, True)
            for task in TASKS
        ]
    ],
)
def test_equals_bptt(make_model, make_sample, steps, blocks, complex, task, output_step):
    model = make_model(blocks=blocks, complex=complex, task=task, output_step=output_step)
    x, label = make_sample(model, steps if steps >= output_step else 3)
    wanted = bptt_gradient(model, x, label)
    found = rhel_gradient(model, x, label)
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    assert {name: e for name, e in errors(found, wanted).items() if not e < TOLERANCE} == {}
    spec = jax.tree.leaves(trainable(model))
    assert sum(spec) == len(spec) - 2 * blocks
    for learned, leaf in zip(spec, jax.tree.leaves(found), strict=True):
        assert learned or not jnp.any(leaf)


def test_sparse_outputs_that_do_not_divide_the_sequence(make_model, make_sample):
    model = make_model(task="regression", output_step=7)
    x, label = make_sample(model, 300)  # 42 outputs, 6 steps after the last
    assert worst(rhel_gradient(model, x, label), bptt_gradient(model, x, label)) < TOLERANCE


def test_long_sequence(make_model, make_sample):
    model = make_model()
    x, label = make_sample(model, 5000)
    assert worst(rhel_gradient(model, x, label), bptt_gradient(model, x, label)) < TOLERANCE


def test_confident_label_keeps_its_gradient(make_model, make_sample):
    """The nudge follows the loss, here e^-40: a fixed one drowns in the state's rounding."""
    model = make_model()
    x, _ = make_sample(model, 300)
    logits = jnp.sort(model(x))
    gain = 40.0 / (logits[-1] - logits[-2])
    label = jnp.argmax(model(x))
    model = eqx.tree_at(
        lambda m: m.head, model, replace_fn=lambda h: jax.tree.map(lambda a: gain * a, h)
    )
    wanted = bptt_gradient(model, x, label)
    assert 0.0 < loss(model, x, label) < 1e-17
    assert worst(rhel_gradient(model, x, label), wanted) < TOLERANCE
    assert worst(rhel_gradient(model, x, label, 0.1), wanted) > 1e-3


def test_linear_contrast_is_exact_in_epsilon(make_model, make_sample):
    model = make_model()
    x, label = make_sample(model, 100)
    wanted = bptt_gradient(model, x, label)
    for epsilon in (1.0, 2.0**6, 2.0**12):
        assert worst(rhel_gradient(model, x, label, epsilon), wanted) < TOLERANCE


# The coarser epsilon: small enough for the next order, large enough for rounding, to be invisible.
@pytest.mark.parametrize(("name", "coarse"), [("saturating", 1.0), ("relativistic", 2.0**-2)])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_any_separable_hamiltonian(make_model, make_sample, custom_units, name, coarse, task):
    """Force, kinetic coefficients, couplings and one step a coordinate: error ~ epsilon^2."""
    model = make_model(unit=custom_units[name], task=task)
    x, label = make_sample(model, 60)
    wanted = bptt_gradient(model, x, label)
    gradient = partial(rhel_gradient, model, x, label)
    assert worst(gradient(), wanted) < 1e-7
    at_coarse, at_fine = (errors(gradient(epsilon), wanted) for epsilon in (coarse, coarse / 4))
    for tensor, error in at_coarse.items():
        if error > 1e-9:  # else exact: nothing of the unit is between this tensor and the loss
            assert error / at_fine[tensor] == pytest.approx(16.0, rel=0.01), tensor


def test_a_mixed_stack(make_model, make_sample, custom_units):
    model = make_model(unit=list(custom_units.values()), step=0.1)
    x, label = make_sample(model, 60)
    assert worst(rhel_gradient(model, x, label), bptt_gradient(model, x, label)) < 1e-7


def test_free_copy_returns_to_rest(make_model, make_sample):
    model = make_model()
    x, _ = make_sample(model, 1000)
    coefficients = model.resolve()
    advance = partial(parts.advance, coefficients)
    states, features = jax.lax.scan(lambda s, at: advance(s, at), rest(coefficients), x)

    flipped = tuple(flip(state) for state in states)
    end, again = jax.lax.scan(partial(step_back, coefficients), flipped, x, reverse=True)
    np.testing.assert_allclose(again, features, atol=1e-10)
    for state in end:
        np.testing.assert_allclose(state.q, 0.0, atol=1e-10)
        np.testing.assert_allclose(state.p, 0.0, atol=1e-10)


def test_nudge_pushes_the_echoes_apart_evenly(make_model):
    model = make_model()
    block = model.resolve().blocks[0]
    split = split_potential(block)
    prepared = prepare(split, block.unit, jnp.zeros((1, model.hidden)))
    loop = driven(block, split, prepared.lasting)
    state = parts.State(jnp.ones_like(block.step), 2.0 * jnp.ones_like(block.step))
    both = jax.tree.map(lambda at: jnp.stack([at, at]), state)
    push = jnp.arange(1.0, 1.0 + block.step.size)
    after, seen = echo_pair(loop, Pair(both, jnp.asarray(0.5)), push[None], prepared.timed)
    np.testing.assert_array_equal(seen.q[0], both.q)
    np.testing.assert_allclose(seen.p[0, 0] - state.p, push)
    np.testing.assert_allclose(seen.p[0].sum(axis=0), 2 * state.p)
    # Then each goes its own way: as far as a block of its own would take it.
    for copy in (0, 1):
        start = parts.State(state.q, seen.p[0, copy])
        alone, _ = traverse(block, start, jnp.zeros(model.hidden))
        np.testing.assert_allclose(after.state.q[copy], alone.q)
        np.testing.assert_allclose(after.state.p[copy], alone.p)


def test_memory_does_not_grow_with_the_sequence(make_model, make_sample):
    model = make_model()

    def temporaries(gradient, steps):
        x, label = make_sample(model, steps)
        compiled = jax.jit(lambda at: gradient(model, at, label)).lower(x).compile()
        analysis = compiled.memory_analysis()
        assert analysis is not None
        return analysis.temp_size_in_bytes

    assert temporaries(rhel_gradient, 4000) == temporaries(rhel_gradient, 1000)  # 32, 8 chunks
    assert temporaries(bptt_gradient, 4000) > 3 * temporaries(bptt_gradient, 1000)


def test_a_label_that_would_broadcast_is_refused(make_model, make_sample):
    model = make_model(task="regression")
    x, label = make_sample(model, 6)
    for gradient in (rhel_gradient, bptt_gradient):
        with pytest.raises(ValueError, match=r"targets of 6 steps have shape \[6, 3\]"):
            gradient(model, x, label[0])
