"""The chunked sweep as a function of batches: any stack, any length, any chunk."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import equinox as eqx
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradient_errors import worst
from hypothesis import HealthCheck, given, settings
from numpy.testing import assert_allclose

import echoloom as el
from echoloom.frontend.gradients.rhel.objective import objective
from echoloom.frontend.gradients.rhel.sweep import Echoes, Plan, sweep

MODES: tuple[Echoes, ...] = ("renormalised", "fixed", "difference")
# The contrast of curved units has an error of the nudge squared; a difference has none.
EXACT, CURVED = 1e-9, 1e-6


def batch(model: el.HSSM, size: int, steps: int, seed: int = 3) -> tuple[jax.Array, jax.Array]:
    """X [size, steps, inputs], slow and rough at once, and labels that fit."""
    keys = jax.random.split(jax.random.key(seed), 2)
    time = jnp.arange(steps)[:, None] * (0.1 + 0.05 * jnp.arange(model.inputs))
    X = jnp.sin(time) + 0.5 * jax.random.normal(keys[0], (size, steps, model.inputs))
    if model.task == "classification":
        return X, jax.random.randint(keys[1], (size,), 0, model.outputs)
    shape = (size, steps // model.output_step, model.outputs)
    return X, jax.random.uniform(keys[1], shape, minval=-0.9, maxval=0.9)


@pytest.fixture
def in_haste() -> Iterator[None]:
    """For compilations that run once or twice."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


def as_float32(tree):
    return jax.tree.map(lambda a: a.astype(jnp.float32), tree)


@st.composite
def cases(draw):
    task = draw(st.sampled_from(["classification", "regression"]))
    output_step = draw(st.integers(1, 3)) if task == "regression" else 1
    blocks = draw(st.integers(1, 2))
    each = st.lists(
        st.tuples(
            st.sampled_from(["linear", "nonlinear", "saturating", "relativistic"]),
            st.sampled_from(["leapfrog", "imex"]),
            st.integers(1, 2),
        ),
        min_size=blocks,
        max_size=blocks,
    )
    steps = draw(st.integers(output_step, 40))
    sizes = draw(st.integers(1, 3)), draw(st.integers(1, 50)), draw(st.integers(1, 3))
    return task, output_step, draw(each), steps, *sizes, draw(st.sampled_from(MODES))


FEW = settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@FEW
@given(case=cases())
def test_it_is_the_gradient_through_time(in_haste, custom_units, case):
    compare(custom_units, *case)


@pytest.mark.long
@settings(FEW, max_examples=100)
@given(case=cases())
def test_it_is_the_gradient_through_time_of_many(in_haste, custom_units, case):
    # Hundreds of compiled programs side by side exhaust a process's memory maps.
    jax.clear_caches()
    compare(custom_units, *case)


def compare(custom_units, task, output_step, blocks, steps, inputs, chunk, size, mode) -> None:
    model = el.HSSM(
        inputs, 3, 7, 4, len(blocks),
        unit=[custom_units.get(name, name) for name, _, _ in blocks],
        integrator=[integrator for _, integrator, _ in blocks],
        substeps=[substeps for _, _, substeps in blocks],
        task=task, output_step=output_step, step=0.2, key=jax.random.key(steps),
    )  # fmt: skip
    X, y = batch(model, size, steps)
    value, wanted = el.bptt_value_and_grad(model)(model, X, y)
    found_value, found = el.rhel_value_and_grad(model, chunk=chunk, echoes=mode)(model, X, y)
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    assert_allclose(found_value, value, rtol=1e-12)
    exact = mode == "difference" or all(name == "linear" for name, _, _ in blocks)
    assert worst(found, wanted) < (EXACT if exact else CURVED)


CHUNK = 6


# 29 is prime, so that a shorter chunk is left over.
LENGTHS = [(1, 0), (CHUNK - 1, 1), (CHUNK, 0), (CHUNK + 1, 0), (29, 1)]


@pytest.mark.parametrize(("steps", "regression"), LENGTHS)
def test_lengths_that_chunks_do_not_divide(in_haste, make_model, steps, regression):
    task = "regression" if regression else "classification"
    model = make_model(task=task, blocks=1, unit="nonlinear")
    X, y = batch(model, 2, steps)
    value, wanted = el.bptt_value_and_grad(model)(model, X, y)
    for gradient in (
        el.rhel_value_and_grad(model, chunk=CHUNK, echoes="difference"),
        el.bptt_value_and_grad(model, rematerialise=CHUNK),
    ):
        found_value, found = gradient(model, X, y)
        assert_allclose(found_value, value, rtol=1e-12)
        assert worst(found, wanted) < EXACT


def test_one_sequence_is_a_batch_of_one(in_haste, make_model):
    for task in ("classification", "regression"):
        model = make_model(task=task)
        X, y = batch(model, 1, 20)
        for make in (el.rhel_value_and_grad, el.bptt_value_and_grad):
            one, many = make(model)(model, X[0], y[0]), make(model)(model, X, y)
            jax.tree.map(np.testing.assert_array_equal, one, many)
    model = make_model()
    found = el.rhel_value_and_grad(model)(model, np.asarray(X[0]), 2)[1]
    assert worst(found, el.bptt_gradient(model, X[0], 2)) < EXACT


def test_it_fits_where_the_usual_function_did(in_haste, make_model):
    """`eqx.filter_value_and_grad` of the mean loss, within jit, for numbers that change."""
    model = make_model()
    X, y = batch(model, 3, 30)

    def mean_loss(own: el.HSSM, X: jax.Array, y: jax.Array) -> jax.Array:
        logits = jax.vmap(own)(X)
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1))

    usual = eqx.filter_jit(eqx.filter_value_and_grad(mean_loss))
    echo = eqx.filter_jit(el.rhel_value_and_grad(model))
    other = jax.tree.map(lambda a: 0.9 * a, model)
    for own in (model, other):
        (value, wanted), (found_value, found) = usual(own, X, y), echo(own, X, y)
        assert_allclose(found_value, value, rtol=1e-12)
        kept = jax.tree.map(lambda a, b: None if a is None else b, found, wanted, is_leaf=_none)
        assert worst(found, kept) < EXACT


def _none(node: object) -> bool:
    return node is None


def test_it_can_be_mapped(in_haste, make_model):
    model = make_model(blocks=1)
    X, y = batch(model, 4, 20)
    X, y = X.reshape(2, 2, *X.shape[1:]), y.reshape(2, 2)
    echo = el.rhel_value_and_grad(model, chunk=8)
    values, found = jax.vmap(lambda a, b: echo(model, a, b))(X, y)
    for index in range(2):
        value, wanted = el.bptt_value_and_grad(model)(model, X[index], y[index])
        assert_allclose(values[index], value, rtol=1e-12)
        assert worst(jax.tree.map(lambda a, i=index: a[i], found), wanted) < EXACT


def test_a_loss_of_ones_own(in_haste, make_model):
    """For regression it is of one step, and what it says at steps without output is not heard."""

    def hinge(logits: jax.Array, label: jax.Array) -> jax.Array:
        others = jnp.where(jnp.arange(logits.size) == label, -jnp.inf, logits)
        return jnp.logaddexp(0.0, 1.0 + jnp.max(others) - logits[label])

    def relative(prediction: jax.Array, target: jax.Array) -> jax.Array:
        return jnp.sum(jnp.sqrt((prediction - target) ** 2 + 1e-3))

    def whole(own: el.HSSM, X: jax.Array, y: jax.Array) -> jax.Array:
        if own.task == "classification":
            return jnp.mean(jax.vmap(hinge)(jax.vmap(own)(X), y))
        return jnp.mean(jax.vmap(jax.vmap(relative))(jax.vmap(own)(X), y))

    for loss, arguments in ((hinge, {}), (relative, {"task": "regression", "output_step": 3})):
        model = make_model(**arguments)
        X, y = batch(model, 2, 20)
        value, wanted = eqx.filter_value_and_grad(whole)(model, X, y)
        for gradient in (
            el.rhel_value_and_grad(model, loss, chunk=8),
            el.bptt_value_and_grad(model, loss),
            el.bptt_value_and_grad(model, loss, rematerialise=8),
        ):
            found_value, found = gradient(model, X, y)
            assert_allclose(found_value, value, rtol=1e-12)
            pairs = jax.tree.map(
                lambda a, b: None if a is None else b, found, wanted, is_leaf=_none
            )
            assert worst(found, pairs) < EXACT


def test_memory_is_the_same_at_any_length(make_model):
    model = make_model(blocks=1, unit="nonlinear")

    def temporaries(gradient, steps: int) -> int:
        X, y = batch(model, 1, steps)
        compiled = jax.jit(lambda own, at: gradient(own, at, y)).lower(model, X).compile()
        analysis = compiled.memory_analysis()
        assert analysis is not None
        return analysis.temp_size_in_bytes

    for mode in MODES:
        echo = el.rhel_value_and_grad(model, chunk=32, echoes=mode)
        assert temporaries(echo, 64) == temporaries(echo, 6400)
        # A chunk of another length is compiled beside the others, and adds at most its own.
        assert temporaries(echo, 6389) <= 2.5 * temporaries(echo, 6400)
    kept = el.bptt_value_and_grad(model, rematerialise=32)
    assert temporaries(kept, 64_000) > 2 * temporaries(kept, 6400)


def confident(model: el.HSSM, x: jax.Array, margin: float) -> tuple[el.HSSM, jax.Array]:
    """`model` with a head so sure of its class that the loss is about e^-margin."""
    logits = jnp.sort(model(x))
    gain = margin / (logits[-1] - logits[-2])
    sure = eqx.tree_at(
        lambda m: m.head, model, replace_fn=lambda h: jax.tree.map(lambda a: gain * a, h)
    )
    return sure, jnp.argmax(model(x))


@pytest.mark.parametrize("unit", ["linear", "nonlinear"])
def test_a_tiny_loss_in_float64(in_haste, make_model, unit):
    model = make_model(unit=unit, step=0.1, blocks=1)
    X, _ = batch(model, 1, 400)
    sure, label = confident(model, X[0], 40.0)
    value, wanted = el.bptt_value_and_grad(sure)(sure, X, label[None])
    assert 0.0 < value < 1e-16
    for mode in ("renormalised", "difference"):
        _, found = el.rhel_value_and_grad(sure, echoes=mode)(sure, X, label[None])
        assert worst(found, wanted) < (CURVED if unit == "nonlinear" else EXACT)


@pytest.mark.parametrize("margin", [1.0, 28.0])
@pytest.mark.parametrize("unit", ["linear", "nonlinear"])
def test_float32_stays_near_float64(make_model, unit, margin):
    """Whatever the loss."""
    model = make_model(unit=unit, step=0.1)
    X, _ = batch(model, 1, 1500)
    sure, label = confident(model, X[0], margin)
    single = as_float32(sure)
    exact = jax.tree.map(lambda a: a.astype(jnp.float64), single)
    X = X.astype(jnp.float32)
    wanted = el.bptt_value_and_grad(exact)(exact, X.astype(jnp.float64), label[None])[1]
    through_time = worst(el.bptt_value_and_grad(single)(single, X, label[None])[1], wanted)
    bounds: dict[Echoes, float] = {"renormalised": 1e-3, "difference": 2 * through_time}
    for mode, bound in bounds.items():
        value, found = el.rhel_value_and_grad(single, echoes=mode)(single, X, label[None])
        assert value.dtype == jnp.float32
        assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype(jnp.float32)}
        assert worst(found, wanted) < bound, mode


def test_the_difference_is_nearer_than_echoes_are(make_model):
    """Small steps are rounded away from the state, if their sums are not compensated."""
    model = make_model(unit="linear", step=0.01, blocks=1)
    X = batch(model, 1, 4000)[0].astype(jnp.float32)
    single = as_float32(model)
    # The steps as float32 has them, not as float64 would make them of the same raw parameters.
    exact = jax.tree.map(lambda a: a.astype(jnp.float64), single.resolve())

    def error(echoes: Echoes) -> float:
        return worst(*(gradient(own, X, echoes) for own in (single.resolve(), exact)))

    def gradient(own, X, echoes: Echoes):
        dtype = own.encoder.weight.dtype
        target = objective(model, None, jnp.asarray(1), X.shape[1])
        return sweep(own, target, X[0].astype(dtype), Plan(128, echoes), None).gradient

    assert error("difference") < 0.5 * error("renormalised")


def test_a_fixed_nudge_is_the_papers(in_haste, make_model):
    """Too small a one drowns in the state's rounding: that is what renormalising is for."""
    model = make_model()
    X, y = batch(model, 1, 300)
    wanted = el.bptt_value_and_grad(model)(model, X, y)[1]

    def error(epsilon: float) -> float:
        fixed = el.rhel_value_and_grad(model, echoes="fixed", epsilon=epsilon)
        return worst(fixed(model, X, y)[1], wanted)

    assert error(1.0) < EXACT
    assert error(1e-9) > 1e-6
    found = el.rhel_value_and_grad(model, echoes="fixed", epsilon=0.5)(model, X, y)[1]
    np.testing.assert_array_equal(
        found.encoder.weight, el.rhel_gradient(model, X[0], y[0], 0.5).encoder.weight
    )


def test_refusals_are_one_sentence(make_model):
    model = make_model()
    X, y = batch(model, 2, 10)
    for arguments, said in (
        ({"chunk": 0}, "chunk is 0, but it must be a whole number >= 1"),
        ({"chunk": 2.5}, "chunk is 2.5"),
        ({"echoes": "loud"}, "echoes is 'loud', but it must be one of 'renormalised', 'fixed'"),
        ({"epsilon": 0.1}, "only echoes='fixed' has one nudge"),
        ({"epsilon": -1.0, "echoes": "fixed"}, "epsilon is -1.0, but it must be > 0"),
    ):
        with pytest.raises(ValueError, match=said):
            el.rhel_value_and_grad(model, **arguments)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="rematerialise is 0"):
        el.bptt_value_and_grad(model, rematerialise=0)
    broken = eqx.tree_at(lambda m: m.encoder.bias, model, model.encoder.bias.at[0].set(jnp.nan))
    for make in (el.rhel_value_and_grad, el.bptt_value_and_grad):
        with pytest.raises(ValueError, match="every parameter must be finite"):
            make(broken)
        gradient = make(model)
        with pytest.raises(ValueError, match="X: its shape is"):
            gradient(model, X[..., None], y)
        with pytest.raises(ValueError, match="one label for each of 2 sequences"):
            gradient(model, X, y[:1])
        with pytest.raises(ValueError, match=r"input: its shape is \[10, 4\]"):
            gradient(model, X[..., :4], y)
        with pytest.raises(ValueError, match="classification takes one whole number"):
            gradient(model, X, y * 1.0)
        with pytest.raises(ValueError, match="another stack"):
            gradient(make_model(blocks=1), X, y)


SHARED = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
import echoloom as el

assert len(jax.devices()) == 4
model = el.HSSM(3, 2, 5, 4, 2, key=jax.random.key(0))
X = jax.random.normal(jax.random.key(1), (8, 37, 3))
y = jnp.arange(8) % 2
echo = jax.jit(el.rhel_value_and_grad(model, chunk=16))
one = echo(model, X, y)
mesh = Mesh(np.array(jax.devices()), ("batch",))
shared = NamedSharding(mesh, PartitionSpec("batch"))
four = echo(model, jax.device_put(X, shared), jax.device_put(y, shared))
for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(four), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)
assert len(one[0].sharding.device_set) == 1 and len(four[0].sharding.device_set) == 4
"""


def test_devices_that_share_a_batch_find_the_same():
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "JAX_ENABLE_X64": "1",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(Path(el.__file__).parents[1]),
    }
    done = subprocess.run(
        [sys.executable, "-c", SHARED], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
