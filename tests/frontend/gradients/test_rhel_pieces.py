"""The pieces of the chunked sweep, each against what it stands for."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradient_errors import worst
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import echoloom as el
from echoloom.frontend.energy.jaxpr import is_affine
from echoloom.frontend.gradients.rhel import flip, rows, traverse
from echoloom.frontend.gradients.rhel.chunks import downwards, fitting, upwards
from echoloom.frontend.gradients.rhel.contrast import Contrast, contrast_adjoint, contrast_sides
from echoloom.frontend.gradients.rhel.dynamics import driven, prepare, retrace, run, split_potential
from echoloom.frontend.gradients.rhel.echoes import Pair, echo_adjoint, echo_pair
from echoloom.frontend.gradients.rhel.over_time import over_time, spread, total
from echoloom.frontend.gradients.rhel.scale import PARTING, power_of_two, renormalise
from echoloom.frontend.models import parts

STEPS = 9


def arrays(seed: int, *shapes: tuple[int, ...]) -> list[jax.Array]:
    keys = jax.random.split(jax.random.key(seed), len(shapes))
    return [jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True)]


def test_rows_are_the_parts_at_every_step(make_model):
    model = make_model(activation="gelu_tanh")
    coefficients = model.resolve()
    block, hidden = coefficients.blocks[0], model.hidden
    x, h, u, q = arrays(
        0, (STEPS, model.inputs), (STEPS, hidden), (STEPS, hidden), (STEPS, block.step.size)
    )
    pairs = (
        (rows.affine, parts.encode, coefficients.encoder, (x,)),
        (rows.affine, parts.head, coefficients.head, (h,)),
        (rows.drive, parts.drive, block, (h,)),
        (rows.mix, parts.mix, block, (q, u, h)),
    )
    for at_once, one, own, values in pairs:
        each = jax.vmap(partial(one, own))
        found, back = jax.vjp(at_once, own, *values)
        wanted, each_back = jax.vjp(lambda c, *v, f=one: jax.vmap(partial(f, c))(*v), own, *values)
        assert_allclose(found, each(*values), rtol=1e-13, atol=1e-13)
        (g,) = arrays(1, wanted.shape)
        for a, b in zip(jax.tree.leaves(back(g)), jax.tree.leaves(each_back(g)), strict=True):
            assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_over_time_is_a_map_and_its_gradient():
    vector, matrix, values = arrays(2, (4,), (4, 3), (STEPS, 3))

    def step(own, at: jax.Array) -> jax.Array:
        return own[0] * jnp.tanh(own[1] @ at) + own[2]

    own = (vector, matrix, jnp.asarray(0.5))
    found, back = jax.vjp(over_time(step), own, values)
    wanted, plain = jax.vjp(lambda o, v: jax.vmap(partial(step, o))(v), own, values)
    assert_allclose(found, wanted, rtol=1e-14)
    for a, b in zip(jax.tree.leaves(back(found)), jax.tree.leaves(plain(found)), strict=True):
        assert_allclose(a, b, rtol=1e-13)
    assert_allclose(total(spread(vector, STEPS)), STEPS * vector)


class Gated(el.Hamiltonian):
    """What a driven value may be: a truth value, a whole number, a dense matrix, a constant."""

    coupling: jax.Array
    drive: jax.Array

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        push = self.drive @ u
        stiff = jnp.where(push > 0.0, 1.0, 0.5) * np.linspace(1.0, 2.0, 4)
        order = jnp.argsort(jnp.arange(4))[::-1]
        r = self.coupling @ q
        return 0.5 * jnp.sum(stiff * r**2) + 0.1 * jnp.sum(q[order] ** 4) - q @ jnp.tanh(push)


def test_what_the_state_does_not_reach_is_made_before_the_loop(make_model, custom_units):
    for unit in ("linear", "nonlinear", *custom_units.values()):
        block = make_model(unit=unit, blocks=1).resolve().blocks[0]
        split = split_potential(block)
        q, u = arrays(4, block.step.shape, (STEPS, 7))
        prepared = prepare(split, block.unit, u)
        loop = driven(block, split, prepared.lasting)
        for k in range(STEPS):
            here = tuple(values[k] for values in prepared.timed)
            assert_allclose(
                parts.force(loop.unit, q, here),  # pyright: ignore[reportArgumentType]
                parts.force(block.unit, q, u[k]),
                rtol=1e-13,
                atol=1e-14,
            )
        drive = block.unit.drive  # pyright: ignore[reportAttributeAccessIssue]
        assert all(values.shape != drive.shape for values in prepared.lasting)
        assert [values.shape for values in prepared.timed] == [(STEPS, block.step.size)]


@pytest.mark.parametrize("mode", ["renormalised", "fixed", "difference"])
def test_a_unit_of_switches_learns(make_model, mode):
    coupling, drive = arrays(5, (4, 4), (4, 7))
    model = make_model(unit=Gated(0.3 * coupling + jnp.eye(4), drive), step=0.1, blocks=1)
    X, y = arrays(6, (2, 30, 5))[0], jnp.array([0, 2])
    wanted = el.bptt_value_and_grad(model)(model, X, y)[1]
    found = el.rhel_value_and_grad(model, chunk=8, echoes=mode)(model, X, y)[1]
    assert worst(found, wanted) < 1e-6


def test_the_free_copy_meets_the_states_again(make_model):
    block = make_model(unit="nonlinear", integrator="imex", substeps=2).resolve().blocks[0]
    split = split_potential(block)
    prepared = prepare(split, block.unit, arrays(7, (STEPS, 7))[0])
    loop = driven(block, split, prepared.lasting)
    start = parts.State(*arrays(8, block.step.shape, block.step.shape))
    end, positions = run(loop, start, prepared.timed)
    back, met = retrace(loop, flip(end), prepared.timed)
    assert_allclose(met.q, positions, rtol=1e-12, atol=1e-13)
    assert_allclose(flip(back).q, start.q, rtol=1e-12, atol=1e-13)
    assert_allclose(flip(back).p, start.p, rtol=1e-12, atol=1e-13)
    last = tuple(values[-1] for values in prepared.timed)
    one, _ = traverse(loop, flip(end), last)  # pyright: ignore[reportArgumentType]
    assert_allclose(met.q[-2], one.q, rtol=1e-12)


@pytest.mark.parametrize("way", [run, retrace])
def test_compensated_sums_lose_nothing_on_the_way(make_model, way):
    """Of float32 states, which end as near to float64's as one rounding lets them."""
    block = make_model(unit="nonlinear", step=0.01).resolve().blocks[0]
    u = arrays(16, (600, 7))[0]
    start = parts.State(*arrays(17, block.step.shape, block.step.shape))
    single = jax.tree.map(lambda a: a.astype(jnp.float32), (block, u, start))
    exact = jax.tree.map(lambda a: a.astype(jnp.float64), single)

    def end(own, compensated: bool) -> parts.State:
        block, u, start = own
        split = split_potential(block)
        prepared = prepare(split, block.unit, u)
        loop = driven(block, split, prepared.lasting)
        return way(loop, start, prepared.timed, len(u), compensated)[0]

    wanted, plain, careful = end(exact, False), end(single, False), end(single, True)
    epsilon = float(np.finfo(np.float32).eps)
    for of, found, better in zip(wanted, plain, careful, strict=True):
        size = float(jnp.max(jnp.abs(of)))
        assert better.dtype == jnp.float32
        assert float(jnp.max(jnp.abs(better - of))) < 2 * epsilon * size
        assert float(jnp.max(jnp.abs(found - of))) > 4 * epsilon * size


@given(steps=st.integers(1, 200), chunk=st.integers(1, 64))
@settings(max_examples=12, deadline=None, derandomize=True)
def test_chunks_cover_time_once_in_order(steps, chunk):
    """Each chunk writes its number over its steps; the way back meets them in reverse."""
    length = fitting(steps, chunk)
    assert 1 <= length <= chunk

    def stamp(carry, start, size):
        seen, count = carry
        places = start + jnp.arange(size)
        return seen.at[places].add(count), count + 1

    none = jnp.zeros(steps, int)
    up, count = upwards(stamp, (none, 1), steps, chunk)
    down, again = downwards(stamp, (none, 1), steps, chunk)
    assert count == again == 1 + -(-steps // length)
    np.testing.assert_array_equal(up, 1 + np.arange(steps) // length)
    np.testing.assert_array_equal(down, count - up)


def test_chunks_divide_where_they_can():
    assert [fitting(t, 128) for t in (49_920, 300, 405, 17_984, 97, 50, 1009)] == [
        128, 100, 81, 64, 97, 128, 128,
    ]  # fmt: skip


def test_echoes_are_put_at_a_part_of_the_states_size():
    """Whatever the loss, and with the coming nudges counted; by a power of two."""
    free = parts.State(*arrays(9, (STEPS, 6), (STEPS, 6)))
    (push,) = arrays(10, (STEPS, 6))
    for loss in (1e-20, 1.0, 1e20):
        adjoint = parts.State(*(loss * a for a in arrays(11, (6,), (6,))))
        scale = renormalise(adjoint, free, loss * push)
        assert np.frexp(scale)[0] == 0.5
        coming = loss * jnp.max(jnp.sum(jnp.abs(push), axis=0))
        reach = (jnp.max(jnp.abs(adjoint.q)), jnp.max(jnp.abs(adjoint.p)) + coming)
        size = (jnp.max(jnp.abs(own)) for own in free)
        part = max(scale * far / of for far, of in zip(reach, size, strict=True))
        wanted = np.finfo(float).eps ** PARTING
        assert wanted * 2**-0.5 <= part <= wanted * 2**0.5


def test_echoes_with_nothing_to_say_have_a_scale():
    rest = parts.State(jnp.zeros(3), jnp.zeros(3))
    course = parts.State(*arrays(12, (STEPS, 3), (STEPS, 3)))
    assert renormalise(rest, course, jnp.zeros((STEPS, 3))) == 1.0
    still = jax.tree.map(jnp.zeros_like, course)
    assert renormalise(rest, still, jnp.ones((STEPS, 3))) == 1.0
    ratios = jnp.array([0.0, jnp.inf, jnp.nan, 3.0, 0.7, 2.0**-100])
    assert power_of_two(ratios).tolist() == [1.0, 1.0, 1.0, 4.0, 0.5, 2.0**-100]


def test_a_rate_is_affine_only_if_its_slope_is_seen_to_be(make_model, custom_units):
    at = jnp.array([0.3, -2.0])
    matrix, offset = arrays(18, (2, 2), (2,))
    for function, is_one in (
        (lambda q: matrix @ q + offset, True),
        (lambda q: jax.grad(lambda r: 0.5 * jnp.sum(r**2))(q), True),
        (lambda q: offset, True),
        (lambda q: matrix @ q * q, False),
        (jnp.tanh, False),
        (jnp.abs, False),
        (lambda q: jnp.where(q > 0.0, q, 2.0 * q), False),
    ):
        assert is_affine(function, at) == is_one
    relativistic = make_model(unit=custom_units["relativistic"]).resolve().blocks[0].unit
    assert not is_affine(partial(parts.velocity, relativistic), jnp.ones(4))


@pytest.mark.parametrize("integrator", ["leapfrog", "imex"])
@pytest.mark.parametrize("unit", ["linear", "nonlinear"])
def test_what_the_echoes_differ_by(make_model, unit, integrator):
    """Carried by itself, it is what plus and minus of their own come to, and what they see."""
    block = make_model(unit=unit, integrator=integrator, substeps=2).resolve().blocks[0]
    own = split_potential(block)
    m = block.step.shape
    prepared = prepare(own, block.unit, arrays(13, (STEPS, 7))[0])
    loop, timed = driven(block, own, prepared.lasting), prepared.timed
    end = parts.State(*arrays(14, m, m))
    _, free = retrace(loop, end, timed)
    (push,) = arrays(15, (STEPS, *m))

    def carried(scale: float | None) -> tuple[parts.State, Contrast]:
        at = None if scale is None else jnp.asarray(scale)
        none = jax.tree.map(jnp.zeros_like, end)
        after, nudged = echo_adjoint(loop, none, at, push, free, timed)
        return after, contrast_adjoint(loop, free, nudged, timed, at)

    scale = 1e-4
    both = jax.tree.map(lambda at: jnp.stack([at, at]), end)
    pair, nudged = echo_pair(loop, Pair(both, jnp.asarray(scale)), scale * push, timed)
    apart = jax.tree.map(lambda at: (at[0] - at[1]) / (2 * scale), pair.state)
    papers = apart, contrast_sides(loop, nudged, timed, jnp.asarray(scale))
    limit = carried(None)
    assert worst(papers, limit) < 1e-6
    for found in (carried(scale), carried(2.0**-20)):
        assert worst(found, limit) < 1e-6
    if unit == "nonlinear":
        # The error falls with the scale squared: it is that of echoes that are really apart.
        coarse, fine = (worst(carried(s), limit) for s in (0.2, 0.02))
        assert 50 < coarse / fine < 200
