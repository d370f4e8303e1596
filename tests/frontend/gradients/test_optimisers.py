"""The recipes of Equinox's and optax's documents, with this package's gradients in their place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
import pytest

import echoloom as el
from echoloom.frontend.models.hssm import with_statistics

X = jax.random.normal(jax.random.key(1), (4, 6, 2))
Y = jnp.array([0, 1, 1, 0])
MAKERS: dict[str, Callable[..., Any]] = {
    "rhel": el.rhel_value_and_grad,
    "bptt": el.bptt_value_and_grad,
}


class Pendulums(el.Hamiltonian):
    weight: jax.Array
    drive: jax.Array

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        return self.weight @ (1 - jnp.cos(q)) - q @ (self.drive @ u)


def pendulums() -> Pendulums:
    return Pendulums(jnp.ones(2), 0.3 * jnp.ones((2, 3)))


@pytest.fixture(autouse=True, scope="module")
def in_haste() -> Iterator[None]:
    """Short runs, each of which is compiled anew."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


def small(**arguments: Any) -> el.HSSM:
    sizes = {"inputs": 2, "outputs": 2, "hidden": 3, "state": 2, "blocks": 1}
    return el.HSSM(**{**sizes, **arguments}, key=jax.random.key(0))


@pytest.fixture(scope="module")
def model() -> el.HSSM:
    """With statistics that were measured: zeros and ones would hide what happens to them."""
    return with_statistics(small(), X)


@pytest.fixture(scope="module")
def learn(model: el.HSSM) -> Any:
    """The echo's gradient, compiled once."""
    return eqx.filter_jit(el.rhel_value_and_grad(model))


def mean_loss(model: el.HSSM, X: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.mean(jax.vmap(lambda x, label: -jax.nn.log_softmax(model(x))[label])(X, y))


def statistics(model: el.HSSM) -> list[jax.Array]:
    return [s for block in model.blocks for s in (block.norm.mean, block.norm.variance)]


def learned(model: el.HSSM, other: el.HSSM) -> bool:
    """Whether the statistics are the same bits and every other array has moved."""
    moved = jax.tree.map(lambda a, b: bool(jnp.any(a != b)), model, other)
    return jax.tree.leaves(moved) == jax.tree.leaves(el.trainable(model))


def equinox_steps(
    model: el.HSSM, optim: optax.GradientTransformation, value_and_grad: Any, count: int = 2
) -> el.HSSM:
    """What Equinox's documents write, with another gradient."""

    def make_step(model: el.HSSM, state: Any, x: jax.Array, y: jax.Array) -> Any:
        loss, grads = value_and_grad(model, x, y)
        updates, state = optim.update(grads, state, eqx.filter(model, eqx.is_inexact_array))
        return loss, eqx.apply_updates(model, updates), state

    state = optim.init(eqx.filter(model, eqx.is_inexact_array))
    for _ in range(count):
        _, model, state = make_step(model, state, X, Y)
    return model


# What a gradient is


def test_every_float_gradient_has_what_filter_grad_has() -> None:
    own = small(unit=pendulums())
    wanted = eqx.filter_eval_shape(eqx.filter_grad(mean_loss), own, X, Y)
    for one in (el.rhel_gradient, el.bptt_gradient):
        assert eqx.tree_equal(eqx.filter_eval_shape(one, own, X[0], Y[0]), wanted)
    for make in MAKERS.values():
        assert eqx.tree_equal(eqx.filter_eval_shape(make(own), own, X, Y)[1], wanted)


def test_the_recipe_of_equinoxs_documents(model: el.HSSM, learn: Any) -> None:
    """To the weights that autodiff's gradient gives."""
    usual = eqx.filter_jit(eqx.filter_value_and_grad(mean_loss))
    wanted = equinox_steps(model, optax.adam(1e-2), usual)
    for gradient in (learn, el.bptt_value_and_grad(model)):
        found = equinox_steps(model, optax.adam(1e-2), gradient)
        assert learned(model, found)
        assert eqx.tree_equal(found, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("maker", MAKERS)
def test_the_function_made_within_the_step(model: el.HSSM, maker: str) -> None:
    """As the first example of Equinox's documents has it; to trace it is enough."""

    def inside(own: el.HSSM, x: jax.Array, y: jax.Array) -> Any:
        return MAKERS[maker](own)(own, x, y)

    _, found = eqx.filter_eval_shape(inside, model, X, Y)
    assert jax.tree.structure(found) == jax.tree.structure(model)
    _, found = jax.eval_shape(lambda x: inside(model, x, Y), X)
    assert jax.tree.structure(found) == jax.tree.structure(model)
    wide = eqx.tree_at(lambda m: m.head.bias, model, jnp.zeros(5))
    with pytest.raises(ValueError, match=r"head\.bias has shape \[5\]"):
        eqx.filter_eval_shape(inside, wide, X, Y)


def zero_or_all(model: el.HSSM) -> Any:
    return jax.tree.map(lambda s: "learned" if s else "frozen", el.trainable(model))


OPTIMISERS: dict[str, Callable[[], optax.GradientTransformation]] = {
    "chain, clipped": lambda: optax.chain(optax.clip_by_global_norm(0.1), optax.adam(1e-2)),
    "accumulated": lambda: optax.MultiSteps(optax.adam(1e-2), 2).gradient_transformation(),
    "lion": lambda: optax.lion(1e-2, mask=el.trainable),
    "adamw, mask": lambda: optax.adamw(1e-2, weight_decay=0.1, mask=el.trainable),
    "lamb in masked": lambda: optax.masked(optax.lamb(1e-2, weight_decay=0.1), el.trainable),
    "multi_transform": lambda: optax.multi_transform(
        {"learned": optax.adamw(1e-2, weight_decay=0.1), "frozen": optax.set_to_zero()},
        zero_or_all,
    ),
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_optimisers_leave_the_statistics(model: el.HSSM, learn: Any, name: str) -> None:
    """And with weight decay where they are told to by `trainable`."""
    assert learned(model, equinox_steps(model, OPTIMISERS[name](), learn))


def test_weight_decay_without_a_mask_is_of_every_array(model: el.HSSM, learn: Any) -> None:
    """Optax's way with any array whose gradient is zero: (1 - rate * decay) of it a step."""
    optim = optax.adamw(1e-2, weight_decay=0.1)
    found = equinox_steps(model, optim, learn, count=1)
    for old, new in zip(statistics(model), statistics(found), strict=True):
        assert jnp.allclose(new, old * (1 - 1e-3), rtol=1e-12)


def test_partition_and_combine(model: el.HSSM, learn: Any) -> None:
    """Optax's own recipe: parameters apart from the rest, either way of filtering."""
    optim = optax.adam(1e-2)
    results = []
    for spec in (eqx.is_inexact_array, el.trainable(model)):
        params: Any
        params, static = eqx.partition(model, spec)
        state = optim.init(params)
        for _ in range(2):
            _, grads = learn(eqx.combine(params, static), X, Y)
            updates, state = optim.update(eqx.filter(grads, spec), state, params)
            params = optax.apply_updates(params, updates)
        results.append(eqx.combine(params, static))
    assert learned(model, results[0])
    assert eqx.tree_equal(*results)


def test_trainable_is_a_mask_of_what_has_been_filtered(model: el.HSSM) -> None:
    own = eqx.filter(model, el.trainable(model))
    mask = el.trainable(own)
    assert jax.tree.structure(mask) == jax.tree.structure(own)
    assert all(jax.tree.leaves(mask))
    optim = optax.adamw(1e-2, mask=el.trainable)
    state = optim.init(own)
    optim.update(own, state, own)


def test_donated_buffers() -> None:
    """Nothing in a new model is there twice, in two blocks or in the model and its unit."""
    unit = pendulums()
    own = small(blocks=2, unit=unit)
    value_and_grad, optim = el.rhel_value_and_grad(own), optax.adam(1e-2)

    @eqx.filter_jit(donate="all")
    def step(data: Any, model: Any, state: Any) -> Any:
        value, grads = value_and_grad(model, *data)
        updates, state = optim.update(cast(Any, grads), state)
        return value, eqx.apply_updates(model, updates), state

    state = optim.init(eqx.filter(own, eqx.is_inexact_array))
    values = []
    for _ in range(2):
        value, own, state = step((jnp.copy(X), jnp.copy(Y)), own, state)
        values.append(float(value))
    assert values[1] < values[0]
    assert unit.weight.tolist() == [1.0, 1.0]  # the user's own is still there


def test_an_ensemble(model: el.HSSM) -> None:
    """Models side by side under vmap, each with the gradient that it has alone."""
    other = eqx.tree_at(lambda m: m.head.weight, model, 2 * model.head.weight)
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), model, other)
    value_and_grad = el.rhel_value_and_grad(model)
    values, grads = eqx.filter_vmap(lambda m: value_and_grad(m, X, Y))(both)
    for index, own in enumerate((model, other)):
        value, wanted = value_and_grad(own, X, Y)
        assert float(values[index]) == pytest.approx(float(value), rel=1e-12)
        found = jax.tree.map(lambda leaf, i=index: leaf[i], grads)
        assert eqx.tree_equal(found, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("maker", MAKERS)
def test_an_empty_batch_is_refused(model: el.HSSM, maker: str) -> None:
    with pytest.raises(ValueError, match=r"X: its shape is \[0, 6, 2\].* of at least one"):
        MAKERS[maker](model)(model, X[:0], Y[:0])
